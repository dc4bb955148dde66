use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn paths_lead_to_values() {
    let object = json!({
        "metadata": {"labels": {"example.com/x": "y"}},
        "status": {"conditions": [{"type": "Created", "status": "True"}, {"type": "Running", "status": "False"}], "n": 1},
    });
    for (path, expected) in [
        (".status.conditions[-1:].type", Some(json!("Running"))),
        (".status.conditions[-1].type", Some(json!("Running"))),
        (".status.conditions[0].type", Some(json!("Created"))),
        (".status.conditions[1:].type", Some(json!("Running"))),
        (".status.conditions[:1].type", Some(json!("Created"))),
        (".status.conditions[*].status", Some(json!("True"))),
        (".status.conditions[?(@.type==\"Running\")].status", Some(json!("False"))),
        (".status.conditions[?(@.type != 'Created')].type", Some(json!("Running"))),
        (".status.conditions[?(@.type==\"Nope\")].status", None),
        (".status.conditions[2].type", None),
        (".status.conditions[-3].type", None),
        (".status.nope.deeper", None),
        ("{.status.n}", Some(json!(1))),
        ("$.status.n", Some(json!(1))),
        (".metadata.labels.example\\.com/x", Some(json!("y"))),
        (".metadata.labels['example.com/x']", Some(json!("y"))),
        (".", Some(object.clone())),
    ] {
        let parsed = JsonPath::parse(path).unwrap();
        assert_eq!(parsed.first(&object), expected.as_ref(), "{path}");
    }
    assert_eq!(
        JsonPath::parse(".status.conditions[*].type").unwrap().all(&object),
        [&json!("Created"), &json!("Running")]
    );
}

#[test]
fn what_is_no_path_is_refused() {
    for path in ["a", ".a[", ".a[x]", ".a[]", ".a..b", ".a[?(@.x)]", ".a[?(x==1)]", ".a[?(@.x==y)]"]
    {
        let error = JsonPath::parse(path).unwrap_err();
        assert!(error.to_string().starts_with("parse JSON path"), "{path}");
    }
}

#[test]
fn durations_read_as_kubectl_prints_them() {
    const DAY: i64 = 86_400;
    for (seconds, text) in [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 90, "3h1m"),
        (8 * 3600 + 90, "8h"),
        (2 * DAY - 1, "47h"),
        (2 * DAY, "2d"),
        (2 * DAY + 5 * 3600, "2d5h"),
        (8 * DAY + 5 * 3600, "8d"),
        (2 * 365 * DAY - 1, "729d"),
        (2 * 365 * DAY + 3 * DAY, "2y3d"),
        (9 * 365 * DAY + 3 * DAY, "9y"),
    ] {
        assert_eq!(human_duration(seconds), text, "{seconds}");
    }
    assert!(!human_duration(i64::MAX).is_empty());
}

proptest! {
    #[test]
    fn no_path_panics(path in "[.a\\[\\]@?()='\"\\\\0-9:*-]{0,16}") {
        if let Ok(path) = JsonPath::parse(&path) {
            let _ = path.all(&json!({"a": [[1, {"a": 2}], {"a": "0"}]}));
        }
    }
}

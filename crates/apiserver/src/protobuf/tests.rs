use serde_json::json;

use super::*;

/// A field of bytes.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 128);
    [&[number << 3 | 2, length], content].concat()
}

fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn body(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), bytes(1, &meta), bytes(2, raw), bytes(3, b""), bytes(4, b"")].concat()
}

#[test]
fn messages_are_converted_to_objects() {
    let check = |version: &str, kind: &str, raw: &[&[u8]], want: Value| {
        let mut want = want;
        want["apiVersion"] = version.into();
        want["kind"] = kind.into();
        assert_eq!(object(&body(version, kind, &raw.concat())), Some(want), "{kind}");
    };
    // As Go writes it: empty strings and an empty time are present.
    let meta = [bytes(1, b"a"), bytes(2, b""), bytes(8, b""), number(7, 0)].concat();
    check(
        "rbac.authorization.k8s.io/v1",
        "Role",
        &[
            &bytes(1, &meta),
            &bytes(2, &[bytes(1, b"get"), bytes(2, b""), bytes(3, b"pods")].concat()),
        ],
        json!({"metadata": {"name": "a"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
    );
    let pair = |key: &[u8], value: &[u8]| [bytes(1, key), bytes(2, value)].concat();
    check(
        "v1",
        "Secret",
        &[
            &bytes(2, &pair(b"k", b"\xff")),
            &bytes(4, &bytes(1, b"e")),
            &bytes(3, b"Opaque"),
            &number(5, 0),
        ],
        json!({"data": {"k": "/w=="}, "stringData": {"e": ""}, "type": "Opaque", "immutable": false}),
    );
    let extra = pair(b"scope", &[bytes(1, b"a"), bytes(1, b"b")].concat());
    check(
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
        &[&bytes(1, b""), &bytes(2, &bytes(5, &extra)), &bytes(3, &number(1, 0))],
        json!({"metadata": {}, "spec": {"extra": {"scope": ["a", "b"]}}}),
    );
    let managed =
        [bytes(1, b"m"), bytes(4, &number(1, 7)), bytes(7, &bytes(1, br#"{"f:a":{}}"#))].concat();
    check(
        "v1",
        "ConfigMap",
        &[&bytes(
            1,
            &[0x8a, 0x01, u8::try_from(managed.len()).unwrap()]
                .iter()
                .chain(&managed)
                .copied()
                .collect::<Vec<_>>(),
        )],
        json!({"metadata": {"managedFields": [{"manager": "m", "time": "1970-01-01T00:00:07Z", "fieldsV1": {"f:a": {}}}]}}),
    );
}

#[test]
fn bodies_with_unknown_kinds_or_fields_are_not_converted() {
    let check = |body: &[u8]| assert_eq!(object(body), None, "{body:?}");
    check(&body("v1", "Pod", b""));
    check(&body("v1", "ConfigMap", &bytes(9, b"x")));
    check(&body("v1", "ConfigMap", &number(2, 1)));
    check(&body("v1", "ConfigMap", &bytes(1, &bytes(1, b"\xff"))));
    let good = body("v1", "ConfigMap", &bytes(1, &bytes(1, b"name")));
    assert!(object(&good).is_some());
    for end in 0..good.len() {
        let _ = object(&good[..end]); // must not panic
    }
    for index in 0..good.len() {
        for bit in 0..8 {
            let mut broken = good.clone();
            broken[index] ^= 1 << bit;
            let _ = object(&broken);
        }
    }
    check(b"{}");
    check(MAGIC);
    check(&[MAGIC, &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat());
}

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "the cases read better")]
fn check(value: Value, expected: &str) {
    assert_eq!(encode(&value), expected);
    let expected_back =
        decode(expected.as_bytes()).unwrap_or_else(|error| panic!("{expected}: {error}"));
    assert!(crate::json::equal(&expected_back, &value), "{expected} reads as {expected_back}");
}

#[test]
fn objects_are_written_as_kubernetes_writes_them() {
    check(
        json!({
            "apiVersion": "v1",
            "metadata": {"labels": {"x": "y", ".": {}}, "creationTimestamp": "2026-11-24T00:12:50Z", "resourceVersion": "221", "uid": "b2a47841-4251"},
            "items": [{"name": "a", "list": ["/bin/true", ""], "none": [], "null": null}, [1, [2]], {}],
            "n": 10000, "f": 1.5, "t": true,
        }),
        concat!(
            "apiVersion: v1\n",
            "f: 1.5\n",
            "items:\n",
            "- list:\n",
            "  - /bin/true\n",
            "  - \"\"\n",
            "  name: a\n",
            "  none: []\n",
            "  \"null\": null\n",
            "- - 1\n",
            "  - - 2\n",
            "- {}\n",
            "metadata:\n",
            "  creationTimestamp: \"2026-11-24T00:12:50Z\"\n",
            "  labels:\n",
            "    .: {}\n",
            "    x: \"y\"\n",
            "  resourceVersion: \"221\"\n",
            "  uid: b2a47841-4251\n",
            "\"n\": 10000\n",
            "t: true\n",
        ),
    );
}

#[test]
fn strings_are_quoted_only_where_they_need_it() {
    for (text, written) in [
        ("mxnet:1", "mxnet:1"),
        ("10Gi", "10Gi"),
        ("1000m", "1000m"),
        ("1e3", "\"1e3\""),
        ("0x1F", "\"0x1F\""),
        ("1_000", "\"1_000\""),
        ("1:30", "\"1:30\""),
        ("1.2.3.4", "1.2.3.4"),
        ("2026-11-24", "\"2026-11-24\""),
        ("2026-11-24x", "2026-11-24x"),
        ("-", "'-'"),
        ("- a", "'- a'"),
        ("-a", "-a"),
        ("a: b", "'a: b'"),
        ("a #b", "'a #b'"),
        ("a#b", "a#b"),
        ("it's: x", "'it''s: x'"),
        ("it's", "it's"),
        ("*", "'*'"),
        ("{}", "'{}'"),
        (" a", "' a'"),
        ("a ", "'a '"),
        ("a\tb", "\"a\\tb\""),
        ("\u{7f}", "\"\\x7F\""),
        ("é", "é"),
        ("~", "\"~\""),
        ("off", "\"off\""),
        ("a:", "'a:'"),
        ("?", "'?'"),
        ("--- a", "'--- a'"),
    ] {
        check(json!({"k": text}), &format!("k: {written}\n"));
    }
}

#[test]
fn long_lines_are_folded_and_lines_are_kept() {
    check(
        json!({"message": "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"}),
        "message: 'only the following media types are accepted: application/json;stream=watch,\n  application/vnd.kubernetes.protobuf;stream=watch'\n",
    );
    check(json!({"a": {"s": "one\ntwo\n"}}), "a:\n  s: |\n    one\n    two\n");
    check(json!({"s": "one\n\ntwo"}), "s: |-\n  one\n\n  two\n");
    check(json!({"s": "one\n\n"}), "s: |+\n  one\n\n");
    check(json!({"s": " one\ntwo"}), "s: |2-\n   one\n  two\n");
    check(json!({"s": "one \ntwo"}), "s: \"one \\ntwo\"\n");
    check(json!(["a\nb"]), "- |-\n  a\n  b\n");
}

#[test]
fn numbers_look_as_go_prints_them() {
    for (number, written) in [
        (json!(1.0), "1"),
        (json!(0.1), "0.1"),
        (json!(1e6), "1e+06"),
        (json!(1_234_567.0), "1.234567e+06"),
        (json!(1e21), "1e+21"),
        (json!(1e-5), "1e-05"),
        (json!(123_456.5), "123456.5"),
        (json!(-0.5), "-0.5"),
        (json!(18_446_744_073_709_551_615_u64), "18446744073709551615"),
    ] {
        assert_eq!(encode(&json!([number])), format!("- {written}\n"));
    }
}

#[test]
fn yaml_is_read_as_kubernetes_reads_it() {
    for (text, expected) in [
        ("", json!(null)),
        ("{}", json!({})),
        (
            "a: y\nb: \"y\"\nc: off\nd: 0644\ne: 1.5\nf: ~\n",
            json!({"a": true, "b": "y", "c": false, "d": 420, "e": 1.5, "f": null}),
        ),
        ("a: 1\na: 2\n", json!({"a": 2})),
        ("a: 2026-11-24\n", json!({"a": "2026-11-24"})),
        ("1: x\n", json!({"1": "x"})),
        ("a: &x {b: 1}\nc: *x\n", json!({"a": {"b": 1}, "c": {"b": 1}})),
        ("{\"a\": [1, null]}", json!({"a": [1, null]})),
        ("# nothing\n", json!(null)),
    ] {
        assert_eq!(decode(text.as_bytes()).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn what_a_real_server_wrote_is_written_to_the_letter() {
    #[derive(serde::Deserialize)]
    struct Recorded {
        yaml: Vec<String>,
    }
    let recorded: Recorded =
        serde_json::from_str(include_str!("../../tests/data/recorded.json")).unwrap();
    assert!(recorded.yaml.len() > 3);
    for text in recorded.yaml {
        assert_eq!(encode(&decode(text.as_bytes()).unwrap()), text);
    }
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line() {
    for text in ["a: [", "a: 1\n b: 2\nc", "a: .nan", "\u{1}", "a: *x"] {
        let message = decode(text.as_bytes()).unwrap_err().to_string();
        assert!(
            message.starts_with("error converting YAML to JSON: yaml: line "),
            "{text:?}: {message}"
        );
    }
    for (text, message) in [
        ("a: [", "error converting YAML to JSON: yaml: line 1: did not find expected node content"),
        (
            "a: 1\n b: 2",
            "error converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context",
        ),
    ] {
        assert_eq!(decode(text.as_bytes()).unwrap_err().to_string(), message);
    }
    assert!(decode(b"\xff").is_err());
    assert!(decode("[".repeat(5000).as_bytes()).is_err());
    // A billion laughs.
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        bomb +=
            &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", "));
    }
    assert!(decode(bomb.as_bytes()).is_err());
}

fn shape() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-b.:# \n-]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-c. ]{0,3}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_string_survives(text in "[a-c0-9 :#'\"\\\\\\n\\t,.{}\\[\\]&*!|>%@`~?eE_+-]{0,12}", key in any::<bool>()) {
        let value = if key { json!({text: [1]}) } else { json!([{"k": text}]) };
        let written = encode(&value);
        prop_assert_eq!(decode(written.as_bytes()).map_err(|e| format!("{e}: {written}")), Ok(value), "{}", written);
    }

    #[test]
    fn folding_loses_nothing(text in "[ab]([ab]{0,9}[ ':#\\\\\"\n\t]{0,2}){20,60}", depth in 0_usize..4) {
        let mut value = json!([{"k": text}]);
        for _ in 0..depth {
            value = json!({"deeper": {"list": [value]}});
        }
        let written = encode(&value);
        prop_assert_eq!(decode(written.as_bytes()).map_err(|e| format!("{e}: {written}")), Ok(value), "{}", written);
    }

    #[test]
    fn any_shape_survives(value in shape()) {
        let written = encode(&value);
        prop_assert_eq!(decode(written.as_bytes()).map_err(|e| format!("{e}: {written}")), Ok(value), "{}", written);
    }
}

#[test]
fn duplicate_keys_are_named_with_their_line() {
    let body = "kind: A\nspec:\n  mode: a\n  mode: b\n";
    let (value, duplicates) = decode_reporting_duplicates(body.as_bytes()).unwrap();
    assert_eq!(value, json!({"kind": "A", "spec": {"mode": "b"}}));
    assert_eq!(duplicates, ["line 4: key \"mode\" already set in map"]);
    assert!(decode_reporting_duplicates(b"{\"a\": 1}").unwrap().1.is_empty());
    assert!(decode_reporting_duplicates(b"a: [").is_err());
}

#[test]
fn a_document_that_nests_deeply_is_refused_within_the_stack_of_a_thread() {
    let deep = |levels: usize| {
        (0..levels).map(|at| format!("{}a:\n", "  ".repeat(at))).collect::<String>()
    };
    assert!(decode(deep(40).as_bytes()).is_ok());
    for levels in [100, 126, 140, 1000] {
        assert!(decode(deep(levels).as_bytes()).is_err(), "{levels}");
        assert!(decode("- ".repeat(levels).as_bytes()).is_err(), "{levels}");
    }
}

#[test]
fn aliases_are_expanded_up_to_a_bound() {
    // Nine levels, each nine times the level below: 446 bytes for nearly 400 million scalars.
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let below = vec![format!("*a{}", level - 1); 9].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let flat = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(150), "*a,".repeat(150));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(19_000));
    let merged = format!("a: &a {{b: c}}\nd:\n{}", "- <<: *a\n".repeat(10_000));
    for text in [bomb, flat, long, merged] {
        let error = decode(text.as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 200, "{error}");
        assert!(decode_reporting_duplicates(text.as_bytes()).is_err());
    }
    // Three lists of a hundred variables, each used twice.
    let list = |index| {
        let variables: String =
            (0..100).map(|at| format!("- {{name: N{at}, value: v}}\n")).collect();
        format!("l{index}: &l{index}\n{variables}")
    };
    let mut honest: String = (0..3).map(list).collect();
    honest.push_str("replicas: [*l0, *l1, *l2, *l0, *l1, *l2]\n");
    assert_eq!(decode(honest.as_bytes()).unwrap()["replicas"][5][99]["name"], "N99");
}

/// What kubectl 1.32 made of these documents.
#[test]
fn scalars_and_keys_are_read_as_kubectl_reads_them() {
    for (text, expected) in [
        (
            "{a: 1, b: 0x1, c: 010, d: 0o10, e: yes, f: 1_000, g: .5, h: 12:30, i: 2001-01-01, j: ~, k: y, l: off, m: 1e3}",
            json!({
                "a": 1, "b": 1, "c": 8, "d": 8, "e": true, "f": 1000, "g": 0.5, "h": "12:30",
                "i": "2001-01-01", "j": null, "k": true, "l": false, "m": 1000.0,
            }),
        ),
        (
            "{x: one, y: one, 1: a, 1.5: b, off: c}",
            json!({"x": "one", "true": "one", "1": "a", "1.5": "b", "false": "c"}),
        ),
        (
            "a: &m {x: one, z: one}\nb: {x: two, <<: *m}\nc: {<<: *m, x: two}",
            json!({"a": {"x": "one", "z": "one"}, "b": {"x": "one", "z": "one"}, "c": {"x": "two", "z": "one"}}),
        ),
        (
            "a: &a {x: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b]}",
            json!({"a": {"x": 1}, "b": {"x": 2, "z": 2}, "c": {"x": 1, "z": 2}}),
        ),
        ("a: &b \"x\"\r\nc: *b\r\n", json!({"a": "x", "c": "x"})),
    ] {
        assert_eq!(decode(text.as_bytes()).unwrap(), expected, "{text}");
    }
    for text in ["a: .inf", "~: x", "[a]: x", "a: {<<: 1}", "a: {<<: [1]}"] {
        assert!(decode(text.as_bytes()).is_err(), "{text}");
    }
}

mod files {
    use super::*;

    const TEXT: &str = "kind: A\nspec:\n  list:\n    - a: 1\n    - b: &x\n        c: two\n  again: *x\n---\n# nothing\n---\n{\"kind\": \"B\",\n \"n\": 1.5}\n";

    fn values(text: &str) -> Vec<Value> {
        documents(text).unwrap().iter().map(Node::value).collect()
    }

    #[test]
    fn documents_are_parsed_as_json_values() {
        let first = json!({
            "kind": "A",
            "spec": {"list": [{"a": 1}, {"b": {"c": "two"}}], "again": {"c": "two"}},
        });
        assert_eq!(values(TEXT), [first, json!({"kind": "B", "n": 1.5})]);
    }

    #[test]
    fn every_field_has_its_line() {
        let documents = documents(TEXT).unwrap();
        let check = |path: &str, line: u64| assert_eq!(documents[0].line_of(path), line, "{path}");
        check("kind", 1);
        check("spec", 2);
        check("spec.list[0].a", 4);
        check("spec.list[1].b.c", 6);
        check("spec[list][1]", 5);
        check("spec.list[7].x", 3);
        check("metadata.name", 1);
        assert_eq!(documents[1].line_of("n"), 12);
    }

    #[test]
    fn json_documents_may_follow_each_other() {
        let text = "{\"a\": \"\\ud83d\\ude00\"}{\"b\":\n 1}\n\n{\"c\": {\"d\": [\n\t2]}}\n";
        let read = documents(text).unwrap();
        assert_eq!(values(text), [json!({"a": "😀"}), json!({"b": 1}), json!({"c": {"d": [2]}})]);
        assert_eq!((read[0].line_of("a"), read[1].line_of("b")), (1, 1));
        assert_eq!((read[2].line_of("c"), read[2].line_of("c.d[0]")), (4, 5));
        // What begins like JSON may be YAML.
        assert_eq!(values("{a: 1}\n---\nb: 2\n"), [json!({"a": 1}), json!({"b": 2})]);
    }

    #[test]
    fn errors_have_a_line() {
        for (text, line) in [
            ("a: [1, 2\nb: 3\n", 2),
            ("a: 'open\n", 1),
            ("a: 1\n\tb: 2\n", 1),
            ("{\"a\": 1}\n{\"b\": \n", 2),
        ] {
            let error = documents(text).unwrap_err();
            assert_eq!(error.line, Some(line), "{error}");
            assert!(!error.message.contains('\n') && !error.message.contains("line"), "{error}");
        }
    }

    #[test]
    fn a_key_with_two_values_is_an_error() {
        for (text, line, message) in [
            ("a: 1\nb: 2\na: 3\n", 3, "\"a\" is set twice; it is already in line 1"),
            ("{\"a\": 1,\n\"a\": 2}", 2, "\"a\" is set twice; it is already in line 1"),
            (
                "m: &m {x: 1}\nb:\n- x: 2\n  <<: *m\n",
                3,
                "\"x\" is set before `<<`, whose map has it too, and kubectl takes that one; write \"x\" after `<<`",
            ),
        ] {
            let error = documents(text).unwrap_err();
            assert_eq!((error.line, error.message.as_str()), (Some(line), message));
        }
        assert_eq!(values("m: &m {x: 1}\nb: {<<: *m, x: 2}\n")[0]["b"]["x"], 2);
    }
}

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn what_is_not_json_is_refused_in_gos_words() {
    for (text, message) in [
        ("", "unexpected end of JSON input"),
        ("   ", "unexpected end of JSON input"),
        ("{\"apiVersion\":", "unexpected end of JSON input"),
        ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
        ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
        ("{\"a\" 1}", "invalid character '1' after object key"),
        ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("{} xyz", "invalid character 'x' after top-level value"),
        ("nul", "unexpected end of JSON input"),
        ("nulk", "invalid character 'k' in literal null (expecting 'l')"),
        ("NaN", "invalid character 'N' looking for beginning of value"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ("01", "invalid character '1' after top-level value"),
        ("\"\u{1}\"", "invalid character '\\x01' in string literal"),
        ("\"\\x\"", "invalid character 'x' in string escape code"),
        ("\"\\u00g0\"", "invalid character 'g' in \\u hexadecimal character escape"),
        ("'", "invalid character '\\'' looking for beginning of value"),
        ("1e999", "json: cannot unmarshal number 1e999 into Go value of type float64"),
    ] {
        assert_eq!(decode(text.as_bytes()).unwrap_err().to_string(), message, "{text:?}");
        assert_eq!(
            decode_reporting_duplicates(text.as_bytes()).unwrap_err().to_string(),
            message,
            "{text:?}"
        );
    }
}

#[test]
fn nesting_is_limited_and_no_depth_overflows_the_stack() {
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(decode(nested(MAX_DEPTH).as_bytes()).is_ok());
    for depth in [MAX_DEPTH + 1, 20_000, 1_000_000] {
        assert_eq!(decode(nested(depth).as_bytes()).unwrap_err().to_string(), "exceeded max depth");
    }
}

#[test]
fn broken_text_is_replaced_as_go_replaces_it() {
    for (bytes, text) in [
        (b"\"\xff\xfe\"".as_slice(), "\u{fffd}\u{fffd}"),
        (b"\"\xe2\x82x\"", "\u{fffd}\u{fffd}x"),
        (br#""\ud800""#, "\u{fffd}"),
        (br#""\ud83d\ude00""#, "\u{1f600}"),
        (br#""\ud800A""#, "\u{fffd}A"),
        (br#""\ud800A""#, "\u{fffd}A"),
    ] {
        assert_eq!(decode(bytes).unwrap(), json!(text));
    }
}

#[test]
fn integers_stay_exact() {
    for text in ["9007199254740993", "-9223372036854775808", "18446744073709551615", "-0.5", "1e3"]
    {
        let value = decode(text.as_bytes()).unwrap();
        assert_eq!(decode_reporting_duplicates(text.as_bytes()).unwrap().0, value);
        let exact = !text.contains(['e', '.']);
        assert_eq!(
            exact.then(|| serde_json::to_string(&value).unwrap()),
            exact.then(|| text.to_owned())
        );
    }
}

#[test]
fn duplicate_fields_are_named_once_and_the_last_value_counts() {
    let text = br#"{"metadata":{"name":"a","name":"b"},"spec":{"mode":"a","mode":"b","mode":"c","l":[{"x":1,"x":2}]},"spec":{"mode":"d"}}"#;
    let (value, duplicates) = decode_reporting_duplicates(text).unwrap();
    assert_eq!(value, json!({"metadata": {"name": "b"}, "spec": {"mode": "d"}}));
    assert_eq!(duplicates, ["metadata.name", "spec.mode", "spec.l[0].x", "spec"]);
    assert_eq!(decode(text).unwrap(), value);
}

#[test]
fn values_are_equal_by_what_they_mean() {
    for (a, b, expected) in [
        (json!(1), json!(1.0), true),
        (json!(0), json!(-0.0), true),
        (json!(1), json!(1.5), false),
        (json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992.0), false),
        (json!(1e300), json!(1e300), true),
        (json!({"a": [1, {"b": 2.0}]}), json!({"a": [1.0, {"b": 2}]}), true),
        (json!({"a": 1}), json!({"b": 1}), false),
        (json!([1]), json!([1, 1]), false),
        (json!("1"), json!(1), false),
        (json!(null), json!({}), false),
    ] {
        assert_eq!(equal(&a, &b), expected, "{a} and {b}");
        assert_eq!(equal(&b, &a), expected, "{b} and {a}");
    }
}

proptest! {
    #[test]
    fn both_parsers_read_the_same(text in "[\\[\\]{}:,\"a0-9.eE+\\\\untrue \\-]{0,12}") {
        let careful = decode_reporting_duplicates(text.as_bytes()).map(|(value, _)| value);
        prop_assert_eq!(decode(text.as_bytes()), careful);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = decode(&bytes);
    }
}

#[test]
fn what_is_shallow_can_be_read_again() {
    let nested =
        |levels: usize| (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    for (levels, shallow) in [(0, true), (MAX_DEPTH, true), (MAX_DEPTH + 1, false)] {
        let value = nested(levels);
        assert_eq!(is_shallow(&value), shallow, "{levels}");
        assert_eq!(decode(value.to_string().as_bytes()).is_ok(), shallow, "{levels}");
    }
}

#[test]
fn numbers_are_the_same_after_writing_and_reading_them() {
    for text in [
        "1.1111111111111111e+21",
        "1111111111111111111111",
        "0.1",
        "5e-324",
        "1.7976931348623157e308",
    ] {
        let value = decode(text.as_bytes()).unwrap();
        assert_eq!(decode(value.to_string().as_bytes()).unwrap(), value, "{text}");
    }
    assert_eq!(decode(b"1.1111111111111111e+21").unwrap().to_string(), "1.1111111111111111e+21");
}

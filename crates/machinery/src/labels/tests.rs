use proptest::prelude::*;

use super::*;

/// The five objects of the recorded lists: which of them the selector selects.
fn check(text: &str, expected: &str) {
    const OBJECTS: [(&str, &[(&str, &str)]); 5] = [
        ("a", &[("app", "x"), ("tier", "front")]),
        ("b", &[("app", "y"), ("tier", "back")]),
        ("c", &[("app", "x")]),
        ("d", &[]),
        ("e", &[("app", "z"), ("n", "5")]),
    ];
    let selector = Selector::parse(text).unwrap();
    let selected: String = OBJECTS
        .iter()
        .filter(|(_, labels)| {
            selector.matches(|key| {
                labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
            })
        })
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(selected, expected, "{text:?}");
}

#[test]
fn selectors_select_as_a_real_server_does() {
    for (text, expected) in [
        ("", "abcde"),
        ("app=x", "ac"),
        ("app==x", "ac"),
        ("app!=x", "bde"),
        ("app in (x,y)", "abc"),
        ("app in ( x , y )", "abc"),
        ("app notin (x,y)", "de"),
        ("app", "abce"),
        ("!app", "d"),
        ("app=x,tier=front", "a"),
        ("app=x,!tier", "c"),
        ("app in (x),tier", "a"),
        ("app=", ""),
        ("app in ()", ""),
        ("n>4", "e"),
        ("n>5", ""),
        ("n<6", "e"),
        (" app = x ", "ac"),
        ("app notin (x)", "bde"),
        ("!app,!tier", "d"),
        ("app in (,x)", "ac"),
        ("in", ""),
        ("app=in", ""),
        ("app in (in,x)", "ac"),
    ] {
        check(text, expected);
    }
}

#[test]
fn a_selector_that_makes_no_sense_is_refused_in_upstreams_words() {
    for (text, message) in [
        ("app in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("app in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("app in x", "unable to parse requirement: found 'x' expected: '('"),
        ("app in (x=", "unable to parse requirement: found '=', expected: ',' or ')'"),
        ("app in (x,=", "unable to parse requirement: found '=', expected: ',', or identifier"),
        ("app=bad value!", "found 'value', expected: ',' or 'end of string'"),
        (
            "bad key=x",
            "unable to parse requirement: found 'key', expected: in, notin, =, ==, !=, gt, lt",
        ),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("app=x,", "found '', expected: identifier after ','"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        (
            "n>a",
            "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ] {
        assert_eq!(Selector::parse(text).unwrap_err().to_string(), message, "{text:?}");
    }
}

#[test]
fn keys_and_values_must_be_those_of_labels() {
    for (text, start) in [
        (
            "a/b/c=x",
            "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a qualified name must consist of",
        ),
        (
            "a=-x",
            "unable to parse requirement: values[0][a]: Invalid value: \"-x\": a valid label must be",
        ),
        (
            "a in (ok,x_)",
            "unable to parse requirement: values[1][a]: Invalid value: \"x_\": a valid label must be",
        ),
    ] {
        let message = Selector::parse(text).unwrap_err().to_string();
        assert!(message.starts_with(start), "{text:?}: {message}");
    }
}

fn word() -> impl Strategy<Value = String> {
    "[A-Za-z0-9]([A-Za-z0-9_.-]{0,6}[A-Za-z0-9])?"
}

fn operator() -> impl Strategy<Value = Operator> {
    let values = || proptest::collection::btree_set(prop_oneof![word(), Just(String::new())], 1..4);
    prop_oneof![
        Just(Operator::Exists),
        Just(Operator::DoesNotExist),
        word().prop_map(Operator::Equals),
        word().prop_map(Operator::NotEquals),
        values().prop_map(Operator::In),
        values().prop_map(Operator::NotIn),
        (0..i64::MAX).prop_map(Operator::GreaterThan),
        (0..i64::MAX).prop_map(Operator::LessThan),
    ]
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(parts in proptest::collection::vec((word(), operator()), 0..4)) {
        let mut requirements: Vec<Requirement> =
            parts.into_iter().map(|(key, operator)| Requirement { key, operator }).collect();
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        let selector = Selector { requirements };
        prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-c!=<>(), in\\PC]{0,20}") {
        let _ = Selector::parse(&text);
    }
}

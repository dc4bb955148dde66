use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn quantities_have_a_canonical_form() {
    for (text, canonical) in [
        ("0", "0"),
        ("0.0Gi", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("-1", "-1"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1"),
        ("1500", "1500"),
        ("2000", "2k"),
        ("1024", "1024"),
        ("1024Ki", "1Mi"),
        ("1Gi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("512", "512"),
        ("0.5Ki", "512"),
        ("437.5Ki", "448000"),
        ("448000", "448k"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12e-1", "1200e-3"),
        ("5E", "5E"),
        ("3u", "3u"),
        ("3n", "3n"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("1.0000000001", "1000000001n"),
        ("100Ei", "9223372036854775807"),
        ("9223372036854775807", "9223372036854775807"),
        ("1e1000000000", "9223372036854775807e0"),
        ("1e-1000000000", "1e-9"),
    ] {
        let canonical = canonical.strip_suffix("e0").unwrap_or(canonical);
        assert_eq!(
            Quantity::parse(text).map(|quantity| quantity.to_string()).as_deref(),
            Ok(canonical),
            "{text}"
        );
    }
}

#[test]
fn what_is_no_quantity_is_refused_in_upstreams_words() {
    for (text, error) in [
        ("", ParseError::Format),
        ("lots", ParseError::Format),
        ("1.1.1", ParseError::Format),
        ("1 Gi", ParseError::Format),
        ("1e+", ParseError::Suffix),
        ("+", ParseError::Numeric),
        (".", ParseError::Numeric),
        ("Gi", ParseError::Numeric),
        ("1gi", ParseError::Format),
        ("1Kii", ParseError::Suffix),
        ("1K", ParseError::Suffix),
        ("1ee3", ParseError::Suffix),
        ("١", ParseError::Format),
    ] {
        assert_eq!(Quantity::parse(text), Err(error), "{text:?}");
    }
    assert_eq!(
        ParseError::Format.to_string(),
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    );
}

#[test]
fn quantities_in_json_may_be_numbers() {
    assert_eq!(Quantity::from_value(&json!(2)), Quantity::parse("2"));
    assert_eq!(Quantity::from_value(&json!(0.25)), Quantity::parse("250m"));
    assert_eq!(Quantity::from_value(&json!("1Gi")).map(|quantity| quantity.value()), Ok(1 << 30));
    assert_eq!(Quantity::from_value(&json!(true)), Err(ParseError::Format));
}

#[test]
fn amounts_compare_add_and_round_whatever_their_form() {
    let quantity = |text| Quantity::parse(text).unwrap();
    assert_eq!(quantity("1Ki"), quantity("1024"));
    assert!(quantity("1G") < quantity("1Gi"));
    assert!(quantity("-1") < Quantity::ZERO && quantity("-1").is_negative());
    assert_eq!(quantity("1500m").value(), 2);
    assert_eq!(quantity("-1500m").value(), -2);
    assert_eq!(quantity("1u").milli_value(), 1);
    assert_eq!(quantity("1Ei").milli_value(), i64::MAX);
    assert_eq!(quantity("1Gi").plus(&quantity("1024Mi")).to_string(), "2Gi");
    assert_eq!(quantity("8E").plus(&quantity("8E")), quantity("100Ei"));
    assert_eq!(Quantity::from_integer(3).to_string(), "3");
}

#[test]
fn the_longest_number_takes_no_time() {
    let long = "9".repeat(3_000_000);
    assert_eq!(Quantity::parse(&format!("{long}Ei")).unwrap().value(), i64::MAX);
    assert_eq!(Quantity::parse(&format!("0.{long}Ki")).unwrap().to_string(), "1Ki");
}

proptest! {
    #[test]
    fn the_canonical_form_is_the_same_amount(text in "[+-]?[0-9]{1,5}(\\.[0-9]{0,4})?(n|u|m|k|M|G|Ki|Mi|Gi|e[0-9]|e-[0-9])?") {
        let quantity = Quantity::parse(&text).unwrap();
        let again = Quantity::parse(&quantity.to_string()).unwrap();
        prop_assert_eq!(again, quantity);
        // The text may change once more, as upstream's does: `437.5Ki` is written as `448000`,
        // which has lost its binary suffix and is read as decimal, `448k`. After that it stays.
        let third = Quantity::parse(&again.to_string()).unwrap();
        prop_assert_eq!(third, quantity);
        prop_assert_eq!(third.to_string(), again.to_string());
    }

    #[test]
    fn order_is_total_and_agrees_with_integers(a in any::<i32>(), b in any::<i32>(), c in any::<i16>()) {
        let quantity = |number: i64, suffix| Quantity::parse(&format!("{number}{suffix}")).unwrap();
        let (x, y) = (quantity(a.into(), ""), quantity(b.into(), ""));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(y.cmp(&x), x.cmp(&y).reverse());
        prop_assert_eq!(quantity(c.into(), "k"), quantity(i64::from(c) * 1_000_000, "m"));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[0-9.+eEinumkKMGTP\\PC-]{0,16}") {
        let _ = Quantity::parse(&text);
    }
}

//! Quantities.

use mxjob_machinery::quantity::Quantity;

pub(super) const WORDS: &[&str] = &[
    "1",
    "0",
    ".",
    "-",
    "+",
    "e",
    "E",
    "n",
    "u",
    "m",
    "k",
    "M",
    "G",
    "T",
    "P",
    "Ki",
    "Mi",
    "Gi",
    "Ti",
    "Pi",
    "Ei",
    "437.5Ki",
    "9223372036854775807",
    "1e-9",
    "1000",
    "1024",
];

pub(super) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(quantity) = Quantity::parse(&text) else { return };
    let printed = quantity.to_string();
    let again = Quantity::parse(&printed).expect("the printed quantity can be parsed");
    assert_eq!(again, quantity, "{printed} is another amount");
    let _ = (quantity.value(), quantity.milli_value(), quantity.plus(&again).to_string());
}

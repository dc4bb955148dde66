//! Files of objects, as the commands read them: YAML or JSON documents with their lines.

use mxjob_machinery::yaml;

pub(super) const WORDS: &[&str] = &[
    "---\n",
    "...\n",
    "kind",
    "List",
    "items",
    "&a",
    "*a",
    "<<",
    "!!str",
    "!!binary",
    "%YAML 1.1",
    "|-",
    ">+",
    "? ",
    "null",
    "~",
    "yes",
    "0o17",
    "1e3",
    ".inf",
    "2026-01-01",
    "{}",
    "[]",
];

pub(super) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(documents) = yaml::documents(&text) else { return };
    for document in documents {
        let value = document.value();
        assert!(!value.is_null(), "an empty document is left out");
        for path in ["", "spec.containers[0].name", "items[1]", "a.b.c", "[", "metadata"] {
            let _ = document.line_of(path);
        }
        let printed = yaml::encode(&value);
        let again = yaml::decode(printed.as_bytes()).expect("the printed document can be read");
        assert_eq!(again, value, "{printed}");
    }
}

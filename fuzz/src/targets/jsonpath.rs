//! JSONPath as printer columns use it.

use mxjob_machinery::printer::JsonPath;
use serde_json::json;

pub(super) const WORDS: &[&str] = &[
    ".status",
    ".conditions",
    "[?(@.type==\"Ready\")]",
    "[-1:]",
    "[0]",
    "[*]",
    "[:]",
    "['a']",
    "..",
    "@",
    "$",
    ".a",
    "\\.",
    "==",
    "!=",
    "<=",
    "?",
    "[0:1:0]",
    "[-9223372036854775808:]",
    ".metadata.labels",
];

pub(super) fn run(input: &[u8]) {
    let Ok(path) = JsonPath::parse(&String::from_utf8_lossy(input)) else { return };
    let object = json!({
        "metadata": {"name": "a", "labels": {"a.b/c": "d"}}, "a": [[1, 2], {"a": [3]}, null],
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Failed"}, 1]},
    });
    let all = path.all(&object);
    assert_eq!(path.first(&object), all.first().copied());
}

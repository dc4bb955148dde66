//! Label and field selectors.

use mxjob_machinery::{fields, labels};

use super::query::escape;
use crate::server::{self, Call};

pub(super) const WORDS: &[&str] = &[
    "app",
    "=",
    "==",
    "!=",
    " in ",
    " notin ",
    "(",
    ")",
    ",",
    "!",
    ">",
    "<",
    "digits",
    "example.com/a",
    "\\",
    "\\,",
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "status.phase",
    "Running",
    "involvedObject.name",
    "type",
    "in",
    "notin",
    "exists",
];

pub(super) fn labels(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(selector) = labels::Selector::parse(&text) {
        let again = labels::Selector::parse(&selector.to_string())
            .expect("the printed selector can be parsed");
        assert_eq!(again.to_string(), selector.to_string());
        assert_eq!(selector.matches(|_| Some("digits")), again.matches(|_| Some("digits")));
        assert_eq!(selector.matches(|_| None), again.matches(|_| None));
    }
    send("labelSelector", &text);
}

pub(super) fn fields(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(selector) = fields::Selector::parse(&text) {
        let again = fields::Selector::parse(&selector.to_string())
            .expect("the printed selector can be parsed");
        // Terms are sorted by their text, so `a==b` and `a=b` may change places.
        let terms = |selector: &fields::Selector| {
            let mut terms: Vec<_> =
                selector.requirements().iter().map(|term| format!("{term:?}")).collect();
            terms.sort();
            terms
        };
        assert_eq!(terms(&again), terms(&selector));
    }
    send("fieldSelector", &text);
}

fn send(parameter: &str, text: &str) {
    server::with(|server| {
        let query = format!("?{parameter}={}", escape(text.as_bytes()));
        for list in ["/apis/kubeflow.org/v1/mxjobs", "/api/v1/pods", "/api/v1/events"] {
            server.send(Call::get(&format!("{list}{query}")));
        }
        server.send(Call::get(&format!("/api/v1/pods{query}&watch=1")));
    });
}

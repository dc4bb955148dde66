//! Query strings of every verb.

use crate::server::{self, Call, TABLE};

pub(super) const WORDS: &[&str] = &[
    "limit",
    "continue",
    "watch",
    "resourceVersion",
    "resourceVersionMatch",
    "Exact",
    "NotOlderThan",
    "timeoutSeconds",
    "allowWatchBookmarks",
    "sendInitialEvents",
    "labelSelector",
    "fieldSelector",
    "pretty",
    "dryRun",
    "All",
    "fieldManager",
    "fieldValidation",
    "Strict",
    "Warn",
    "Ignore",
    "force",
    "propagationPolicy",
    "Orphan",
    "Foreground",
    "gracePeriodSeconds",
    "orphanDependents",
    "includeObject",
    "Metadata",
    "None",
    "Object",
    "container",
    "follow",
    "tailLines",
    "limitBytes",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "previous",
    "stream",
    "command",
    "stdin",
    "tty",
    "ports",
    "=",
    "&",
    "1",
    "true",
    "false",
    "0",
    "-1",
    "%",
    "+",
    ";",
    "timeout",
    "exclude",
    "verbose",
];

/// Bytes as the value of a query parameter.
pub(super) fn escape(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    bytes
        .iter()
        .map(
            |byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") },
        )
        .collect()
}

/// Unchanged bytes, except those that no client can send.
pub(super) fn sendable(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    bytes
        .iter()
        .map(
            |byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") },
        )
        .collect()
}

pub(super) fn run(input: &[u8]) {
    let query = sendable(input);
    server::with(|server| {
        for (method, path) in [
            ("GET", "/apis/kubeflow.org/v1/mxjobs"),
            ("GET", "/api/v1/namespaces/{}/pods/a"),
            ("GET", "/api/v1/namespaces/{}/pods/a/log"),
            ("GET", "/api/v1/watch/namespaces/{}/pods"),
            ("GET", "/readyz"),
            ("POST", "/api/v1/namespaces/{}/configmaps"),
            ("PATCH", "/api/v1/namespaces/{}/configmaps/a"),
            ("DELETE", "/api/v1/namespaces/{}/pods/a"),
            ("DELETE", "/apis/kubeflow.org/v1/namespaces/{}/mxjobs"),
        ] {
            let uri = format!("{}?{query}", path.replace("{}", &server.namespace()));
            let call = Call::new(method, &uri);
            server.send(match method {
                "POST" => call.with(
                    "application/json",
                    br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"},"x":1}"#,
                ),
                "PATCH" => {
                    call.with("application/merge-patch+json", br#"{"data":{"a":"2"},"x":1}"#)
                }
                _ => call,
            });
        }
        server.send(Call { accept: TABLE, ..Call::get(&format!("/api/v1/pods?{query}")) });
    });
}

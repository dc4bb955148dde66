//! Server-side apply.

use crate::server::{self, Call};

const TYPE: &str = "application/apply-patch+yaml";

pub(super) fn run(input: &[u8]) {
    server::with(|server| {
        for resource in [
            "/apis/kubeflow.org/v1/namespaces/{}/mxjobs/a",
            "/apis/kubeflow.org/v1/namespaces/{}/mxjobs/a/status",
            "/api/v1/namespaces/{}/pods/a",
            "/api/v1/namespaces/{}/configmaps/b",
        ] {
            let path = resource.replace("{}", &server.namespace());
            let call = |uri| Call::new("PATCH", uri).with(TYPE, input);
            let plain = format!("{path}?fieldManager=one");
            server.send(call(&plain));
            let forced = format!("{path}?fieldManager=one&force=true");
            let Some(answer) = server.send(call(&forced)) else { continue };
            if answer.code < 300
                && let Some(again) = server.send(call(&forced))
            {
                assert!(
                    !again.wrote || again.code == 201,
                    "the second time, the same apply changed the object"
                );
            }
        }
    });
}

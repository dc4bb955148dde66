//! Bodies of creates and updates, in JSON and YAML, for our own kind and for built-in ones.

use mxjob_machinery::json as decoder;
use mxjob_machinery::yaml;

use crate::server::{self, Call, TABLE};

pub(super) fn json(input: &[u8]) {
    if let Ok(value) = decoder::decode(input) {
        let again = decoder::decode(value.to_string().as_bytes())
            .expect("the written document can be read");
        assert!(decoder::equal(&value, &again), "reading {value} gives {again}");
        // Both decoders read the same.
        let (reported, _) =
            decoder::decode_reporting_duplicates(input).expect("both decoders agree");
        assert!(
            decoder::equal(&value, &reported),
            "one decoder reads {value}, the other {reported}"
        );
    }
    send(input, "application/json");
}

pub(super) fn yaml(input: &[u8]) {
    if let Ok(value) = yaml::decode(input) {
        let text = yaml::encode(&value);
        match yaml::decode(text.as_bytes()) {
            Ok(again) => {
                assert!(decoder::equal(&value, &again), "{value} became {again} by {text}")
            }
            Err(error) => panic!("the written document cannot be read: {error}: {text}"),
        }
    }
    send(input, "application/yaml");
}

fn send(input: &[u8], content_type: &str) {
    server::with(|server| {
        for resource in [
            "/apis/kubeflow.org/v1/namespaces/{}/mxjobs",
            "/api/v1/namespaces/{}/pods",
            "/api/v1/namespaces/{}/configmaps",
        ] {
            for strict in ["", "?fieldValidation=Strict"] {
                let list = resource.replace("{}", &server.namespace());
                let created = server
                    .send(Call::new("POST", &format!("{list}{strict}")).with(content_type, input));
                if created.is_some_and(|answer| answer.wrote) {
                    // An accepted object can be shown in every form.
                    server.send(Call { accept: TABLE, ..Call::get(&list) });
                    server.send(Call { accept: "application/yaml", ..Call::get(&list) });
                }
                let item = format!("{}/a{strict}", resource.replace("{}", &server.namespace()));
                server.send(Call::new("PUT", &item).with(content_type, input));
            }
        }
    });
}

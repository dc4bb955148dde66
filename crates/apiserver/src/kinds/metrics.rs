//! What nodes and pods use (`metrics.k8s.io`), for `kubectl top` and other clients.

use std::sync::Arc;

use mxjob_machinery::json::{list, text};
use mxjob_machinery::quantity::Quantity;
use serde_json::{Value, json};

use crate::kind::{Column, Conventions, Kind, NAME, SchemaSource, computed};
use crate::strategy::Strategy;

fn row(kind: &'static str, plural: &'static str, columns: &[Column], strategy: Measured) -> Kind {
    Kind {
        version: "v1beta1".into(),
        verbs: &["get", "list"],
        columns: columns.to_vec(),
        conventions: Conventions { schema: SchemaSource::Strategy, ..Conventions::BUILT_IN },
        is_measured: true,
        unconditional_update: false,
        strategy: Arc::new(strategy),
        ..Kind::new("metrics.k8s.io", kind, plural, "")
    }
}

pub(super) fn kinds() -> [Kind; 2] {
    let columns = [
        NAME,
        computed("CPU", 0, cpu),
        computed("Memory", 0, memory),
        computed("Window", 0, window),
    ];
    [
        Kind { namespaced: false, ..row("NodeMetrics", "nodes", &columns, Measured::Node) },
        row("PodMetrics", "pods", &columns, Measured::Pod),
    ]
}

fn cpu(object: &Value, _now: jiff::Timestamp) -> Value {
    total(object, "cpu")
}

fn memory(object: &Value, _now: jiff::Timestamp) -> Value {
    total(object, "memory")
}

fn window(object: &Value, _now: jiff::Timestamp) -> Value {
    text(object, "/window").into()
}

/// The use of a node, or of all containers of a pod.
fn total(object: &Value, resource: &str) -> Value {
    let of = |usage: &Value| Quantity::from_value(&usage[resource]).ok();
    let containers = list(object, "/containers").iter().filter_map(|one| of(&one["usage"]));
    let all = of(&object["usage"]).into_iter().chain(containers);
    let total = all.reduce(|sum, one| sum.plus(&one));
    total.map_or_else(|| "<unknown>".into(), |total| total.to_string().into())
}

/// The schemas of the group, which is in none of Kubernetes' own documents.
#[derive(Debug)]
enum Measured {
    Node,
    Pod,
}

impl Strategy for Measured {
    fn open_api(&self) -> Option<Value> {
        let usage = json!({
            "type": "object",
            "description": "CPU and memory in use.",
            "additionalProperties": { "type": "string" },
        });
        let mut schema = json!({
            "type": "object",
            "description": "What a node or a pod uses.",
            "properties": {
                "timestamp": {
                    "type": "string",
                    "format": "date-time",
                    "description": "The end of the time of which this is the mean.",
                },
                "window": { "type": "string", "description": "The length of that time." },
            },
        });
        match self {
            Self::Node => schema["properties"]["usage"] = usage,
            Self::Pod => {
                schema["properties"]["containers"] = json!({
                    "type": "array",
                    "description": "The running containers.",
                    "items": {
                        "type": "object",
                        "properties": { "name": { "type": "string" }, "usage": usage },
                    },
                });
            }
        }
        Some(schema)
    }
}

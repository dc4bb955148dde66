//! Endpoints and endpoint slices: rows and rules (upstream's `pkg/apis/core/validation` and
//! `pkg/apis/discovery/validation`). The manager makes them for services.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use jiff::Timestamp;
use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::{metadata, names};
use serde_json::{Map, Value};

use super::rules::{self, PROTOCOLS, Rule, Table};
use super::{default_to, or_none};
use crate::kind::{AGE, NAME, computed};
use crate::kind::{Column, Kind};
use crate::strategy::Strategy;

/// The most endpoints of a slice.
const MAX_ENDPOINTS: usize = 1_000;
/// The most addresses of an endpoint.
const MAX_ADDRESSES: usize = 100;
/// The most ports of a slice.
const MAX_PORTS: usize = 20_000;
/// The most entries of an endpoint's deprecated topology.
const MAX_TOPOLOGY: usize = 16;
/// How many addresses or ports a column shows.
const SHOWN: usize = 3;

const PORT: Table = &[
    ("port", Rule::Port),
    ("protocol", Rule::RequiredOneOf(PROTOCOLS)),
    ("appProtocol", Rule::Name(names::qualified_name)),
];
const ENDPOINT: Table = &[
    ("nodeName", Rule::Name(names::dns1123_subdomain)),
    ("hostname", Rule::Name(names::dns1123_label)),
];

pub(super) fn endpoints() -> Kind {
    Kind {
        short_names: vec!["ep".into()],
        columns: COLUMNS.to_vec(),
        strategy: Arc::new(Endpoints),
        ..Kind::new("", "Endpoints", "endpoints", "endpoints")
    }
}

pub(super) fn slice() -> Kind {
    Kind {
        columns: SLICE_COLUMNS.to_vec(),
        strategy: Arc::new(EndpointSlice),
        ..Kind::new("discovery.k8s.io", "EndpointSlice", "endpointslices", "endpointslice")
    }
}

const COLUMNS: &[Column] = &[NAME, computed("Endpoints", 0, addresses), AGE];

const SLICE_COLUMNS: &[Column] = &[
    NAME,
    computed("AddressType", 0, |slice, _| text(slice, "/addressType").into()),
    computed("Ports", 0, |slice, _| {
        let port = |port: &Value| match port.get("port").and_then(Value::as_i64) {
            Some(number) => number.to_string(),
            None => "*".to_owned(),
        };
        shown(list(slice, "/ports").iter().map(port), "<unset>")
    }),
    computed("Endpoints", 0, |slice, _| {
        let of = |endpoint| list(endpoint, "/addresses").iter();
        let all = list(slice, "/endpoints").iter().flat_map(of);
        shown(all.map(|address| address.as_str().unwrap_or_default().to_owned()), "<unset>")
    }),
    AGE,
];

/// `address:port` of each address, as `kubectl` shows it.
fn addresses(object: &Value, _: Timestamp) -> Value {
    let subset = |subset| {
        let ports = list(subset, "/ports");
        let number = |port: &Value| port.get("port").and_then(Value::as_i64).unwrap_or_default();
        list(subset, "/addresses").iter().flat_map(move |address| {
            let ip = text(address, "/ip").to_owned();
            let plain = ports.is_empty().then(|| ip.clone());
            plain.into_iter().chain(ports.iter().map(move |port| format!("{ip}:{}", number(port))))
        })
    };
    shown(list(object, "/subsets").iter().flat_map(subset), "<none>")
}

fn shown(all: impl Iterator<Item = String>, none: &str) -> Value {
    let mut all = all.peekable();
    let first: Vec<String> = all.by_ref().take(SHOWN).collect();
    if first.is_empty() {
        return none.into();
    }
    match all.count() {
        0 => or_none(&first.join(",")),
        more => format!("{} + {more} more...", first.join(",")).into(),
    }
}

/// The rules of endpoints.
#[derive(Debug)]
struct Endpoints;

impl Strategy for Endpoints {
    fn prepare_create(&self, object: &mut Value) {
        let subsets = object.get_mut("subsets").and_then(Value::as_array_mut);
        for subset in subsets.into_iter().flatten() {
            let ports = subset.get_mut("ports").and_then(Value::as_array_mut);
            for port in ports.into_iter().flatten() {
                default_to(port, "protocol", "TCP");
            }
        }
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    /// Upstream's `ValidateEndpoints`.
    fn validate(&self, object: &Value) -> Errors {
        let path = Path::new("subsets");
        rules::check_items(object, "/subsets", &path, |_, subset, path, errors| {
            if ["/addresses", "/notReadyAddresses"].iter().all(|all| list(subset, all).is_empty()) {
                let detail = "must specify `addresses` or `notReadyAddresses`";
                errors.push(Error::required(path, detail));
            }
            for group in ["addresses", "notReadyAddresses"] {
                let (pointer, path) = (format!("/{group}"), path.child(group));
                errors.append(rules::check_items(
                    subset,
                    &pointer,
                    &path,
                    |_, address, path, errors| {
                        errors.append(rules::address(text(address, "/ip"), &path.child("ip")));
                        errors.append(rules::check(address, path, ENDPOINT));
                    },
                ));
            }
            let needs_name = list(subset, "/ports").len() > 1;
            let path = path.child("ports");
            errors.append(rules::check_items(subset, "/ports", &path, |_, port, path, errors| {
                if needs_name && text(port, "/name").is_empty() {
                    errors.push(Error::required(&path.child("name"), ""));
                }
                errors.append(rules::check(
                    port,
                    path,
                    &[("name", Rule::Name(names::dns1123_label))],
                ));
                errors.append(rules::check(port, path, PORT));
            }));
        })
    }
}

/// The rules of an endpoint slice.
#[derive(Debug)]
struct EndpointSlice;

impl Strategy for EndpointSlice {
    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Value) {
        for port in object.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            default_to(port, "name", "");
            default_to(port, "protocol", "TCP");
        }
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    /// Upstream's `ValidateEndpointSlice`.
    fn validate(&self, slice: &Value) -> Errors {
        let kind = text(slice, "/addressType");
        let mut errors = rules::check(
            slice,
            &Path::default(),
            &[("addressType", Rule::RequiredOneOf(&["FQDN", "IPv4", "IPv6"]))],
        );
        errors.append(too_many(slice, "endpoints", &Path::default(), MAX_ENDPOINTS));
        errors.append(too_many(slice, "ports", &Path::default(), MAX_PORTS));
        if !errors.is_empty() {
            return errors;
        }
        let path = Path::new("endpoints");
        errors.append(rules::check_items(slice, "/endpoints", &path, |_, one, path, errors| {
            errors.append(endpoint_errors(one, kind, path));
        }));
        let (path, mut names) = (Path::new("ports"), HashSet::new());
        errors.append(rules::check_items(slice, "/ports", &path, |_, port, path, errors| {
            let name = text(port, "/name");
            if !names.insert(name.to_owned()) {
                errors.push(Error::duplicate(&path.child("name"), name));
            }
            errors.append(rules::check(port, path, &[("name", Rule::Name(names::dns1123_label))]));
            // A slice may have ports without a number: they stand for all ports.
            let skipped = usize::from(port["port"].is_null());
            let table = PORT.get(skipped..).unwrap_or_default();
            errors.append(rules::check(port, path, table));
        }));
        errors
    }

    /// Upstream's `ValidateEndpointSliceUpdate`.
    fn validate_update(&self, old: &Value, new: &Value) -> Errors {
        rules::immutable(old, new, &["addressType"])
    }
}

fn too_many(object: &Value, field: &str, path: &Path, limit: usize) -> Errors {
    let count = list(object, &format!("/{field}")).len();
    let error = (count > limit).then(|| Error::too_many(&path.child(field), count, limit));
    error.into_iter().collect()
}

/// Upstream's `validateEndpoints`, of one endpoint.
fn endpoint_errors(endpoint: &Value, kind: &str, path: &Path) -> Errors {
    let mut errors = too_many(endpoint, "addresses", path, MAX_ADDRESSES);
    if list(endpoint, "/addresses").is_empty() {
        let detail = "must contain at least 1 address";
        errors.push(Error::required(&path.child("addresses"), detail));
    }
    let addresses = path.child("addresses");
    errors.append(rules::check_items(
        endpoint,
        "/addresses",
        &addresses,
        |_, one, path, errors| {
            let address = one.as_str().unwrap_or_default();
            let wrong = match kind {
                "IPv4" if address.parse::<Ipv4Addr>().is_err() => "must be an IPv4 address",
                "IPv6" if address.parse::<Ipv6Addr>().is_err() => "must be an IPv6 address",
                "FQDN" => {
                    return errors.append(rules::name_errors(
                        address,
                        path,
                        names::dns1123_subdomain,
                    ));
                }
                _ => return errors.append(rules::address(address, path)),
            };
            errors.push(Error::invalid(path, address, wrong));
        },
    ));
    errors.append(rules::check(endpoint, path, ENDPOINT));
    let topology = endpoint.get("deprecatedTopology").and_then(Value::as_object);
    let path = path.child("deprecatedTopology");
    if let Some(count) = topology.map(Map::len).filter(|count| *count > MAX_TOPOLOGY) {
        errors.push(Error::too_many(&path, count, MAX_TOPOLOGY));
    } else if let Some(topology) = topology {
        errors.append(metadata::validate_labels(topology, &path));
    }
    errors
}

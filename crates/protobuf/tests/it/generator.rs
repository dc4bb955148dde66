//! The table of messages is what the published definitions say about the schemas of all kinds.
//!
//! `UPDATE_MANIFESTS=1 cargo test -p mxjob-protobuf fresh` (or `cargo xtask codegen`) writes it
//! again. Numbers and types are those of `k8s-pb`, names in JSON those of the machinery's schemas,
//! and what is zero or absent is in `data/presence.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mxjob_machinery::schema::kubernetes;
use serde_json::Value;

use crate::published::{self, Field, Messages, Shape, plain};

/// Fields of the schemas that are newer than the published messages, so that no client of that
/// release can send them. Objects in protobuf are without them.
pub const NEWER: &[&str] = &[
    "ClusterTrustBundleProjection.user",
    "ConfigMapVolumeSource.defaultUser",
    "DownwardAPIVolumeFile.user",
    "DownwardAPIVolumeSource.defaultUser",
    "EmptyDirVolumeSource.mode",
    "GRPCAction.mode",
    "HTTPGetAction.protocol",
    "KeyToPath.user",
    "NodeSpec.podPreemptionPolicy",
    "NodeSystemInfo.runningInUserNamespace",
    "PersistentVolumeClaimStatus.healthStatus",
    "PodCertificateProjection.user",
    "PodSpec.evictionResponders",
    "PodSpec.schedulingGroup",
    "PodStatus.nodeAllocatableResourceClaimStatuses",
    "PodStatus.volumeHealth",
    "ProjectedVolumeSource.defaultUser",
    "ResourceHealth.message",
    "SecretVolumeSource.defaultUser",
    "ServiceAccountTokenProjection.user",
    "TokenRequestSpec.attestations",
    "VolumeMount.bindMountOptions",
    "VolumeMountStatus.volumeStatus",
];
/// What every kind has outside of its message.
const TYPE_META: [&str; 2] = ["apiVersion", "kind"];

/// Messages that have a form of their own in JSON, and what the table calls them.
fn special(name: &str) -> Option<&'static str> {
    Some(match name {
        "apimachinery.pkg.api.resource.quantity" => "quantity",
        "apimachinery.pkg.util.intstr.intorstring" => "int-or-string",
        "apimachinery.pkg.apis.meta.v1.time" => "time",
        "apimachinery.pkg.apis.meta.v1.microtime" => "micro-time",
        "apimachinery.pkg.runtime.rawextension"
        | "apimachinery.pkg.apis.meta.v1.fieldsv1"
        | "apiextensions-apiserver.pkg.apis.apiextensions.v1.json" => "raw",
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.jsonschemapropsorarray" => {
            "schema-or-schemas"
        }
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.jsonschemapropsorbool" => {
            "schema-or-bool"
        }
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.jsonschemapropsorstringarray" => {
            "schema-or-strings"
        }
        _ => return None,
    })
}

/// Whether a message is a list of strings in JSON.
fn is_strings(message: &[Field]) -> bool {
    matches!(message, [field] if field.name == "items" && field.of == "string")
}

/// Makes the table.
struct Generator {
    messages: Messages,
    /// Names of messages in their usual spelling.
    names: BTreeMap<String, String>,
    /// Facts about fields, by message in small letters.
    presence: BTreeMap<String, BTreeMap<String, char>>,
    lines: BTreeMap<String, String>,
    /// Names in JSON that found no field.
    missing: BTreeSet<String>,
}

impl Generator {
    fn new() -> Self {
        let schemas = kubernetes::definitions().names().map(|name| name.replacen("io.k8s.", "", 1));
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/presence.txt");
        let text = std::fs::read_to_string(file).unwrap();
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        let mut presence = BTreeMap::new();
        for line in text.lines() {
            let mut parts = line.split(' ');
            let name = parts.next().unwrap();
            names.insert(lower(name), name.to_owned());
            let facts = parts.map(|fact| (plain(fact), fact.chars().next().unwrap())).collect();
            presence.insert(lower(name), facts);
        }
        names.extend(schemas.map(|name| (lower(&name), name)));
        let messages = published::messages();
        Self { messages, names, presence, lines: BTreeMap::new(), missing: BTreeSet::new() }
    }

    /// Adds the message of each schema.
    fn run(&mut self) -> String {
        for name in kubernetes::definitions().names() {
            let message = lower(&name.replacen("io.k8s.", "", 1));
            let Some(properties) = properties(name) else { continue };
            if special(&message).is_some() || !self.messages.contains_key(&message) {
                continue;
            }
            let fields: BTreeMap<String, String> =
                properties.into_iter().map(|name| (plain(&name), name)).collect();
            let mut unused: BTreeSet<String> = fields.keys().cloned().collect();
            unused.retain(|name| !TYPE_META.iter().any(|other| plain(other) == *name));
            self.line(&message, &fields, &mut unused);
            let short = name.rsplit('.').next().unwrap();
            self.missing.extend(unused.iter().map(|field| format!("{short}.{}", fields[field])));
        }
        let lines: BTreeSet<&String> = self.lines.values().collect();
        lines.into_iter().map(|line| format!("{line}\n")).collect()
    }

    /// Adds a message with the fields that JSON has, and the messages whose fields stand in its
    /// place.
    fn line(
        &mut self,
        message: &str,
        names: &BTreeMap<String, String>,
        unused: &mut BTreeSet<String>,
    ) {
        let spelled = self.spelled(message);
        let package = spelled.rsplit_once('.').unwrap().0.to_owned();
        let mut fields = self.messages[message].clone();
        fields.sort_by_key(|field| field.number);
        let mut line = spelled;
        for field in fields {
            let plain = field.plain_name();
            // A kind of its own in JSON has no field `kind`, but a reference has one.
            let name = names.get(&plain);
            if let Some(name) = name {
                unused.remove(&plain);
                let mark = self.presence.get(message).and_then(|facts| facts.get(&plain));
                let kind = self.kind(&field, &package, mark.copied());
                line.push_str(&format!(" {}:{name}:{kind}", field.number));
            } else if self.is_inline(&field, names) {
                self.line(&field.of, names, unused);
                let kind = self.kind(&field, &package, None);
                line.push_str(&format!(" {}::{kind}", field.number));
            }
        }
        if let Some(other) = self.lines.insert(message.to_owned(), line.clone()) {
            assert_eq!(other, line, "{message} has one form only");
        }
    }

    /// Whether the fields of a message stand in JSON in its place.
    fn is_inline(&self, field: &Field, names: &BTreeMap<String, String>) -> bool {
        let inner = self.messages.get(&field.of).filter(|fields| !fields.is_empty());
        field.shape == Shape::One
            && inner.is_some_and(|inner| {
                inner.iter().all(|inner| names.contains_key(&inner.plain_name()))
            })
    }

    fn kind(&self, field: &Field, package: &str, mark: Option<char>) -> String {
        let shape = match field.shape {
            Shape::One => "",
            Shape::List => "[]",
            Shape::Map => "{}",
        };
        let of = if !field.is_message() {
            field.of.clone()
        } else if let Some(special) = special(&field.of) {
            special.to_owned()
        } else if is_strings(&self.messages[&field.of]) {
            "strings".to_owned()
        } else {
            let name = self.spelled(&field.of);
            name.strip_prefix(&format!("{package}.")).map_or_else(|| name.clone(), str::to_owned)
        };
        let mark = mark.filter(|_| field.shape == Shape::One);
        format!("{shape}{of}{}", mark.map_or(String::new(), String::from))
    }

    fn spelled(&self, message: &str) -> String {
        self.names.get(message).cloned().unwrap_or_else(|| panic!("{message} has no schema"))
    }
}

fn lower(name: &str) -> String {
    let (package, name) = name.rsplit_once('.').unwrap();
    format!("{package}.{}", name.to_lowercase())
}

/// The names of a schema's fields.
fn properties(name: &str) -> Option<Vec<String>> {
    let schema: Value = serde_json::from_str(kubernetes::definitions().json(name)?).unwrap();
    if schema["type"] != "object" {
        return None;
    }
    let properties = schema["properties"].as_object();
    Some(properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default())
}

#[test]
fn the_table_is_fresh() {
    let mut generator = Generator::new();
    let wanted = generator.run();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/messages.txt");
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(
        found == wanted,
        "{} is not what the definitions say; run `cargo xtask codegen`",
        path.display()
    );
    let missing: Vec<&str> = generator.missing.iter().map(String::as_str).collect();
    assert_eq!(missing, NEWER, "fields without a number");
}

#[test]
fn every_fact_about_presence_names_a_field() {
    let generator = Generator::new();
    for (message, facts) in &generator.presence {
        let Some(fields) = generator.messages.get(message) else { continue };
        for fact in facts.keys() {
            let known = fields.iter().any(|field| field.plain_name() == *fact);
            assert!(known || special(message).is_some(), "{message} {fact}");
        }
    }
}

#[test]
fn the_envelope_has_the_published_numbers() {
    let messages = published::messages();
    let check = |message: &str, expected: &[(u32, &str)]| {
        let fields = &messages[message];
        for (number, name) in expected {
            let found = fields.iter().find(|field| field.number == *number);
            assert_eq!(found.map(|field| field.name.as_str()), Some(*name), "{message}");
        }
    };
    check("apimachinery.pkg.runtime.typemeta", &[(1, "api_version"), (2, "kind")]);
    check(
        "apimachinery.pkg.runtime.unknown",
        &[(1, "type_meta"), (2, "raw"), (3, "content_encoding"), (4, "content_type")],
    );
    check("apimachinery.pkg.runtime.rawextension", &[(1, "raw")]);
    check("apimachinery.pkg.apis.meta.v1.watchevent", &[(1, "r#type"), (2, "object")]);
    check("apimachinery.pkg.apis.meta.v1.partialobjectmetadata", &[(1, "metadata")]);
    let lists = messages.iter().filter(|(name, fields)| {
        let meta = "apimachinery.pkg.apis.meta.v1.listmeta";
        name.ends_with("list") && fields.iter().any(|field| field.of == meta)
    });
    let mut count = 0;
    for (name, fields) in lists {
        count += 1;
        // The one list whose numbers are the other way round.
        let swapped = name == "apimachinery.pkg.apis.meta.v1beta1.partialobjectmetadatalist";
        let mut numbers: Vec<_> = fields.iter().map(|field| (field.number, &*field.name)).collect();
        numbers.sort_unstable();
        let expected = [(1, "metadata"), (2, "items")];
        let other = [(1, "items"), (2, "metadata")];
        assert_eq!(numbers, if swapped { other } else { expected }, "{name}");
    }
    assert!(count > 50, "{count}");
}

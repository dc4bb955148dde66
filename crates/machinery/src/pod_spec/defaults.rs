//! The defaults that a pod and a template of pods get when they are written
//! (`k8s.io/kubernetes/pkg/apis/core/v1/defaults.go`).

use serde_json::{Map, Value, json};

use Fill::{Flag, Number, Object, PointerNumber, PointerText, Text};

/// What stands where nothing does.
enum Fill {
    /// A text; an empty one is missing.
    Text(&'static str),
    /// A number; 0 is missing.
    Number(i64),
    /// A value of which every other one may be meant: a pointer upstream.
    PointerText(&'static str),
    /// The same for a number.
    PointerNumber(i64),
    /// The same for a flag.
    Flag(bool),
    /// An object.
    Object,
}

/// The defaults of a type: its own fields, and the types of fields and of items of lists below.
struct Defaults {
    /// The upstream function.
    #[cfg_attr(not(test), allow(dead_code))] // for readers, and for the count of the tests
    upstream: &'static str,
    fields: &'static [(&'static str, Fill)],
    below: &'static [(&'static str, &'static Self)],
    /// What depends on several fields.
    more: Option<fn(&mut Map<String, Value>)>,
}

const fn of(upstream: &'static str, fields: &'static [(&'static str, Fill)]) -> Defaults {
    Defaults { upstream, fields, below: &[], more: None }
}

const fn within(below: &'static [(&'static str, &'static Defaults)]) -> Defaults {
    Defaults { upstream: "", fields: &[], below, more: None }
}

const MODE: &[(&str, Fill)] = &[("defaultMode", PointerNumber(0o644))];

/// Of the spec of a pod and of a template.
const SPEC: Defaults = Defaults {
    below: &[
        ("containers", &CONTAINER),
        ("initContainers", &CONTAINER),
        ("ephemeralContainers", &CONTAINER),
        ("volumes", &VOLUME),
    ],
    more: Some(fill_account),
    ..of(
        "SetDefaults_PodSpec",
        &[
            ("dnsPolicy", Text("ClusterFirst")),
            ("restartPolicy", Text("Always")),
            ("schedulerName", Text("default-scheduler")),
            ("securityContext", Object),
            ("terminationGracePeriodSeconds", PointerNumber(30)),
        ],
    )
};

const CONTAINER: Defaults = Defaults {
    below: &[
        ("ports", &of("", &[("protocol", Text("TCP"))])),
        ("env", &within(&[("valueFrom", &REFERENCES)])),
        ("livenessProbe", &PROBE),
        ("readinessProbe", &PROBE),
        ("startupProbe", &PROBE),
        ("lifecycle", &within(&[("postStart", &HANDLER), ("preStop", &HANDLER)])),
    ],
    more: Some(fill_pull_policy),
    ..of(
        "SetDefaults_Container",
        &[
            ("resources", Object),
            ("terminationMessagePath", Text("/dev/termination-log")),
            ("terminationMessagePolicy", Text("File")),
        ],
    )
};

const PROBE: Defaults = Defaults {
    below: HANDLER.below,
    ..of(
        "SetDefaults_Probe",
        &[
            ("timeoutSeconds", Number(1)),
            ("periodSeconds", Number(10)),
            ("successThreshold", Number(1)),
            ("failureThreshold", Number(3)),
        ],
    )
};

const HANDLER: Defaults = within(&[
    ("httpGet", &of("SetDefaults_HTTPGetAction", &[("path", Text("/")), ("scheme", Text("HTTP"))])),
    ("grpc", &of("", &[("service", PointerText(""))])),
]);

/// References to fields and resources of the pod. Upstream's encoder always writes the divisor.
const REFERENCES: Defaults = within(&[
    ("fieldRef", &of("SetDefaults_ObjectFieldSelector", &[("apiVersion", Text("v1"))])),
    ("fileKeyRef", &of("", &[("optional", Flag(false))])),
    ("resourceFieldRef", &of("", &[("divisor", Text("0"))])),
]);

const VOLUME: Defaults = Defaults {
    more: Some(fill_source),
    below: &[
        ("hostPath", &of("SetDefaults_HostPathVolumeSource", &[("type", PointerText(""))])),
        ("secret", &of("SetDefaults_SecretVolumeSource", MODE)),
        ("configMap", &of("SetDefaults_ConfigMapVolumeSource", MODE)),
        (
            "downwardAPI",
            &Defaults {
                below: &[("items", &REFERENCES)],
                ..of("SetDefaults_DownwardAPIVolumeSource", MODE)
            },
        ),
        (
            "projected",
            &Defaults {
                below: &[("sources", &PROJECTION)],
                ..of("SetDefaults_ProjectedVolumeSource", MODE)
            },
        ),
        ("iscsi", &of("SetDefaults_ISCSIVolumeSource", &[("iscsiInterface", Text("default"))])),
        ("rbd", &of("SetDefaults_RBDVolumeSource", RBD)),
        ("azureDisk", &of("SetDefaults_AzureDiskVolumeSource", AZURE_DISK)),
        ("scaleIO", &of("SetDefaults_ScaleIOVolumeSource", SCALE_IO)),
        ("ephemeral", &within(&[("volumeClaimTemplate", &within(&[("spec", &CLAIM)]))])),
    ],
    ..of("SetDefaults_Volume", &[])
};

const RBD: &[(&str, Fill)] =
    &[("pool", Text("rbd")), ("user", Text("admin")), ("keyring", Text("/etc/ceph/keyring"))];
const AZURE_DISK: &[(&str, Fill)] = &[
    ("cachingMode", PointerText("ReadWrite")),
    ("kind", PointerText("Shared")),
    ("fsType", PointerText("ext4")),
    ("readOnly", Flag(false)),
];
const SCALE_IO: &[(&str, Fill)] =
    &[("fsType", Text("xfs")), ("storageMode", Text("ThinProvisioned"))];
const CLAIM: Defaults =
    of("SetDefaults_PersistentVolumeClaimSpec", &[("volumeMode", PointerText("Filesystem"))]);

const PROJECTION: Defaults = within(&[
    ("downwardAPI", &within(&[("items", &REFERENCES)])),
    (
        "serviceAccountToken",
        &of(
            "SetDefaults_ServiceAccountTokenProjection",
            &[("expirationSeconds", PointerNumber(3600))],
        ),
    ),
]);

/// Seconds that a pod stays on a node that is not ready or cannot be reached.
const TOLERATION_SECONDS: i64 = 300;

/// Fills in the defaults of a pod: those of a template, and those that only pods have.
pub fn fill_pod(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec") else { return };
    fill_template_spec(spec);
    let Some(spec) = spec.as_object_mut() else { return };
    set(spec, "enableServiceLinks", &Flag(true));
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        for container in objects(spec, list) {
            request_limits(container);
            if host_network {
                objects(container, "ports").for_each(fill_host_port);
            }
        }
    }
}

/// Fills in the defaults of the spec of a template.
pub fn fill_template_spec(spec: &mut Value) {
    fill(spec, &SPEC);
}

/// Adds the tolerations that keep a pod for five minutes on a node that is lost
/// (`DefaultTolerationSeconds`).
pub fn tolerate_lost_nodes(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let given = spec.get("tolerations").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let text = |toleration: &Value, field| {
        toleration.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let tolerates = |taint: &str| {
        given.iter().any(|toleration| {
            let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
            (key == taint || key.is_empty()) && matches!(effect.as_str(), "NoExecute" | "")
        })
    };
    let missing: Vec<Value> = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
        .into_iter()
        .filter(|taint| !tolerates(taint))
        .map(|taint| {
            json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": TOLERATION_SECONDS,
            })
        })
        .collect();
    if missing.is_empty() {
        return;
    }
    let tolerations = spec.entry("tolerations").or_insert(Value::Null);
    match tolerations.as_array_mut() {
        Some(tolerations) => tolerations.extend(missing),
        None => *tolerations = missing.into(),
    }
}

fn fill(value: &mut Value, defaults: &Defaults) {
    let Some(members) = value.as_object_mut() else { return };
    for (field, default) in defaults.fields {
        set(members, field, default);
    }
    for (field, below) in defaults.below {
        match members.get_mut(*field) {
            Some(Value::Array(items)) => items.iter_mut().for_each(|item| fill(item, below)),
            Some(value) => fill(value, below),
            None => {}
        }
    }
    if let Some(more) = defaults.more {
        more(members);
    }
}

fn set(members: &mut Map<String, Value>, field: &str, default: &Fill) {
    let is_missing = match (members.get(field), default) {
        (None | Some(Value::Null), _) => true,
        (Some(given), Text(_)) => given.as_str() == Some(""),
        (Some(given), Number(_)) => given.as_i64() == Some(0),
        (Some(_), _) => false,
    };
    if is_missing {
        let value = match default {
            Text(text) | PointerText(text) => (*text).into(),
            Number(number) | PointerNumber(number) => (*number).into(),
            Flag(flag) => (*flag).into(),
            Object => json!({}),
        };
        members.insert(field.to_owned(), value);
    }
}

fn objects<'a>(
    members: &'a mut Map<String, Value>,
    list: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> + use<'a> {
    let items = members.get_mut(list).and_then(Value::as_array_mut);
    items.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The deprecated name of the service account and the other one stand for each other.
fn fill_account(spec: &mut Map<String, Value>) {
    let given = |spec: &Map<String, Value>, field| {
        let name = spec.get(field).and_then(Value::as_str);
        name.filter(|name| !name.is_empty()).map(str::to_owned)
    };
    let (name, old) = ("serviceAccountName", "serviceAccount");
    if let Some(account) = given(spec, name).or_else(|| given(spec, old)) {
        spec.insert(old.to_owned(), account.clone().into());
        spec.insert(name.to_owned(), account.into());
    }
}

fn fill_pull_policy(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = Text(if is_latest(image) { "Always" } else { "IfNotPresent" });
    set(container, "imagePullPolicy", &policy);
}

/// A volume without a source is an empty folder.
fn fill_source(volume: &mut Map<String, Value>) {
    let sources = super::volumes::SOURCES;
    let is_set = |field: &str| volume.get(field).is_some_and(|source| !source.is_null());
    if !sources.iter().any(|source| is_set(source.field)) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    if let Some(image) = volume.get_mut("image").and_then(Value::as_object_mut) {
        let reference = image.get("reference").and_then(Value::as_str).unwrap_or_default();
        let policy = Text(if is_latest(reference) { "Always" } else { "IfNotPresent" });
        set(image, "pullPolicy", &policy);
    }
}

/// Whether an image has the tag `latest`, or neither tag nor digest. A text that is no reference
/// has no tag.
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, it)| (name, Some(it)));
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    let path = match name.split_once('/') {
        Some((domain, path)) if domain.contains(['.', ':']) || domain == "localhost" => path,
        _ => name,
    };
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_part = |part: &str| {
        let ends = [part.bytes().next(), part.bytes().last()];
        ends.iter().all(|end| end.is_some_and(is_plain))
            && part.bytes().all(|b| is_plain(b) || b"._-".contains(&b))
    };
    path.split('/').all(is_part)
        && match tag {
            Some(tag) => tag == "latest",
            None => digest.is_none(),
        }
}

/// A container that says how much it may use asks for that much, unless it says otherwise.
fn request_limits(container: &mut Map<String, Value>) {
    let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(limits) =
        resources.get("limits").and_then(Value::as_object).cloned().filter(|map| !map.is_empty())
    else {
        return;
    };
    let requests = resources.entry("requests").or_insert(Value::Null);
    if requests.is_null() {
        *requests = json!({});
    }
    if let Some(requests) = requests.as_object_mut() {
        for (name, value) in limits {
            requests.entry(name).or_insert(value);
        }
    }
}

/// On the network of the node a port is the port of the node.
fn fill_host_port(port: &mut Map<String, Value>) {
    if let Some(number) = port.get("containerPort").cloned() {
        let host = port.entry("hostPort").or_insert(Value::Null);
        if host.is_null() || host.as_i64() == Some(0) {
            *host = number;
        }
    }
}

/// Each upstream function of the tables.
#[cfg(test)]
pub(super) fn upstream() -> std::collections::BTreeSet<&'static str> {
    fn add(defaults: &Defaults, found: &mut std::collections::BTreeSet<&'static str>) {
        found.insert(defaults.upstream);
        defaults.below.iter().for_each(|(_, below)| add(below, found));
    }
    let mut found = std::collections::BTreeSet::new();
    add(&SPEC, &mut found);
    found
}

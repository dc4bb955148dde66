//! What the kinds and their fields are, in our words.

mod fields;

/// Definitions and a sentence on each.
const KINDS: &[(&str, &str)] = &[
    ("Binding", "Says on which node a pod is to run."),
    ("ClusterRole", "Rights that can be given in the whole cluster, or in a namespace."),
    ("ClusterRoleBinding", "Gives the rights of a cluster role in the whole cluster."),
    ("ConfigMap", "Configuration that pods read, as text and bytes under keys."),
    ("CustomResourceDefinition", "Defines a kind of resource that is not built in."),
    (
        "Deployment",
        "A number of pods like each other, replaced a few at a time when they are to change.",
    ),
    ("EndpointSlice", "Some of the addresses behind a service."),
    ("Endpoints", "The addresses behind a service."),
    ("Event", "Something that happened to an object, as it is reported to people."),
    ("Eviction", "Asks for a pod to be moved away."),
    ("Lease", "Says who holds something, and until when: a leader, or a live node."),
    (
        "LimitRange",
        "Defaults and bounds of what the pods and containers of a namespace may ask for.",
    ),
    ("LocalSubjectAccessReview", "Asks whether somebody may do something in a namespace."),
    ("Namespace", "A space of names that objects live in."),
    ("Node", "A machine that runs pods."),
    ("PersistentVolume", "Storage that outlives pods, and the claim that it is bound to."),
    ("PersistentVolumeClaim", "A claim to storage that outlives pods."),
    ("Pod", "Containers that run together on a node."),
    ("PodDisruptionBudget", "How many pods of a set may be moved away at once."),
    ("PriorityClass", "A name for a priority of pods."),
    ("ResourceQuota", "What all objects of a namespace may use together."),
    ("Role", "Rights that can be given in a namespace."),
    ("RoleBinding", "Gives the rights of a role in a namespace."),
    ("Secret", "Data that only those who need it should see, as bytes under keys."),
    ("SelfSubjectAccessReview", "Asks whether the caller may do something."),
    ("SelfSubjectReview", "Asks who the caller is."),
    ("SelfSubjectRulesReview", "Asks what the caller may do in a namespace."),
    ("Service", "A name and a port for a set of pods."),
    ("ServiceAccount", "An identity for the processes in a pod."),
    ("StorageClass", "A kind of storage, and what makes volumes of it."),
    ("SubjectAccessReview", "Asks whether somebody may do something."),
    ("TokenRequest", "Asks for a token of a service account."),
    ("TokenReview", "Asks who a token belongs to."),
    (
        "ValidatingWebhookConfiguration",
        "Which requests are shown to which web services before they are carried out.",
    ),
];

/// More definitions of interest to who writes a pod, and a sentence on each.
const PARTS: &[(&str, &str)] = &[
    ("Affinity", "Where a pod would rather, or must, run."),
    ("Container", "One container of a pod: an image, and how to run it."),
    ("ContainerPort", "A port that a container listens on."),
    ("DeleteOptions", "How an object is to be deleted."),
    ("EnvFromSource", "A set of environment variables from elsewhere."),
    ("EnvVar", "An environment variable."),
    ("FieldsV1", "A set of fields, as server-side apply writes it."),
    ("IntOrString", "A whole number or a string."),
    ("ListMeta", "What all lists have in common."),
    ("ManagedFieldsEntry", "Which fields a client has set."),
    ("ObjectMeta", "What all objects have in common: names, labels, owners and times."),
    ("OwnerReference", "Another object that this one belongs to."),
    ("Patch", "A patch, in the form that its media type names."),
    ("PodSpec", "What the pod is to be."),
    ("PodStatus", "What has become of the pod."),
    ("PodTemplateSpec", "What pods made from this are to be."),
    ("Probe", "A check of a container's health."),
    ("Quantity", "A number with a unit, such as 500m, 2 or 1Gi."),
    ("ResourceRequirements", "What a container needs, and how much it may use."),
    ("Status", "What became of a request that has no object as its answer."),
    ("Time", "A moment in RFC 3339."),
    ("Toleration", "A taint of nodes that the pod accepts."),
    ("Volume", "A volume that the containers of a pod can mount."),
    ("VolumeMount", "Where a container sees a volume."),
];

/// Our sentence on a definition, if there is one.
pub(super) fn of(name: &str) -> Option<&'static str> {
    let name = name.rsplit('.').next()?;
    let found = KINDS.iter().chain(PARTS).find(|(kind, _)| *kind == name);
    found.map(|(_, text)| *text)
}

/// Whether the definition is a kind of its own.
fn is_kind(name: &str) -> bool {
    KINDS.iter().any(|(kind, _)| *kind == name)
}

/// Our sentence on a field, if there is one.
pub(super) fn of_field(structure: &str, field: &str) -> Option<&'static str> {
    let (_, fields) =
        fields::FIELDS.iter().find(|(name, _)| *name == structure).unwrap_or(&("", &[]));
    let own = fields.iter().find(|(name, _)| *name == field).map(|(_, text)| *text);
    own.or_else(|| is_kind(structure).then(|| common(field)).flatten())
}

/// A field that all kinds have.
fn common(field: &str) -> Option<&'static str> {
    Some(match field {
        "apiVersion" => "The version of the schema that this object follows.",
        "kind" => "What this object is.",
        "metadata" => "Name, labels and whatever else all objects have.",
        "spec" => "What the object is to be.",
        "status" => "What has become of the object. Who carries it out writes it.",
        _ => return None,
    })
}

/// Every field that has a sentence.
pub(super) fn fields() -> impl Iterator<Item = (&'static str, &'static str)> {
    fields::FIELDS
        .iter()
        .flat_map(|(structure, fields)| fields.iter().map(|(name, _)| (*structure, *name)))
}

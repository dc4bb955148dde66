//! What Go calls the type of a field where JSON only knows a string: messages of its decoder name
//! it.

/// Type of a string or of the items of a list of strings, by struct and field. What is not here is
/// a plain string.
const NAMED: &[(&str, &str, &str)] = &[
    ("Capabilities", "add", "v1.Capability"),
    ("Capabilities", "drop", "v1.Capability"),
    ("Container", "imagePullPolicy", "v1.PullPolicy"),
    ("Container", "terminationMessagePolicy", "v1.TerminationMessagePolicy"),
    ("ContainerPort", "protocol", "v1.Protocol"),
    ("EmptyDirVolumeSource", "medium", "v1.StorageMedium"),
    ("EndpointPort", "protocol", "v1.Protocol"),
    ("EphemeralContainer", "imagePullPolicy", "v1.PullPolicy"),
    ("EphemeralContainer", "terminationMessagePolicy", "v1.TerminationMessagePolicy"),
    ("HTTPGetAction", "scheme", "v1.URIScheme"),
    ("HostPathVolumeSource", "type", "v1.HostPathType"),
    ("LabelSelectorRequirement", "operator", "v1.LabelSelectorOperator"),
    ("LimitRangeItem", "type", "v1.LimitType"),
    ("ManagedFieldsEntry", "operation", "v1.ManagedFieldsOperationType"),
    ("NamespaceCondition", "status", "v1.ConditionStatus"),
    ("NamespaceCondition", "type", "v1.NamespaceConditionType"),
    ("NamespaceSpec", "finalizers", "v1.FinalizerName"),
    ("NamespaceStatus", "phase", "v1.NamespacePhase"),
    ("NodeAddress", "type", "v1.NodeAddressType"),
    ("NodeCondition", "status", "v1.ConditionStatus"),
    ("NodeCondition", "type", "v1.NodeConditionType"),
    ("NodeSelectorRequirement", "operator", "v1.NodeSelectorOperator"),
    ("ObjectMeta", "uid", "types.UID"),
    ("ObjectReference", "uid", "types.UID"),
    ("OwnerReference", "uid", "types.UID"),
    ("PodCondition", "status", "v1.ConditionStatus"),
    ("PodCondition", "type", "v1.PodConditionType"),
    ("PodSpec", "dnsPolicy", "v1.DNSPolicy"),
    ("PodSpec", "preemptionPolicy", "v1.PreemptionPolicy"),
    ("PodSpec", "restartPolicy", "v1.RestartPolicy"),
    ("PodStatus", "phase", "v1.PodPhase"),
    ("PodStatus", "qosClass", "v1.PodQOSClass"),
    ("Preconditions", "uid", "types.UID"),
    ("PriorityClass", "preemptionPolicy", "v1.PreemptionPolicy"),
    ("ResourceQuotaSpec", "scopes", "v1.ResourceQuotaScope"),
    ("Secret", "type", "v1.SecretType"),
    ("ServicePort", "protocol", "v1.Protocol"),
    ("ServiceSpec", "externalTrafficPolicy", "v1.ServiceExternalTrafficPolicy"),
    ("ServiceSpec", "internalTrafficPolicy", "v1.ServiceInternalTrafficPolicy"),
    ("ServiceSpec", "ipFamilies", "v1.IPFamily"),
    ("ServiceSpec", "ipFamilyPolicy", "v1.IPFamilyPolicy"),
    ("ServiceSpec", "sessionAffinity", "v1.ServiceAffinity"),
    ("ServiceSpec", "type", "v1.ServiceType"),
    ("Taint", "effect", "v1.TaintEffect"),
    ("Toleration", "effect", "v1.TaintEffect"),
    ("Toleration", "operator", "v1.TolerationOperator"),
    ("TopologySpreadConstraint", "whenUnsatisfiable", "v1.UnsatisfiableConstraintAction"),
    ("VolumeMount", "mountPropagation", "v1.MountPropagationMode"),
];

/// The type of a field that is a string in JSON, or of the items of a list of strings.
pub(super) fn string(structure: &str, field: &str) -> &'static str {
    let found = NAMED.binary_search_by_key(&(structure, field), |(of, name, _)| (*of, *name));
    found.ok().and_then(|index| NAMED.get(index)).map_or("string", |(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_row_names_a_field() {
        assert!(NAMED.is_sorted());
        let definitions = crate::schema::kubernetes::definitions();
        for (structure, field, _) in NAMED {
            let is_field = |name: &&str| {
                name.ends_with(&format!(".{structure}"))
                    && definitions.schema(name).is_some_and(|schema| schema.member(field).is_some())
            };
            assert!(definitions.names().any(|name| is_field(&name)), "{structure}.{field}");
        }
        assert_eq!(string("PodSpec", "nodeName"), "string");
    }
}

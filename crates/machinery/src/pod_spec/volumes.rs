//! Volumes, and the table of their sources.

use std::collections::HashSet;

use super::claims::CLAIM_TEMPLATE;
use super::projected::{KEY_TO_PATH, MODE, check_downward, check_projected};
use super::sources::{
    absolute, check_azure_uri, check_csi, check_fibre_channel, check_flex_options, check_flocker,
    check_image, check_iscsi, check_quobyte, iscsi_name,
};
use super::view::Rule::{
    Check, Descending, Each, Fields, If, May, Must, OneOf, Range, Required, Text,
};
use super::view::{Context, Rule, Rules, Table, Variant, View, of, shown, variant};
use crate::names;
use crate::quantity::Quantity;

const PARTITION: Rule = Range(0, 255, "must be between 1 and 255, inclusive");
const UNIT: Rule = Range(0, 255, "must be between 0 and 255, inclusive");
const NEEDED: Rule = Required("");
pub(super) const PULL: Rule = OneOf(&["Always", "IfNotPresent", "Never"]);

/// Every source in the order in which upstream looks at them.
pub(super) const SOURCES: &[Variant] = &[
    variant("emptyDir", "validateVolumeSource", &[("sizeLimit", If(check_size))]),
    variant("hostPath", "validateHostPathVolumeSource", HOST_PATH),
    variant(
        "gitRepo",
        "validateGitRepoVolumeSource",
        &[("repository", NEEDED), ("directory", Descending)],
    ),
    shown(
        "gcePersistentDisk",
        ("persistentDisk", "gcePersistentDisk"),
        "validateGCEPersistentDiskVolumeSource",
        &[("pdName", NEEDED), ("partition", PARTITION)],
    ),
    variant(
        "awsElasticBlockStore",
        "validateAWSElasticBlockStoreVolumeSource",
        &[("volumeID", NEEDED), ("partition", PARTITION)],
    ),
    variant(
        "secret",
        "validateSecretVolumeSource",
        &[("secretName", NEEDED), ("defaultMode", MODE), ("items", Each(KEY_TO_PATH))],
    ),
    variant(
        "nfs",
        "validateNFSVolumeSource",
        &[("server", NEEDED), ("path", NEEDED), ("path", Text(absolute))],
    ),
    variant("iscsi", "validateISCSIVolumeSource", ISCSI),
    variant(
        "glusterfs",
        "validateGlusterfsVolumeSource",
        &[("endpoints", NEEDED), ("path", NEEDED)],
    ),
    variant("flocker", "validateFlockerVolumeSource", &[("", Check(check_flocker))]),
    variant(
        "persistentVolumeClaim",
        "validatePersistentClaimVolumeSource",
        &[("claimName", NEEDED)],
    ),
    variant("rbd", "validateRBDVolumeSource", &[("monitors", NEEDED), ("image", NEEDED)]),
    variant(
        "cinder",
        "validateCinderVolumeSource",
        &[("volumeID", NEEDED), ("secretRef", Fields(NAMED))],
    ),
    shown("cephfs", ("cephfs", "cephFS"), "validateCephFSVolumeSource", &[("monitors", NEEDED)]),
    variant("quobyte", "validateQuobyteVolumeSource", &[("", Check(check_quobyte))]),
    shown(
        "downwardAPI",
        ("downwardAPI", "downwarAPI"),
        "validateDownwardAPIVolumeSource",
        &[("defaultMode", MODE), ("", Check(check_downward))],
    ),
    variant("fc", "validateFCVolumeSource", &[("", Check(check_fibre_channel))]),
    variant(
        "flexVolume",
        "validateFlexVolumeSource",
        &[("driver", NEEDED), ("options", If(check_flex_options))],
    ),
    variant(
        "configMap",
        "validateConfigMapVolumeSource",
        &[("name", NEEDED), ("defaultMode", MODE), ("items", Each(KEY_TO_PATH))],
    ),
    variant("azureFile", "validateAzureFile", &[("secretName", NEEDED), ("shareName", NEEDED)]),
    variant("vsphereVolume", "validateVsphereVolumeSource", &[("volumePath", NEEDED)]),
    variant(
        "photonPersistentDisk",
        "validatePhotonPersistentDiskVolumeSource",
        &[("pdID", NEEDED)],
    ),
    variant("portworxVolume", "validatePortworxVolumeSource", &[("volumeID", NEEDED)]),
    variant("azureDisk", "validateAzureDisk", AZURE_DISK),
    variant(
        "storageos",
        "validateStorageOSVolumeSource",
        &[
            ("volumeName", Must(names::dns1123_label)),
            ("volumeNamespace", May(names::dns1123_label)),
            ("secretRef", Fields(NAMED)),
        ],
    ),
    variant(
        "projected",
        "validateProjectedVolumeSource",
        &[("defaultMode", MODE), ("", Check(check_projected))],
    ),
    variant(
        "scaleIO",
        "validateScaleIOVolumeSource",
        &[("gateway", NEEDED), ("system", NEEDED), ("volumeName", NEEDED)],
    ),
    variant("csi", "validateCSIVolumeSource", &[("", Check(check_csi))]),
    variant(
        "ephemeral",
        "validateEphemeralVolumeSource",
        &[
            ("volumeClaimTemplate", Check(check_present)),
            ("volumeClaimTemplate", Fields(CLAIM_TEMPLATE)),
        ],
    ),
    variant(
        "image",
        "validateImageVolumeSource",
        &[("", Check(check_image)), ("pullPolicy", PULL)],
    ),
];

fn check_present(value: &View<'_, '_>, context: &mut Context<'_>) {
    if value.value.is_null() {
        value.required("", context);
    }
}

const NAMED: &[Table] = &[of("validateCinderVolumeSource", &[("name", NEEDED)])];

const HOST_PATH: Rules = &[
    ("path", NEEDED),
    ("path", Check(|path, context| path.check_no_back_steps(context))),
    ("type", OneOf(HOST_PATH_TYPES)),
];

/// The types of host paths, in pods and in persistent volumes.
pub const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

const ISCSI: Rules =
    &[("targetPortal", NEEDED), ("iqn", Must(iscsi_name)), ("lun", UNIT), ("", Check(check_iscsi))];

const AZURE_DISK: Rules = &[
    ("diskName", NEEDED),
    ("diskURI", NEEDED),
    ("cachingMode", OneOf(&["None", "ReadOnly", "ReadWrite"])),
    ("kind", OneOf(&["Dedicated", "Managed", "Shared"])),
    ("", Check(check_azure_uri)),
];

/// `ValidateVolumes`: notes the valid volumes.
pub(super) fn check<'v>(volumes: &View<'v, '_>, context: &mut Context<'v>) {
    let created: HashSet<&str> = match context.name {
        "" => HashSet::new(),
        _ => volumes
            .objects()
            .filter(|volume| volume.given("ephemeral").is_some())
            .map(|volume| volume.text("name"))
            .collect(),
    };
    for volume in volumes.objects() {
        let before = context.errors.len() + context.errors.dropped();
        check_source(&volume, context);
        let name = volume.get("name");
        name.check_must(names::dns1123_label, context);
        if context.volumes.contains_key(name.str()) {
            name.duplicate(name.str(), context);
        }
        if context.errors.len() + context.errors.dropped() == before && name.value.is_string() {
            context.volumes.insert(name.str(), volume.value);
        }
        let claim = volume.get("persistentVolumeClaim");
        let claim = claim.get("claimName");
        let own = claim.str().strip_prefix(context.name).and_then(|rest| rest.strip_prefix('-'));
        if own.is_some_and(|volume| created.contains(volume)) {
            claim.invalid(
                "must not reference a PVC that gets created for an ephemeral volume",
                context,
            );
        }
    }
}

/// `validateVolumeSource`.
fn check_source<'v>(volume: &View<'v, '_>, context: &mut Context<'v>) {
    let more = "may not specify more than 1 volume type";
    volume.check_one_of(SOURCES, more, "must specify a volume type", context);
    let name = volume.get("name");
    if let Some(iscsi) = volume.given("iscsi")
        && iscsi.given("initiatorName").is_some()
        && name.str().len() + 1 + iscsi.text("targetPortal").len() > 64
    {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        name.invalid(detail, context);
    }
    if volume.given("ephemeral").is_some() && !context.name.is_empty() && !name.str().is_empty() {
        let claim = format!("{}-{}", context.name, name.str());
        for complaint in names::dns1123_subdomain(&claim) {
            name.invalid(format!("PVC name {claim:?}: {complaint}"), context);
        }
    }
}

fn check_size(size: &View<'_, '_>, context: &mut Context<'_>) {
    if Quantity::from_value(size.value).is_ok_and(|size| size.is_negative()) {
        size.forbidden("SizeLimit field must be a valid resource quantity", context);
    }
}

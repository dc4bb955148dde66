//! The supported messages, from the published `generated.proto` files of `k8s.io/api` and
//! `k8s.io/apimachinery`: each with all its fields.

use super::{Field, Type};

const fn field(number: u64, name: &'static str, of: Type) -> Field {
    Field { number, name, of }
}

const fn text(number: u64, name: &'static str) -> Field {
    field(number, name, Type::Text)
}

const fn texts(number: u64, name: &'static str) -> Field {
    field(number, name, Type::Many(&Type::Text))
}

const METADATA: Field = field(1, "metadata", Type::Message(OBJECT_META));

/// The message of a kind.
pub(super) fn find(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    Some(match (api_version, kind) {
        ("v1", "ConfigMap") => CONFIG_MAP,
        ("v1", "Secret") => SECRET,
        ("v1", "Namespace") => NAMESPACE,
        ("v1", "ServiceAccount") => SERVICE_ACCOUNT,
        ("authentication.k8s.io/v1", "SelfSubjectReview") => SELF_REVIEW,
        ("authentication.k8s.io/v1", "TokenReview") => TOKEN_REVIEW,
        ("authentication.k8s.io/v1", "TokenRequest") => TOKEN_REQUEST,
        ("authorization.k8s.io/v1", "SubjectAccessReview" | "LocalSubjectAccessReview") => {
            ACCESS_REVIEW
        }
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => SELF_ACCESS_REVIEW,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => RULES_REVIEW,
        ("rbac.authorization.k8s.io/v1", "Role") => ROLE,
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => CLUSTER_ROLE,
        ("rbac.authorization.k8s.io/v1", "RoleBinding" | "ClusterRoleBinding") => BINDING,
        _ => return None,
    })
}

pub(super) const ENVELOPE: &[Field] = &[
    field(1, "typeMeta", Type::Message(&[text(1, "apiVersion"), text(2, "kind")])),
    field(2, "raw", Type::Bytes),
    text(3, "contentEncoding"),
    text(4, "contentType"),
];
pub(super) const RAW: &[Field] = &[field(1, "raw", Type::Bytes)];
pub(super) const TEXTS: &[Field] = &[texts(1, "items")];
pub(super) const TIME: &[Field] =
    &[field(1, "seconds", Type::Number), field(2, "nanos", Type::Number)];

const OBJECT_META: &[Field] = &[
    text(1, "name"),
    text(2, "generateName"),
    text(3, "namespace"),
    text(4, "selfLink"),
    text(5, "uid"),
    text(6, "resourceVersion"),
    field(7, "generation", Type::Ignored),
    field(8, "creationTimestamp", Type::Time),
    field(9, "deletionTimestamp", Type::Time),
    field(10, "deletionGracePeriodSeconds", Type::Number),
    field(11, "labels", Type::Map(&Type::Text)),
    field(12, "annotations", Type::Map(&Type::Text)),
    field(
        13,
        "ownerReferences",
        Type::Many(&Type::Message(&[
            text(1, "kind"),
            text(3, "name"),
            text(4, "uid"),
            text(5, "apiVersion"),
            field(6, "controller", Type::Flag),
            field(7, "blockOwnerDeletion", Type::Flag),
        ])),
    ),
    texts(14, "finalizers"),
    field(
        17,
        "managedFields",
        Type::Many(&Type::Message(&[
            text(1, "manager"),
            text(2, "operation"),
            text(3, "apiVersion"),
            field(4, "time", Type::Time),
            text(6, "fieldsType"),
            field(7, "fieldsV1", Type::Raw),
            text(8, "subresource"),
        ])),
    ),
];

const CONFIG_MAP: &[Field] = &[
    METADATA,
    field(2, "data", Type::Map(&Type::Text)),
    field(3, "binaryData", Type::Map(&Type::Bytes)),
    field(4, "immutable", Type::Flag),
];

const SECRET: &[Field] = &[
    METADATA,
    field(2, "data", Type::Map(&Type::Bytes)),
    text(3, "type"),
    field(4, "stringData", Type::Map(&Type::Text)),
    field(5, "immutable", Type::Flag),
];

const NAMESPACE: &[Field] = &[
    METADATA,
    field(2, "spec", Type::Message(&[texts(1, "finalizers")])),
    field(3, "status", Type::Ignored),
];

const SERVICE_ACCOUNT: &[Field] = &[
    METADATA,
    field(
        2,
        "secrets",
        Type::Many(&Type::Message(&[
            text(1, "kind"),
            text(2, "namespace"),
            text(3, "name"),
            text(4, "uid"),
            text(5, "apiVersion"),
            text(6, "resourceVersion"),
            text(7, "fieldPath"),
        ])),
    ),
    field(3, "imagePullSecrets", Type::Many(&Type::Message(&[text(1, "name")]))),
    field(4, "automountServiceAccountToken", Type::Flag),
];

const SELF_REVIEW: &[Field] = &[METADATA, field(2, "status", Type::Ignored)];

const TOKEN_REVIEW: &[Field] = &[
    METADATA,
    field(2, "spec", Type::Message(&[text(1, "token"), texts(2, "audiences")])),
    field(3, "status", Type::Ignored),
];

const TOKEN_REQUEST: &[Field] = &[
    METADATA,
    field(
        2,
        "spec",
        Type::Message(&[
            texts(1, "audiences"),
            field(
                3,
                "boundObjectRef",
                Type::Message(&[
                    text(1, "kind"),
                    text(2, "apiVersion"),
                    text(3, "name"),
                    text(4, "uid"),
                ]),
            ),
            field(4, "expirationSeconds", Type::Number),
        ]),
    ),
    field(3, "status", Type::Ignored),
];

// Selectors of attributes are not supported: they narrow a review, so ignoring them would change
// its result.
const RESOURCE: Field = field(
    1,
    "resourceAttributes",
    Type::Message(&[
        text(1, "namespace"),
        text(2, "verb"),
        text(3, "group"),
        text(4, "version"),
        text(5, "resource"),
        text(6, "subresource"),
        text(7, "name"),
    ]),
);
const PATH: Field =
    field(2, "nonResourceAttributes", Type::Message(&[text(1, "path"), text(2, "verb")]));

const ACCESS_REVIEW: &[Field] = &[
    METADATA,
    field(
        2,
        "spec",
        Type::Message(&[
            RESOURCE,
            PATH,
            text(3, "user"),
            texts(4, "groups"),
            field(5, "extra", Type::Map(&Type::Wrapped)),
            text(6, "uid"),
        ]),
    ),
    field(3, "status", Type::Ignored),
];

const SELF_ACCESS_REVIEW: &[Field] = &[
    METADATA,
    field(2, "spec", Type::Message(&[RESOURCE, PATH])),
    field(3, "status", Type::Ignored),
];

const RULES_REVIEW: &[Field] = &[
    METADATA,
    field(2, "spec", Type::Message(&[text(1, "namespace")])),
    field(3, "status", Type::Ignored),
];

const RULES: Field = field(
    2,
    "rules",
    Type::Many(&Type::Message(&[
        texts(1, "verbs"),
        texts(2, "apiGroups"),
        texts(3, "resources"),
        texts(4, "resourceNames"),
        texts(5, "nonResourceURLs"),
    ])),
);

const LABEL_SELECTOR: &[Field] = &[
    field(1, "matchLabels", Type::Map(&Type::Text)),
    field(
        2,
        "matchExpressions",
        Type::Many(&Type::Message(&[text(1, "key"), text(2, "operator"), texts(3, "values")])),
    ),
];

const ROLE: &[Field] = &[METADATA, RULES];

const CLUSTER_ROLE: &[Field] = &[
    METADATA,
    RULES,
    field(
        3,
        "aggregationRule",
        Type::Message(&[field(
            1,
            "clusterRoleSelectors",
            Type::Many(&Type::Message(LABEL_SELECTOR)),
        )]),
    ),
];

const BINDING: &[Field] = &[
    METADATA,
    field(
        2,
        "subjects",
        Type::Many(&Type::Message(&[
            text(1, "kind"),
            text(2, "apiGroup"),
            text(3, "name"),
            text(4, "namespace"),
        ])),
    ),
    field(3, "roleRef", Type::Message(&[text(1, "apiGroup"), text(2, "kind"), text(3, "name")])),
];

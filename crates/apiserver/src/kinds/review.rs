//! Questions that are asked by creating an object and answered in its status. Nothing of them is stored.

use crate::kind::Kind;
use crate::kind::{AGE, NAME};
use crate::strategy::Plain;

/// Group of questions about who somebody is.
pub(crate) const AUTHENTICATION: &str = "authentication.k8s.io";
/// Group of questions about what somebody may do.
pub(crate) const AUTHORIZATION: &str = "authorization.k8s.io";

/// Whether objects of the kind are only answered.
pub(crate) fn is_review(kind: &Kind) -> bool {
    matches!(kind.group, AUTHENTICATION | AUTHORIZATION)
}

pub(super) fn kinds() -> Vec<Kind> {
    let row = |group, kind, plural, singular, namespaced| Kind {
        group,
        version: "v1",
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        namespaced,
        verbs: &["create"],
        subresources: &[],
        columns: &[NAME, AGE],
        custom: false,
        create_on_update: false,
        unconditional_update: false,
        strategy: &Plain,
    };
    vec![
        row(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview", false),
        row(AUTHENTICATION, "TokenReview", "tokenreviews", "tokenreview", false),
        row(
            AUTHORIZATION,
            "LocalSubjectAccessReview",
            "localsubjectaccessreviews",
            "localsubjectaccessreview",
            true,
        ),
        row(
            AUTHORIZATION,
            "SelfSubjectAccessReview",
            "selfsubjectaccessreviews",
            "selfsubjectaccessreview",
            false,
        ),
        row(
            AUTHORIZATION,
            "SelfSubjectRulesReview",
            "selfsubjectrulesreviews",
            "selfsubjectrulesreview",
            false,
        ),
        row(
            AUTHORIZATION,
            "SubjectAccessReview",
            "subjectaccessreviews",
            "subjectaccessreview",
            false,
        ),
    ]
}

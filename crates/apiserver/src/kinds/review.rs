//! Questions that are asked by creating an object and answered in its status. Nothing is stored.

use crate::kind::{Kind, Review};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// A question that is about the whole cluster.
fn row(
    review: Review,
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
) -> Kind {
    Kind {
        namespaced: false,
        verbs: &["create"],
        review: Some(review),
        unconditional_update: false,
        ..Kind::new(group, kind, plural, singular)
    }
}

pub(super) fn kinds() -> Vec<Kind> {
    vec![
        row(
            Review::SelfSubject,
            AUTHENTICATION,
            "SelfSubjectReview",
            "selfsubjectreviews",
            "selfsubjectreview",
        ),
        row(Review::Token, AUTHENTICATION, "TokenReview", "tokenreviews", "tokenreview"),
        Kind {
            namespaced: true,
            ..row(
                Review::LocalSubjectAccess,
                AUTHORIZATION,
                "LocalSubjectAccessReview",
                "localsubjectaccessreviews",
                "localsubjectaccessreview",
            )
        },
        row(
            Review::SelfSubjectAccess,
            AUTHORIZATION,
            "SelfSubjectAccessReview",
            "selfsubjectaccessreviews",
            "selfsubjectaccessreview",
        ),
        row(
            Review::SelfSubjectRules,
            AUTHORIZATION,
            "SelfSubjectRulesReview",
            "selfsubjectrulesreviews",
            "selfsubjectrulesreview",
        ),
        row(
            Review::SubjectAccess,
            AUTHORIZATION,
            "SubjectAccessReview",
            "subjectaccessreviews",
            "subjectaccessreview",
        ),
    ]
}

//! Remembers which unreadable objects were reported, so that each version is reported once.

use std::collections::HashMap;

use kube::Resource as _;

use crate::Unreadable;

/// Number of objects that are remembered. Beyond it objects may be reported again.
const MAX_OBJECTS: usize = 1024;

/// The newest reported version of each unreadable object, by uid.
#[derive(Debug, Default)]
pub struct Reported {
    versions: HashMap<String, String>,
}

impl Reported {
    /// Records this version of the object as reported. Returns false if it already was.
    pub fn is_news(&mut self, object: &Unreadable) -> bool {
        let meta = object.raw.meta();
        let uid = meta.uid.clone().unwrap_or_default();
        let version = meta.resource_version.clone().unwrap_or_default();
        if self.versions.get(&uid) == Some(&version) {
            return false;
        }
        if self.versions.len() >= MAX_OBJECTS {
            self.versions.clear();
        }
        self.versions.insert(uid, version);
        true
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;
    use crate::Lenient;

    #[test]
    fn each_version_is_news_once() {
        let mut reported = Reported::default();
        let mut is_news = |uid: &str, version: &str| {
            let object =
                json!({ "metadata": { "uid": uid, "resourceVersion": version }, "spec": 5 });
            let object: Lenient<Pod> = serde_json::from_value(object).unwrap();
            reported.is_news(&object.0.unwrap_err())
        };
        assert!(is_news("a", "1") && is_news("b", "1") && is_news("a", "2"));
        assert!(!is_news("a", "2") && !is_news("b", "1"));
        for uid in 0..2000 {
            assert!(is_news(&format!("many-{uid}"), "1"));
        }
    }
}

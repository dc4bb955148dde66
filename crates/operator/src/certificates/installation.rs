//! The objects that the webhook's certificates concern, and the commands that installed them.

/// Names of the objects, and the commands that print them.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    /// The namespace of the Service and the Secret.
    pub(crate) namespace: String,
    /// The name of the Service.
    pub(crate) service: String,
    /// The name of the Secret.
    pub(crate) secret: String,
    /// The name of the ValidatingWebhookConfiguration.
    pub(crate) configuration: String,
    /// The name of the webhook in that configuration.
    pub(crate) webhook: String,
    /// The command that prints the Service and the configuration as they were installed.
    pub(crate) install: String,
    /// The command that prints the roles and bindings.
    pub(crate) grant: String,
}

// === impl Installation ===

impl Installation {
    /// The DNS names of the Service inside a cluster.
    pub(super) fn names(&self) -> Vec<String> {
        let Self { namespace, service, .. } = self;
        vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}"),
            service.clone(),
        ]
    }

    /// The namespace and the name of the Service.
    pub(super) fn target(&self) -> (&str, &str) {
        (&self.namespace, &self.service)
    }

    pub(super) fn secrets(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets", self.namespace)
    }

    pub(super) fn configuration_path(&self) -> String {
        let name = &self.configuration;
        format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}")
    }
}

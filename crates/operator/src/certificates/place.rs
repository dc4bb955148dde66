//! Where everything is kept, and how it was installed.

/// What is kept, and where.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The namespace of the Service and the Secret.
    pub(crate) namespace: String,
    /// The Service.
    pub(crate) service: String,
    /// The Secret.
    pub(crate) secret: String,
    /// The ValidatingWebhookConfiguration.
    pub(crate) configuration: String,
    /// The webhook in it.
    pub(crate) webhook: String,
    /// The command that prints the Service and the configuration as they were installed.
    pub(crate) install: String,
    /// The one that prints the rights.
    pub(crate) grant: String,
}

// === impl Place ===

impl Place {
    /// The names by which the Service is called inside a cluster.
    pub(super) fn names(&self) -> Vec<String> {
        let Self { namespace, service, .. } = self;
        vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}"),
            service.clone(),
        ]
    }

    /// The Service, with its namespace first.
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

//! The kubeconfig for clients of this server.
//!
//! It contains a token, so only its owner may read it. It is written atomically: a process that
//! waits for the file finds it complete.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The cluster's, the user's and the context's name.
const NAME: &str = "mxjob";

/// The kubeconfig cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the kubeconfig {}", path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The text of a kubeconfig with one cluster, one user and one context, all named `mxjob`. An empty
/// `ca_pem` is omitted (a plain loopback server has none).
#[must_use]
pub fn render(server_url: &str, ca_pem: &str, token: &str) -> String {
    let authority = if ca_pem.is_empty() {
        String::new()
    } else {
        format!("    certificate-authority-data: {}\n", BASE64_STANDARD.encode(ca_pem))
    };
    let (server, token) = (quoted(server_url), quoted(token));
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: {NAME}
  cluster:
{authority}    server: {server}
contexts:
- name: {NAME}
  context:
    cluster: {NAME}
    namespace: default
    user: {NAME}
current-context: {NAME}
preferences: {{}}
users:
- name: {NAME}
  user:
    token: {token}
"
    )
}

/// Writes a kubeconfig atomically (mode 0600).
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, server_url: &str, ca_pem: &str, token: &str) -> Result<(), Error> {
    mxjob_files::write(path, render(server_url, ca_pem, token).as_bytes())
        .map_err(|source| Error { path: path.to_owned(), source })
}

/// A JSON string, which is also a YAML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_kubeconfig_has_one_cluster_user_and_context() {
        assert_eq!(
            render("https://127.0.0.1:6443", "PEM\n", "s\"t"),
            "apiVersion: v1\nkind: Config\nclusters:\n- name: mxjob\n  cluster:\n    certificate-authority-data: UEVNCg==\n    server: \"https://127.0.0.1:6443\"\ncontexts:\n- name: mxjob\n  context:\n    cluster: mxjob\n    namespace: default\n    user: mxjob\ncurrent-context: mxjob\npreferences: {}\nusers:\n- name: mxjob\n  user:\n    token: \"s\\\"t\"\n"
        );
        assert!(!render("http://127.0.0.1:1", "", "t").contains("certificate"));
    }

    #[test]
    fn only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        write(&path, "https://a", "PEM", "t").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let error = write(&dir.path().join("no/kubeconfig"), "https://a", "PEM", "t").unwrap_err();
        assert!(error.to_string().starts_with("cannot write the kubeconfig "), "{error}");
    }
}

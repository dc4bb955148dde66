//! The cluster's address and our credentials, from a kubeconfig or from the pod's service account.

use std::path::PathBuf;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};

/// How to find the cluster.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// A kubeconfig; `$KUBECONFIG`, the service account of the pod, or `~/.kube/config` if `None`.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it instead of its current one.
    pub context: Option<String>,
}

/// A cluster, and our credentials there.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The configuration of a client.
    pub config: kube::Config,
    /// The namespace of our pod; `None` outside of the cluster.
    pub pod_namespace: Option<String>,
}

/// Why no cluster was found.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There is no kubeconfig and no service account.
    #[error(
        "no cluster is configured: there is no kubeconfig (set --kubeconfig or $KUBECONFIG), and this is not a pod"
    )]
    Nothing,
    /// The file has no such context.
    #[error("{file} has no context {context:?}; it has {known}")]
    NoContext {
        /// The kubeconfig.
        file: String,
        /// The requested context.
        context: String,
        /// The existing contexts, as a list.
        known: String,
    },
    /// The file does not exist, or cannot be used.
    #[error("cannot use the kubeconfig {file}: {reason}")]
    Kubeconfig {
        /// The kubeconfig.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The service account of the pod cannot be used.
    #[error("cannot use the service account of this pod")]
    Pod(#[source] InClusterError),
}

// === impl Access ===

impl Access {
    /// Finds the cluster: by [`Self::kubeconfig`], then `$KUBECONFIG`, then the pod's service
    /// account, then the user's own file. The variable comes before the service account, because it
    /// is only set in a pod on purpose.
    ///
    /// # Errors
    /// Where no cluster is found, or its configuration cannot be used.
    pub async fn find(&self) -> Result<Cluster, AccessError> {
        let variable = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
        if let Some(file) = &self.kubeconfig {
            return self.read(std::slice::from_ref(file)).await;
        }
        if let Some(files) = variable {
            // Missing files are skipped, as kubectl does.
            let named: Vec<PathBuf> = std::env::split_paths(&files).collect();
            let existing: Vec<PathBuf> =
                named.iter().filter(|file| file.exists()).cloned().collect();
            return self.read(if existing.is_empty() { &named } else { &existing }).await;
        }
        let is_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        if is_pod && self.context.is_none() {
            let config = kube::Config::incluster().map_err(AccessError::Pod)?;
            let pod_namespace = Some(config.default_namespace.clone());
            return Ok(Cluster { config, pod_namespace });
        }
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        match home.map(|home| home.join(".kube/config")).filter(|file| file.exists()) {
            Some(file) => self.read(&[file]).await,
            None => Err(AccessError::Nothing),
        }
    }

    /// Reads and merges files; the first value of a setting wins.
    async fn read(&self, files: &[PathBuf]) -> Result<Cluster, AccessError> {
        let mut all = Kubeconfig::default();
        let mut names = Vec::new();
        for file in files {
            let name = file.display().to_string();
            let read = Kubeconfig::read_from(file).and_then(|read| all.merge(read));
            all = read.map_err(|error| unusable(&name, &error))?;
            names.push(name);
        }
        let file = names.join(", ");
        let context = self.context.clone().or_else(|| all.current_context.clone());
        let known: Vec<String> = all.contexts.iter().map(|context| context.name.clone()).collect();
        if let Some(context) = context.filter(|context| !known.contains(context)) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(AccessError::NoContext { file, context, known });
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        match kube::Config::from_custom_kubeconfig(all, &options).await {
            Ok(config) => Ok(Cluster { config, pod_namespace: None }),
            Err(error) => Err(unusable(&file, &error)),
        }
    }
}

fn unusable(file: &str, error: &KubeconfigError) -> AccessError {
    let reason = match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::CurrentContextNotSet => {
            "it has no current context; select one with --context".to_owned()
        }
        KubeconfigError::LoadClusterOfContext(cluster) => {
            format!("it has no cluster {cluster:?}, which its context refers to")
        }
        KubeconfigError::Parse(error) => {
            format!("it is not a valid kubeconfig: {}", first_line(&error.to_string()))
        }
        other => other.to_string(),
    };
    AccessError::Kubeconfig { file: file.to_owned(), reason }
}

/// The first line of a parser's error; the lines after it show the position with an arrow.
fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(current: &str, names: &[&str]) -> String {
        let each = |kind: &str, of: &dyn Fn(&str) -> String| -> String {
            let items =
                names.iter().map(|name| format!("- name: {name}\n  {kind}: {}\n", of(name)));
            items.collect()
        };
        let clusters = each("cluster", &|name| format!("{{ server: \"https://{name}:6443\" }}"));
        let contexts = each("context", &|name| {
            format!("{{ cluster: {name}, user: u, namespace: {name}-space }}")
        });
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {current}\nclusters:\n{clusters}contexts:\n{contexts}users: []\n"
        )
    }

    /// What the files say of a context: the server and the namespace, or what is wrong. `DIR`
    /// stands for their folder.
    async fn read(files: &[(&str, &str)], context: Option<&str>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (name, text) in files {
            let path = dir.path().join(name);
            if !text.is_empty() {
                std::fs::write(&path, text).unwrap();
            }
            paths.push(path);
        }
        let access = Access { kubeconfig: None, context: context.map(str::to_owned) };
        match access.read(&paths).await {
            Ok(Cluster { config, .. }) => {
                format!("{} {}", config.cluster_url.host().unwrap(), config.default_namespace)
            }
            Err(error) => error.to_string().replace(&dir.path().display().to_string(), "DIR"),
        }
    }

    #[tokio::test]
    async fn a_context_leads_to_its_cluster() {
        let two = kubeconfig("a", &["a", "b"]);
        assert_eq!(read(&[("k", &two)], None).await, "a a-space");
        assert_eq!(read(&[("k", &two)], Some("b")).await, "b b-space");
        let other = kubeconfig("c", &["c"]);
        assert_eq!(read(&[("k", &two), ("l", &other)], None).await, "a a-space", "the first wins");
        assert_eq!(read(&[("k", &two), ("l", &other)], Some("c")).await, "c c-space");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_is_explained_in_one_line() {
        let (two, none) = (kubeconfig("a", &["a", "b"]), kubeconfig("a", &[]));
        let unset = two.replace("current-context: a\n", "");
        let lost = two.replace("cluster: b,", "cluster: x,");
        for (text, context, want) in [
            (two.as_str(), Some("x"), "DIR/k has no context \"x\"; it has a, b"),
            (&none, None, "DIR/k has no context \"a\"; it has none"),
            (&unset, None, "it has no current context; select one with --context"),
            (&lost, Some("b"), "it has no cluster \"x\", which its context refers to"),
            ("a: [", None, "cannot use the kubeconfig DIR/k: it is not a valid kubeconfig: "),
            ("", None, "cannot use the kubeconfig DIR/k: No such file or directory"),
        ] {
            let message = read(&[("k", text)], context).await;
            assert!(message.contains(want) && !message.contains('\n'), "{want}: {message}");
        }
    }
}

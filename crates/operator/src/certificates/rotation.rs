//! Keeps the Secret, the served certificate and the configuration in sync. The rules are in
//! [`check`](super::check) and [`ca_bundle`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use kube::Client;
use mxjob_client::request::{self, JSON, JSON_PATCH};
use mxjob_machinery::backoff::Backoff;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::info;

use super::ca_bundle::{self, Comparison};
use super::check::check;
use super::decision::{Decision, Reason};
use super::error::{Error, SECRET};
use super::installation::Installation;
use super::messages::{Problem, announce, describe};
use super::resolver::Resolver;
use super::secret_data::SecretData;
use super::validity::Validity;
use super::{authority, issue};
use crate::wall_clock;
use crate::webhook::Metrics;

/// How often the Secret and the configuration are checked.
const SYNC_INTERVAL: Duration = Duration::from_secs(60);
/// How often while the cluster does not call this webhook: as soon as it does, it must trust the
/// certificate.
const UNCALLED_INTERVAL: Duration = Duration::from_secs(5);
/// The delay after the first failure; it doubles up to [`SYNC_INTERVAL`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How many times one sync starts over because another client wrote in between. Every other replica
/// writes once.
const MAX_ATTEMPTS: usize = 8;

/// Reads and writes the objects as the rules decide; one task of every replica.
pub(crate) struct Rotation {
    client: Client,
    installation: Installation,
    names: Vec<String>,
    resolver: Arc<Resolver>,
    metrics: Metrics,
    /// The `tls.crt` of new handshakes.
    served: Option<String>,
    certificate_problem: Problem,
    trust_problem: Problem,
}

const CONFIGURATION: &str = "ValidatingWebhookConfiguration";

// === impl Rotation ===

impl Rotation {
    pub(crate) fn new(
        client: Client,
        installation: Installation,
        resolver: Arc<Resolver>,
        metrics: Metrics,
    ) -> Self {
        let names = installation.names();
        Self {
            client,
            installation,
            names,
            resolver,
            metrics,
            served: None,
            certificate_problem: Problem::default(),
            trust_problem: Problem::default(),
        }
    }

    /// Syncs for ever. `ready` turns true with the first certificate.
    pub(crate) async fn run(mut self, ready: watch::Sender<bool>) -> Infallible {
        let mut backoff = Backoff::new(FIRST_RETRY, SYNC_INTERVAL);
        loop {
            // A missing configuration is most often about to be created: an installation creates it
            // last, and until it has the authority no job can be written.
            let is_well = self.sync(wall_clock::now()).await && !self.trust_problem.is_open();
            if self.served.is_some() {
                ready.send_if_modified(|ready| !std::mem::replace(ready, true));
            }
            let delay = match (is_well, self.trust_problem.is_open()) {
                (true, false) => SYNC_INTERVAL,
                (true, true) => UNCALLED_INTERVAL,
                (false, _) => backoff.next_delay(),
            };
            if is_well {
                backoff.reset();
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// The `tls.crt` of new handshakes.
    #[cfg(test)]
    pub(super) fn served(&self) -> Option<&str> {
        self.served.as_deref()
    }

    /// The DNS names that the certificate must cover.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Syncs once. Returns whether everything is in sync now.
    pub(crate) async fn sync(&mut self, now: Timestamp) -> bool {
        for _ in 0..MAX_ATTEMPTS {
            // Read before the Secret, so that the Secret is never older than the bundle that a
            // patch replaces.
            let configuration = self.get(CONFIGURATION).await;
            let trusted = match &configuration {
                Ok(Some(found)) => ca_bundle::trusted(
                    found,
                    &self.installation.webhook,
                    self.installation.target(),
                ),
                Ok(None) => None,
                // The cluster may call this webhook, and may trust any earlier authority.
                Err(_) => Some(String::new()),
            };
            let secret_data = match self.sync_secret(trusted.as_deref(), now).await {
                Ok(secret_data) => {
                    self.certificate_problem.resolve("the webhook's certificate is in sync again");
                    secret_data
                }
                Err((error, usable)) => {
                    self.certificate_problem.report(&describe(&error, &self.installation));
                    let Some(secret_data) = usable else { return false };
                    secret_data
                }
            };
            let trusted = match configuration {
                Ok(configuration) => self.sync_bundle(configuration.as_ref(), &secret_data).await,
                Err(error) => Err(error),
            };
            match trusted {
                Ok(false) => {}
                Ok(true) => return !self.certificate_problem.is_open(),
                Err(error) => {
                    self.trust_problem.report(&describe(&error, &self.installation));
                    return false;
                }
            }
        }
        let (kind, name) = (CONFIGURATION, self.installation.configuration.clone());
        let error = Error::Contended { kind, name };
        self.trust_problem.report(&describe(&error, &self.installation));
        false
    }

    /// Syncs the Secret and serves its certificate. An error comes with the content that can be
    /// served nevertheless.
    async fn sync_secret(
        &mut self,
        trusted: Option<&str>,
        now: Timestamp,
    ) -> Result<SecretData, (Error, Option<SecretData>)> {
        let mut usable = None;
        for _ in 0..MAX_ATTEMPTS {
            let secret = match self.get(SECRET).await {
                Ok(secret) => secret,
                Err(error) => return Err((error, usable)),
            };
            let secret_data = secret.as_ref().map(|secret| SecretData::from_data(&secret["data"]));
            let decision = check(secret_data.as_ref(), &self.names, trusted, now);
            usable = secret_data.clone().filter(|_| {
                let is_good = Decision::RenewCertificate(Reason::Due);
                matches!(decision, Decision::Keep | Decision::RenewAuthority(_))
                    || decision == is_good
            });
            if let Some(secret_data) = &usable {
                self.serve(secret_data);
                if decision == Decision::Keep {
                    return Ok(secret_data.clone());
                }
            }
            let next = issue::apply(decision, secret_data.as_ref(), &self.names, trusted, now);
            let next = match next.map_err(Error::Issue) {
                Ok((decision, next)) => {
                    self.write(secret, &next, &decision).await.map(|done| (done, next))
                }
                Err(error) => Err(error),
            };
            match next {
                Ok((true, next)) => {
                    self.serve(&next);
                    return Ok(next);
                }
                Ok((false, _)) => {} // another replica was faster; use what it wrote
                Err(error) => return Err((error, usable)),
            }
        }
        Err((Error::Contended { kind: SECRET, name: self.installation.secret.clone() }, usable))
    }

    /// Serves this certificate in handshakes from now on.
    fn serve(&mut self, secret_data: &SecretData) {
        if self.served.as_ref() == Some(&secret_data.tls_crt) {
            return;
        }
        // Content that passed the check, or was just issued, is a certificate and its key.
        let Some(certified) = authority::server(&secret_data.tls_crt, &secret_data.tls_key) else {
            return;
        };
        if let Some(validity) = certified.cert.first().and_then(|der| Validity::of(der)) {
            self.metrics.expires(validity.not_after);
            info!(until = %validity.not_after, "serving a new webhook certificate");
        }
        self.resolver.set(certified);
        self.served = Some(secret_data.tls_crt.clone());
    }

    /// Writes the bundle into the configuration if it differs; false if another client changed the
    /// configuration in between.
    async fn sync_bundle(
        &mut self,
        configuration: Option<&Value>,
        secret_data: &SecretData,
    ) -> Result<bool, Error> {
        let installation = &self.installation;
        let install = format!("install it with `{} | kubectl apply -f -`", installation.install);
        let Some(configuration) = configuration else {
            self.trust_problem.report(&format!(
                "the {CONFIGURATION} {} does not exist, so new jobs are checked against the CustomResourceDefinition only; {install}",
                installation.configuration
            ));
            return Ok(true);
        };
        match ca_bundle::compare(
            configuration,
            &installation.webhook,
            installation.target(),
            &secret_data.ca_crt,
        ) {
            Comparison::UpToDate => {
                self.trust_problem.resolve("the cluster calls the webhook");
                Ok(true)
            }
            Comparison::NoWebhook => {
                self.trust_problem.report(&format!(
                    "the {CONFIGURATION} {} has no webhook {}, so new jobs are checked against the CustomResourceDefinition only; {install}",
                    installation.configuration, installation.webhook
                ));
                Ok(true)
            }
            Comparison::OtherService => {
                self.trust_problem.report(&format!(
                    "the {CONFIGURATION} {} calls another service than {}/{}, which must manage its own certificates; {install}",
                    installation.configuration, installation.namespace, installation.service
                ));
                Ok(true)
            }
            Comparison::Patch(patch) => {
                let path = installation.configuration_path();
                let request =
                    request::send(&self.client, Method::PATCH, &path, JSON_PATCH, Some(&patch));
                match request.await {
                    Ok(_) => {
                        info!(
                            configuration = installation.configuration,
                            "updated the caBundle of the webhook configuration"
                        );
                        self.trust_problem.resolve("the cluster calls the webhook");
                        Ok(true)
                    }
                    // The test in the patch failed.
                    Err(error) if matches!(request::code(&error), Some(409 | 422)) => Ok(false),
                    Err(source) => {
                        let name = installation.configuration.clone();
                        Err(Error::Request { action: "patch", kind: CONFIGURATION, name, source })
                    }
                }
            }
        }
    }

    async fn get(&self, kind: &'static str) -> Result<Option<Value>, Error> {
        let (path, name) = if kind == SECRET {
            (
                format!("{}/{}", self.installation.secrets(), self.installation.secret),
                &self.installation.secret,
            )
        } else {
            (self.installation.configuration_path(), &self.installation.configuration)
        };
        request::get_opt(&self.client, &path).await.map_err(|source| Error::Request {
            action: "read",
            kind,
            name: name.clone(),
            source,
        })
    }

    /// Writes the Secret; false if another client changed or deleted it first.
    async fn write(
        &self,
        secret: Option<Value>,
        secret_data: &SecretData,
        decision: &Decision,
    ) -> Result<bool, Error> {
        let (path, name) = (self.installation.secrets(), &self.installation.secret);
        let (action, method, path, mut object) = match secret {
            Some(secret) => ("update", Method::PUT, format!("{path}/{name}"), secret),
            None => ("create", Method::POST, path, self.new_secret()),
        };
        if !object["data"].is_object() {
            object["data"] = json!({});
        }
        if let Some(data) = object["data"].as_object_mut() {
            secret_data.write(data);
        }
        match request::send(&self.client, method, &path, JSON, Some(&object)).await {
            Ok(_) => {
                announce(decision, &self.installation);
                Ok(true)
            }
            Err(error) if request::code(&error) == Some(409) => Ok(false),
            // Deleted since it was read, as users do to have everything regenerated.
            Err(error) if action == "update" && request::code(&error) == Some(404) => Ok(false),
            Err(source) => Err(Error::Request { action, kind: SECRET, name: name.clone(), source }),
        }
    }

    fn new_secret(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {
                "name": self.installation.secret,
                "namespace": self.installation.namespace,
                "labels": { "app.kubernetes.io/name": "mxjob", "app.kubernetes.io/component": "webhook" },
            },
            "data": {},
        })
    }
}

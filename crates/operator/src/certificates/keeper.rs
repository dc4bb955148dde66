//! Keeps the Secret, the handshakes and the configuration in step. No rules: those are in [`judge`](super::judge) and
//! [`trust`](super::trust).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, header};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::info;

use super::judge::{Verdict, Why, judge};
use super::material::Material;
use super::place::Place;
use super::resolver::Resolver;
use super::trust::{self, Trust};
use super::validity::Validity;
use super::words::{Said, advice, announce};
use super::{authority, issue};
use crate::webhook::Metrics;

/// How often everything is looked at.
const EVERY: Duration = Duration::from_secs(60);
/// How often while the cluster does not call us: as soon as it does, it must trust us.
const UNCALLED: Duration = Duration::from_secs(5);
/// After something failed it is tried again sooner, and then less and less often.
const RETRY: Duration = Duration::from_secs(1);
/// How often one look starts again because somebody else wrote meanwhile. Every other replica writes once.
const ATTEMPTS: usize = 8;

/// The shell around the rules; one task of every replica.
pub(crate) struct Keeper {
    client: Client,
    place: Place,
    names: Vec<String>,
    resolver: Arc<Resolver>,
    metrics: Metrics,
    /// The `tls.crt` that handshakes get.
    served: Option<String>,
    about_certificates: Said,
    about_trust: Said,
}

/// Why a look did not end well. It is said, and tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot {action} the {kind} {name}")]
    Request {
        action: &'static str,
        kind: &'static str,
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    #[error("the {kind} {name} was changed by others each time it was to be written")]
    Contended { kind: &'static str, name: String },
}

pub(super) const SECRET: &str = "Secret";
const CONFIGURATION: &str = "ValidatingWebhookConfiguration";

// === impl Keeper ===

impl Keeper {
    pub(crate) fn new(
        client: Client,
        place: Place,
        resolver: Arc<Resolver>,
        metrics: Metrics,
    ) -> Self {
        let names = place.names();
        Self {
            client,
            place,
            names,
            resolver,
            metrics,
            served: None,
            about_certificates: Said::default(),
            about_trust: Said::default(),
        }
    }

    /// Looks after everything for ever. `ready` turns true with the first certificate.
    pub(crate) async fn keep(mut self, ready: watch::Sender<bool>) -> Infallible {
        let mut retry = RETRY;
        loop {
            // A configuration that is missing is most often about to be made: who installs everything makes it last, and while it
            // lacks the authority no job can be written.
            let is_well = self.round(Timestamp::now()).await && !self.about_trust.is_complaining();
            if self.served.is_some() {
                ready.send_if_modified(|ready| !std::mem::replace(ready, true));
            }
            let pause = match (is_well, self.about_trust.is_complaining()) {
                (true, false) => EVERY,
                (true, true) => UNCALLED,
                (false, _) => retry,
            };
            retry = if is_well { RETRY } else { (retry * 2).min(EVERY) };
            tokio::time::sleep(pause).await;
        }
    }

    /// The text of the certificate that handshakes get.
    #[cfg(test)]
    pub(super) fn served(&self) -> Option<&str> {
        self.served.as_deref()
    }

    /// The names that the certificate is to be good for.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Looks once; whether all was well, or is now.
    pub(crate) async fn round(&mut self, now: Timestamp) -> bool {
        for _ in 0..ATTEMPTS {
            // Before the Secret, so that what is in it is never older than what a patch of this configuration replaces.
            let configuration = self.get(CONFIGURATION).await;
            let trusted = match &configuration {
                Ok(Some(found)) => trust::bundle(found, &self.place.webhook, self.place.target()),
                Ok(None) => None,
                // It may call us, and trust whatever it was told before.
                Err(_) => Some(String::new()),
            };
            let material = match self.certificates(trusted.as_deref(), now).await {
                Ok(material) => {
                    self.about_certificates.settled("the webhook's certificate is in order again");
                    material
                }
                Err((error, usable)) => {
                    self.about_certificates.complain(&advice(&error, &self.place));
                    let Some(material) = usable else { return false };
                    material
                }
            };
            let trusted = match configuration {
                Ok(configuration) => self.trust(configuration.as_ref(), &material).await,
                Err(error) => Err(error),
            };
            match trusted {
                Ok(false) => {}
                Ok(true) => return !self.about_certificates.is_complaining(),
                Err(error) => {
                    self.about_trust.complain(&advice(&error, &self.place));
                    return false;
                }
            }
        }
        let (kind, name) = (CONFIGURATION, self.place.configuration.clone());
        let error = Error::Contended { kind, name };
        self.about_trust.complain(&advice(&error, &self.place));
        false
    }

    /// Sees to the Secret and to what is served from it. An error comes with what can be served all the same.
    async fn certificates(
        &mut self,
        trusted: Option<&str>,
        now: Timestamp,
    ) -> Result<Material, (Error, Option<Material>)> {
        let mut usable = None;
        for _ in 0..ATTEMPTS {
            let secret = match self.get(SECRET).await {
                Ok(secret) => secret,
                Err(error) => return Err((error, usable)),
            };
            let material = secret.as_ref().map(|secret| Material::of_data(&secret["data"]));
            let verdict = judge(material.as_ref(), &self.names, trusted, now);
            usable = material.clone().filter(|_| {
                let is_good = Verdict::RenewCertificate(Why::Due);
                matches!(verdict, Verdict::Keep | Verdict::RenewAuthority(_)) || verdict == is_good
            });
            if let Some(material) = &usable {
                self.serve(material);
                if verdict == Verdict::Keep {
                    return Ok(material.clone());
                }
            }
            let next = issue::carry_out(verdict, material.as_ref(), &self.names, trusted, now);
            let next = match next.map_err(Error::Make) {
                Ok((verdict, next)) => {
                    self.write(secret, &next, &verdict).await.map(|done| (done, next))
                }
                Err(error) => Err(error),
            };
            match next {
                Ok((true, next)) => {
                    self.serve(&next);
                    return Ok(next);
                }
                Ok((false, _)) => {} // another replica was faster; what it wrote will do
                Err(error) => return Err((error, usable)),
            }
        }
        Err((Error::Contended { kind: SECRET, name: self.place.secret.clone() }, usable))
    }

    /// Handshakes get this certificate from now on.
    fn serve(&mut self, material: &Material) {
        if self.served.as_ref() == Some(&material.tls_crt) {
            return;
        }
        // What was judged good, or was just made, is a certificate and its key.
        let Some(certified) = authority::server(&material.tls_crt, &material.tls_key) else {
            return;
        };
        if let Some(validity) = certified.cert.first().and_then(|der| Validity::of(der)) {
            self.metrics.expires(validity.not_after);
            info!(until = %validity.not_after, "the webhook has a certificate");
        }
        self.resolver.set(certified);
        self.served = Some(material.tls_crt.clone());
    }

    /// Puts the bundle into the configuration where it is another one; false if somebody changed that meanwhile.
    async fn trust(
        &mut self,
        configuration: Option<&Value>,
        material: &Material,
    ) -> Result<bool, Error> {
        let place = &self.place;
        let install = format!("`{} | kubectl apply -f -` installs it", place.install);
        let Some(configuration) = configuration else {
            self.about_trust.complain(&format!(
                "there is no {CONFIGURATION} {}, so jobs are checked by their definition alone when they are written; {install}",
                place.configuration
            ));
            return Ok(true);
        };
        match trust::compare(configuration, &place.webhook, place.target(), &material.ca_crt) {
            Trust::Right => {
                self.about_trust.settled("the cluster calls the webhook");
                Ok(true)
            }
            Trust::NoWebhook => {
                self.about_trust.complain(&format!(
                    "the {CONFIGURATION} {} has no webhook {}, so jobs are checked by their definition alone when they are written; {install}",
                    place.configuration, place.webhook
                ));
                Ok(true)
            }
            Trust::Elsewhere => {
                self.about_trust.complain(&format!(
                    "the {CONFIGURATION} {} calls another service than {}/{}, which must look after its certificates itself; {install}",
                    place.configuration, place.namespace, place.service
                ));
                Ok(true)
            }
            Trust::Patch(patch) => {
                let path = place.configuration_path();
                let request = self.send(Method::PATCH, &path, "application/json-patch+json", patch);
                match request.await {
                    Ok(_) => {
                        info!(
                            configuration = place.configuration,
                            "the cluster was told the webhook's authority"
                        );
                        self.about_trust.settled("the cluster calls the webhook");
                        Ok(true)
                    }
                    // The test in the patch failed.
                    Err(error) if matches!(code(&error), Some(409 | 422)) => Ok(false),
                    Err(source) => {
                        let name = place.configuration.clone();
                        Err(Error::Request { action: "patch", kind: CONFIGURATION, name, source })
                    }
                }
            }
        }
    }

    async fn get(&self, kind: &'static str) -> Result<Option<Value>, Error> {
        let (path, name) = if kind == SECRET {
            (format!("{}/{}", self.place.secrets(), self.place.secret), &self.place.secret)
        } else {
            (self.place.configuration_path(), &self.place.configuration)
        };
        match self.send(Method::GET, &path, "application/json", Value::Null).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if code(&error) == Some(404) => Ok(None),
            Err(source) => Err(Error::Request { action: "read", kind, name: name.clone(), source }),
        }
    }

    /// Writes the Secret; false if somebody else did so, or deleted it, first.
    async fn write(
        &self,
        secret: Option<Value>,
        material: &Material,
        verdict: &Verdict,
    ) -> Result<bool, Error> {
        let (path, name) = (self.place.secrets(), &self.place.secret);
        let (action, method, path, mut object) = match secret {
            Some(secret) => ("update", Method::PUT, format!("{path}/{name}"), secret),
            None => ("create", Method::POST, path, self.new_secret()),
        };
        if !object["data"].is_object() {
            object["data"] = json!({});
        }
        if let Some(data) = object["data"].as_object_mut() {
            material.write(data);
        }
        match self.send(method, &path, "application/json", object).await {
            Ok(_) => {
                announce(verdict, &self.place);
                Ok(true)
            }
            Err(error) if code(&error) == Some(409) => Ok(false),
            // Somebody has deleted it since it was read, as one does to have everything made anew.
            Err(error) if action == "update" && code(&error) == Some(404) => Ok(false),
            Err(source) => Err(Error::Request { action, kind: SECRET, name: name.clone(), source }),
        }
    }

    fn new_secret(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {
                "name": self.place.secret,
                "namespace": self.place.namespace,
                "labels": { "app.kubernetes.io/name": "mxjob", "app.kubernetes.io/component": "webhook" },
            },
            "data": {},
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Value,
    ) -> Result<Value, kube::Error> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::ACCEPT, "application/json")
            .body(body);
        self.client.request(request.map_err(kube::Error::HttpError)?).await
    }
}

/// The HTTP status of an answer.
pub(super) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

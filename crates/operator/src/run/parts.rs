//! The tasks of the operator: how each is started, and in which order they stop.

use std::sync::Arc;
use std::time::Duration;

use mxjob_serve::Bound;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::warn;

use super::leading::Term;
use super::{Error, Shared, advice};
use crate::client::Fence;
use crate::lease::{Elector, RELEASE_TIMEOUT};
use crate::names::{WEBHOOK_CONFIGURATION, WEBHOOK_SECRET};
use crate::preflight::{self, Preflight};
use crate::probes::{self, Pages};
use crate::webhook;

/// How long the election and the webhook may take to stop, at the same time. Both have deadlines of
/// their own, so nothing is aborted unless something is wrong: the election takes
/// [`RELEASE_TIMEOUT`] at most, the webhook five seconds in which it serves as before and five in
/// which it finishes open requests.
///
/// In all a stop takes at most 10 s for the controller (five for its last requests, five for its
/// last events), and then this: 26 s, where the pod's `terminationGracePeriodSeconds` is 40.
const STOP_TIMEOUT: Duration = Duration::from_secs(RELEASE_TIMEOUT.as_secs() + 1);

type Tasks = JoinSet<Result<(), Error>>;

/// The tasks beside the controller.
#[derive(Debug)]
pub(super) struct Parts {
    /// Probes, metrics and the preflight check, which stop last.
    background: Tasks,
    webhook: Tasks,
    election: Tasks,
    /// Turns true when the webhook and the election are to stop.
    stop: watch::Sender<bool>,
}

// === impl Parts ===

impl Parts {
    pub(super) fn new() -> Self {
        Self {
            background: JoinSet::new(),
            webhook: JoinSet::new(),
            election: JoinSet::new(),
            stop: watch::Sender::new(false),
        }
    }

    /// Serves probes and metrics until everything else has stopped.
    pub(super) fn serve_pages(&mut self, shared: &Shared, probes: Bound, metrics: Bound) {
        let counts = shared.metrics.clone();
        let shown = Pages::Metrics(Arc::new(move || counts.encode()));
        for (name, bound, pages) in
            [("probes", probes, Pages::Probes(shared.health.clone())), ("metrics", metrics, shown)]
        {
            let serving = probes::serve(bound, pages, std::future::pending());
            self.background
                .spawn(async move { serving.await.map_err(|error| Error::Pages(name, error)) });
        }
    }

    /// Serves the webhook. `certified` turns true with the first certificate.
    pub(super) fn serve_webhook(
        &mut self,
        shared: &Shared,
        bound: Bound,
        certified: watch::Sender<bool>,
    ) {
        let options = webhook::Options {
            installed: advice::installed(&shared.config, true),
            metrics: shared.metrics.webhook.clone(),
            ..webhook::Options::default()
        };
        let client = shared.transport.client(Fence::open());
        let serving = webhook::run(client, options, bound, certified, self.stopped());
        self.webhook.spawn(async move { serving.await.map_err(Error::Webhook) });
    }

    /// Checks rights and the CustomResourceDefinition, until nothing is missing.
    pub(super) fn check_preconditions(&mut self, shared: &Shared, has_webhook: bool) {
        let config = &shared.config;
        let installed = advice::installed(config, has_webhook);
        let webhook = (WEBHOOK_SECRET.to_owned(), WEBHOOK_CONFIGURATION.to_owned());
        let preflight = Preflight {
            client: shared.transport.client(Fence::open()),
            url: shared.url.clone(),
            permissions: preflight::permissions(&preflight::Components {
                gang: config.gang.clone(),
                lease: config.election.as_ref().map(|election| election.name.clone()),
                webhook: has_webhook.then_some(webhook),
            }),
            jobs: config.namespace.clone(),
            own: config.own_namespace.clone(),
            lease: config.election.as_ref().map(|election| election.namespace.clone()),
            advice: advice::grant(&installed),
            lease_advice: advice::grant_lease(config, &installed),
            health: shared.health.clone(),
        };
        self.background.spawn(async move {
            preflight.run().await;
            std::future::pending().await
        });
    }

    /// Takes part in the election, if there is one. Without one the term begins immediately and
    /// never ends.
    pub(super) fn join_election(&mut self, shared: &Shared) -> Term {
        let Some(election) = shared.config.election.clone() else {
            return watch::channel(Some(Fence::open())).1;
        };
        let client = shared.transport.direct_client();
        let elector = Elector::new(client, election, shared.health.clone());
        let (term, stopped) = (elector.term(), self.stopped());
        self.election.spawn(async move {
            elector.run(stopped).await;
            Ok(())
        });
        term
    }

    /// Waits until one of the tasks ends, which none may do before [`Self::stop`].
    pub(super) async fn failure(&mut self) -> Error {
        tokio::select! {
            ended = self.background.join_next() => error_of(ended),
            ended = self.webhook.join_next(), if !self.webhook.is_empty() => error_of(ended),
            ended = self.election.join_next(), if !self.election.is_empty() => error_of(ended),
        }
    }

    /// Stops the election and the webhook, and then the rest.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        tokio::join!(finish("election", &mut self.election), finish("webhook", &mut self.webhook));
        self.background.shutdown().await;
    }

    /// Resolves when the webhook and the election are to stop.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // An error means that the sender is gone, and with it the operator.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }
}

/// Waits for tasks that were asked to stop.
async fn finish(part: &str, tasks: &mut Tasks) {
    let ended = async { while tasks.join_next().await.is_some() {} };
    if timeout(STOP_TIMEOUT, ended).await.is_err() {
        warn!(part, timeout = ?STOP_TIMEOUT, "aborted a part that did not stop in time");
    }
}

fn error_of(ended: Option<Result<Result<(), Error>, JoinError>>) -> Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Ok(Ok(()))) | None => Error::Part(None),
        Some(Err(error)) => Error::Part(Some(error)),
    }
}

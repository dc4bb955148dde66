//! Follows jobs to their end: combines events of jobs and pods, log lines, signals and a timeout.
//!
//! ```text
//! watches: jobs, their pods ─┬▶ progress ─▶ messages, progress line, verdict ─▶ screen
//! readers: log lines ────────┘
//! ```
//!
//! Independent of the API server: `mxjob run` starts one, `mxjob submit` uses that of a cluster.

pub(crate) mod lines;
mod problems;
pub(crate) mod progress;
pub(crate) mod screen;
pub(crate) mod watches;

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use mxjob_client::{Lenient, Raw, Reported};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use self::lines::{Line, Message, Source};
use self::problems::{Problems, Resource};
use self::progress::{Named, Progress, Verdict};
use self::screen::Screen;
use self::watches::{Listing, Seen, Watches};
use crate::cluster::describe;
use crate::exit::{Code, Failure};
use crate::signals::{Signals, Stop};

/// Capacity of the channel of log lines; when it is full, the readers of the logs wait.
const MAX_LINES: usize = 256;
/// How long to wait for the last log lines after the end of the job. The log of a replica that
/// keeps running never ends.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(3);
/// An operator picks up a job much faster; after this time the user should check whether one runs.
const PICK_UP_TIMEOUT: Duration = Duration::from_secs(15);
/// Delay between two attempts.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// How following ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All jobs are done.
    Finished(Verdict),
    /// A signal was received.
    Stopped(Stop),
    /// The jobs, by name, that did not finish in time.
    TimedOut(String),
    /// The server failed, or rejected the jobs.
    Failed(Failure),
}

impl End {
    /// The result of the command; `outcome` is what it did about jobs that did not finish.
    pub(crate) fn result(self, timeout: Option<Duration>, outcome: &str) -> Result<(), Failure> {
        Err(match self {
            Self::Finished(Verdict::Succeeded) => return Ok(()),
            Self::Finished(Verdict::Failed(message)) => Failure { code: Code::JobFailed, message },
            Self::Finished(Verdict::Unknown(message)) => Failure::system(message),
            Self::Failed(failure) => failure,
            Self::Stopped(stop) => stop.failure(outcome),
            Self::TimedOut(jobs) => {
                let seconds = timeout.unwrap_or_default().as_secs();
                let message = format!("{jobs} did not finish within {seconds} s; {outcome}");
                Failure { code: Code::Timeout, message }
            }
        })
    }
}

/// Jobs and pods that could not be removed in time.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// Jobs that could not be deleted, with the reasons.
    pub(crate) jobs: Vec<String>,
    /// Pods that still exist; 0 if we may not read pods.
    pub(crate) pods: usize,
}

/// The jobs that are followed, and the state of following them.
pub(crate) struct Follow {
    client: Client,
    progress: Progress,
    screen: Screen,
    problems: Problems,
    followed: BTreeSet<Source>,
    readers: JoinSet<()>,
    sender: mpsc::Sender<Message>,
    lines: mpsc::Receiver<Message>,
    /// True once no container writes to its log any more.
    ending: watch::Sender<bool>,
    listed_jobs: Listing,
    listed_pods: Listing,
    /// Pods that cannot be read.
    reported: Reported,
}

impl Follow {
    pub(crate) fn new(client: Client) -> Self {
        let (sender, lines) = mpsc::channel(MAX_LINES);
        Self {
            client,
            progress: Progress::default(),
            screen: Screen::new(),
            problems: Problems::default(),
            followed: BTreeSet::new(),
            readers: JoinSet::new(),
            sender,
            lines,
            ending: watch::Sender::new(false),
            listed_jobs: Listing::default(),
            listed_pods: Listing::default(),
            reported: Reported::default(),
        }
    }

    /// Sets the jobs to follow, as the server returned them.
    pub(crate) fn expect(&mut self, jobs: &[Value]) {
        self.progress.expect(jobs);
        for label in self.progress.labels() {
            self.screen.reserve(&label);
        }
    }

    /// Follows until all jobs have finished, or a signal, the timeout or a failure ends it.
    /// `failed` resolves when the server has failed.
    pub(crate) async fn run(
        &mut self,
        failed: impl Future<Output = Failure>,
        signals: &mut Signals,
        limit: Option<Duration>,
    ) -> End {
        let mut watches = watches::all(&self.client, self.progress.jobs());
        let mut failed = pin!(failed);
        let began = Instant::now();
        let deadline = limit.map(|limit| began + limit);
        let mut is_checked = false;
        let end = loop {
            if let Some(verdict) = self.progress.verdict() {
                break End::Finished(verdict);
            }
            tokio::select! {
                stop = signals.next() => break End::Stopped(stop),
                failure = &mut failed => break End::Failed(failure),
                () = sleep_until(deadline.unwrap_or(began)), if deadline.is_some() => {
                    break End::TimedOut(self.progress.unfinished());
                }
                () = sleep_until(began + PICK_UP_TIMEOUT), if !is_checked => {
                    is_checked = true;
                    let note = self.not_picked_up();
                    self.print(note);
                }
                Some(seen) = watches.next() => self.seen(seen),
                Some(message) = self.lines.recv() => self.message(message),
                () = wait_for_answer(&self.client, self.progress.jobs().next()), if self.problems.is_lost() => {
                    self.answered(Resource::Jobs);
                }
            }
            self.screen.progress(|| self.progress.summary());
        };
        if matches!(end, End::Finished(_)) {
            self.last_lines(&mut watches).await;
        }
        self.screen.clear();
        match end {
            // Determined again, because the verdict contains the last lines.
            End::Finished(_) => {
                End::Finished(self.progress.verdict().unwrap_or(Verdict::Succeeded))
            }
            end => end,
        }
    }

    /// A message about jobs that no controller has picked up.
    pub(crate) fn not_picked_up(&self) -> Option<String> {
        let jobs =
            self.progress.not_picked_up().filter(|_| !self.problems.is_denied(Resource::Jobs))?;
        Some(format!("no controller has picked up {jobs} yet; is `mxjob operator` running?"))
    }

    /// The names of all jobs.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = Named<'_>> {
        self.progress.jobs()
    }

    fn print(&self, notes: impl IntoIterator<Item = String>) {
        notes.into_iter().for_each(|note| self.screen.note(note));
    }

    fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::Job(namespace, event) => match *event {
                Ok(event) => {
                    self.answered_by(Resource::Jobs, &event);
                    self.job(&namespace, &event);
                }
                Err(error) => self.failed(Resource::Jobs, &error),
            },
            Seen::Pod(namespace, event) => match *event {
                Ok(event) => {
                    self.answered_by(Resource::Pods, &event);
                    self.pod(&namespace, event);
                }
                Err(error) => self.failed(Resource::Pods, &error),
            },
        }
    }

    /// A watch has an event. `Init` comes before the request is sent.
    fn answered_by<K>(&mut self, resource: Resource, event: &watcher::Event<K>) {
        if !matches!(event, watcher::Event::Init) {
            self.answered(resource);
        }
    }

    fn answered(&mut self, resource: Resource) {
        let note = self.problems.answered(resource);
        self.print(note.map(str::to_owned));
    }

    fn failed(&mut self, resource: Resource, error: &watcher::Error) {
        tracing::warn!(%error, ?resource, "watch failed");
        let note = self.problems.failed(resource, error);
        self.print(note);
    }

    fn job(&mut self, namespace: &str, event: &watcher::Event<Raw>) {
        if let Some(listed) = self.listed_jobs.note(namespace, event) {
            self.progress.jobs_listed(namespace, &listed);
        }
        match event {
            watcher::Event::Apply(job) | watcher::Event::InitApply(job) => {
                let notes = self.progress.job(job.uid().as_deref().unwrap_or_default(), &job.value);
                self.print(notes);
            }
            watcher::Event::Delete(job) => {
                // The last state: the job may have finished while the watch was interrupted.
                let uid = job.uid().unwrap_or_default();
                let notes = self.progress.job(&uid, &job.value);
                self.print(notes);
                self.progress.job_deleted(&uid);
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    fn pod(&mut self, namespace: &str, event: watcher::Event<Lenient<Pod>>) {
        if let Some(listed) = self.listed_pods.note(namespace, &event) {
            self.progress.pods_listed(namespace, &listed);
        }
        match event {
            watcher::Event::Apply(Lenient(Err(pod)))
            | watcher::Event::InitApply(Lenient(Err(pod))) => {
                if self.reported.is_news(&pod) {
                    self.print([format!("{} cannot be read: {}", pod.named(), pod.why)]);
                }
            }
            watcher::Event::Apply(Lenient(Ok(pod)))
            | watcher::Event::InitApply(Lenient(Ok(pod))) => {
                let notes = self.progress.pod(&pod);
                self.print(notes);
                for source in self.progress.sources(&pod) {
                    if self.followed.insert(source.clone()) {
                        self.screen.reserve(&source.label);
                        self.readers.spawn(lines::follow(
                            self.client.clone(),
                            source,
                            self.sender.clone(),
                            self.ending.subscribe(),
                        ));
                    }
                }
            }
            watcher::Event::Delete(pod) => {
                self.progress.pod_deleted(pod.uid().as_deref().unwrap_or_default());
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Line(Line { label, uid, text }) => {
                self.screen.line(&label, &text);
                self.progress.line(&uid, &label, &text);
            }
            Message::Denied(reason) => {
                let note = self.problems.denied(Resource::Lines, &reason);
                self.print(note);
            }
        }
    }

    /// Prints the last lines of the replicas.
    async fn last_lines(&mut self, watches: &mut Watches) {
        let deadline = Instant::now() + LAST_LINES_TIMEOUT;
        // Jobs and pods are watched separately, so the end of a job may arrive before the events of
        // its pods: list the pods, to find containers that started and ended in between.
        let pods = watches::list_pods(&self.client, watches::by_namespace(self.progress.jobs()));
        for (namespace, pod) in timeout_at(deadline, pods).await.unwrap_or_default() {
            self.pod(&namespace, watcher::Event::Apply(pod));
        }
        while let Some(Some(seen)) = watches.next().now_or_never() {
            self.seen(seen);
        }
        self.ending.send_replace(true);
        let all = async {
            loop {
                tokio::select! {
                    biased;
                    Some(message) = self.lines.recv() => self.message(message),
                    ended = self.readers.join_next() => if ended.is_none() { break },
                }
            }
        };
        // A timeout is no failure: see the constant.
        let _ = timeout_at(deadline, all).await;
        while let Ok(message) = self.lines.try_recv() {
            self.message(message);
        }
    }

    /// Deletes the jobs and waits until their pods are deleted, for at most `limit`.
    pub(crate) async fn remove_jobs(&self, limit: Duration) -> Remains {
        let deadline = Instant::now() + limit;
        let mut remains = Remains::default();
        // Concurrently, so that each job gets the whole time.
        let deletions =
            self.progress.jobs().map(async |job| (job, self.delete(job, deadline).await));
        for (job, result) in join_all(deletions).await {
            if let Err(error) = result {
                remains.jobs.push(format!("job {}: {}", job.name, describe(&error)));
            }
        }
        if remains.jobs.is_empty() && !self.problems.is_denied(Resource::Pods) {
            remains.pods = self.remaining_pods(deadline).await;
        }
        remains
    }

    /// Deletes one job, unless it is already deleted or another job has its name now.
    async fn delete(&self, job: Named<'_>, deadline: Instant) -> Result<(), kube::Error> {
        let preconditions = Preconditions { uid: Some(job.uid.to_owned()), resource_version: None };
        let parameters =
            DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let jobs = watches::jobs(&self.client, job.namespace);
        let mut last = None;
        loop {
            match timeout_at(deadline, jobs.delete(job.name, &parameters)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                    return Ok(());
                }
                Ok(Err(kube::Error::Api(status))) if !is_transient(status.code) => {
                    return Err(kube::Error::Api(status));
                }
                Ok(Err(error)) if Instant::now() + RETRY_DELAY > deadline => return Err(error),
                Ok(Err(error)) => {
                    last = Some(error);
                    sleep(RETRY_DELAY).await;
                }
                Err(_) => {
                    let timeout = || kube::Error::Service("the request timed out".into());
                    return Err(last.unwrap_or_else(timeout));
                }
            }
        }
    }

    /// Waits until the pods are deleted. Returns the number of those that still exist at the
    /// deadline.
    async fn remaining_pods(&self, deadline: Instant) -> usize {
        let mut watches = watches::pods(&self.client, self.progress.jobs());
        let mut unlisted: BTreeSet<String> =
            self.progress.jobs().map(|job| job.namespace.to_owned()).collect();
        let mut listing = Listing::default();
        let mut remaining = BTreeSet::new();
        let deleted = async {
            while !(unlisted.is_empty() && remaining.is_empty()) {
                let Some(Seen::Pod(namespace, event)) = watches.next().await else { return };
                let event = match *event {
                    Ok(event) => event,
                    // Without the right to list pods there is nothing to wait for.
                    Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))
                        if matches!(status.code, 401 | 403) =>
                    {
                        remaining.clear();
                        return;
                    }
                    Err(_) => continue,
                };
                if let Some(listed) = listing.note(&namespace, &event) {
                    unlisted.remove(&namespace);
                    remaining.retain(|(other, uid)| *other != namespace || listed.contains(uid));
                }
                match event {
                    watcher::Event::InitApply(Lenient(Ok(pod)))
                    | watcher::Event::Apply(Lenient(Ok(pod)))
                        if self.progress.owns(&pod) =>
                    {
                        remaining.extend(pod.uid().map(|uid| (namespace, uid)));
                    }
                    watcher::Event::Delete(pod) => {
                        remaining.remove(&(namespace, pod.uid().unwrap_or_default()));
                    }
                    _ => {}
                }
            }
        };
        // At the deadline the caller reports the pods that remain.
        let _ = timeout_at(deadline, deleted).await;
        remaining.len()
    }
}

/// Waits until an unreachable server answers again. The watches restart by themselves, but a
/// restarted watch without events does not show that.
async fn wait_for_answer(client: &Client, job: Option<Named<'_>>) {
    let Some(job) = job else { return };
    let jobs = watches::jobs(client, job.namespace);
    loop {
        sleep(RETRY_DELAY).await;
        match jobs.get(job.name).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if !is_transient(status.code) => return,
            Err(_) => {}
        }
    }
}

/// Whether a request that fails with this status code may succeed later.
pub(crate) fn is_transient(code: u16) -> bool {
    code == 429 || code >= 500
}

#[cfg(test)]
mod tests;

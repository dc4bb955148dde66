//! Following jobs to their end: events of jobs and pods, log lines, signals and time come together here.
//!
//! ```text
//! watches: jobs, their pods ─┬▶ story ─▶ what is said, progress, verdict ─▶ screen
//! readers: log lines ────────┘
//! ```
//!
//! Knows nothing of where the API server is: `mxjob run` has one of its own, `mxjob submit` somebody else's.

pub(crate) mod lines;
pub(crate) mod screen;
pub(crate) mod story;
mod trouble;
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

use self::lines::{Line, Said, Source};
use self::screen::Screen;
use self::story::{Named, Story, Verdict};
use self::trouble::{Trouble, What};
use self::watches::{Listing, Seen, Watches};
use crate::exit::{Failure, root};
use crate::signals::{Signals, Stop};

/// Lines that wait to be printed; when so many do, the readers of the logs wait.
const LINES: usize = 256;
/// How long the last lines may take after the end of the job. A replica that the job leaves running never ends its log.
const LAST_LINES: Duration = Duration::from_secs(3);
/// How soon an operator takes up a job; after that somebody should look whether there is one.
const TAKEN_UP: Duration = Duration::from_secs(15);
/// Between two questions to a server that does not answer.
const AGAIN: Duration = Duration::from_millis(500);

/// How following ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All jobs are done.
    Finished(Verdict),
    /// A signal came.
    Stopped(Stop),
    /// The jobs (by name) that had not finished in time.
    TimedOut(String),
    /// What the jobs stand on broke, or refused them.
    Failed(Failure),
}

/// What is left of jobs that were removed.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Jobs that could not be deleted, and why.
    pub(crate) jobs: Vec<String>,
    /// Pods that were still there in the end; none if we cannot see them.
    pub(crate) pods: usize,
}

/// Jobs that are followed.
pub(crate) struct Follow {
    client: Client,
    story: Story,
    screen: Screen,
    trouble: Trouble,
    followed: BTreeSet<Source>,
    readers: JoinSet<()>,
    sender: mpsc::Sender<Said>,
    lines: mpsc::Receiver<Said>,
    /// True once no log gets longer any more.
    ending: watch::Sender<bool>,
    listed_jobs: Listing,
    listed_pods: Listing,
    /// Pods that cannot be read.
    reported: Reported,
}

impl Follow {
    pub(crate) fn new(client: Client) -> Self {
        let (sender, lines) = mpsc::channel(LINES);
        Self {
            client,
            story: Story::default(),
            screen: Screen::new(),
            trouble: Trouble::default(),
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

    /// Says which jobs are meant, as the server answered their creation.
    pub(crate) fn expect(&mut self, jobs: &[Value]) {
        self.story.expect(jobs);
        for label in self.story.labels() {
            self.screen.reserve(&label);
        }
    }

    /// Follows until all jobs are done or something comes between. `broken` resolves when following has become vain.
    pub(crate) async fn run(
        &mut self,
        broken: impl Future<Output = Failure>,
        signals: &mut Signals,
        limit: Option<Duration>,
    ) -> End {
        let mut watches = watches::all(&self.client, self.story.jobs());
        let mut broken = pin!(broken);
        let began = Instant::now();
        let deadline = limit.map(|limit| began + limit);
        let mut asked = false;
        let end = loop {
            if let Some(verdict) = self.story.verdict() {
                break End::Finished(verdict);
            }
            tokio::select! {
                stop = signals.next() => break End::Stopped(stop),
                failure = &mut broken => break End::Failed(failure),
                () = sleep_until(deadline.unwrap_or(began)), if deadline.is_some() => {
                    break End::TimedOut(self.story.unfinished());
                }
                () = sleep_until(began + TAKEN_UP), if !asked => {
                    asked = true;
                    let note = self.untaken();
                    self.say(note);
                }
                Some(seen) = watches.next() => self.seen(seen),
                Some(said) = self.lines.recv() => self.said(said),
                () = answer(&self.client, self.story.jobs().next()), if self.trouble.is_lost() => {
                    self.answered(What::Jobs);
                }
            }
            self.screen.progress(|| self.story.progress());
        };
        if matches!(end, End::Finished(_)) {
            self.last_lines(&mut watches).await;
        }
        self.screen.clear();
        match end {
            // Told again, now that the last lines are known.
            End::Finished(_) => End::Finished(self.story.verdict().unwrap_or(Verdict::Succeeded)),
            end => end,
        }
    }

    /// Whether somebody looks after the jobs, in a sentence where not.
    pub(crate) fn untaken(&self) -> Option<String> {
        let jobs = self.story.untaken().filter(|_| !self.trouble.is_denied(What::Jobs))?;
        Some(format!("nobody has taken up {jobs} yet: does `mxjob operator` run there?"))
    }

    /// Where every job is.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = Named<'_>> {
        self.story.jobs()
    }

    fn say(&self, notes: impl IntoIterator<Item = String>) {
        notes.into_iter().for_each(|note| self.screen.note(note));
    }

    fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::Job(namespace, event) => match *event {
                Ok(event) => {
                    self.answered(What::Jobs);
                    self.job(&namespace, &event);
                }
                Err(error) => self.failed(What::Jobs, &error),
            },
            Seen::Pod(namespace, event) => match *event {
                Ok(event) => {
                    self.answered(What::Pods);
                    self.pod(&namespace, event);
                }
                Err(error) => self.failed(What::Pods, &error),
            },
        }
    }

    fn answered(&mut self, what: What) {
        let note = self.trouble.answered(what);
        self.say(note.map(str::to_owned));
    }

    fn failed(&mut self, what: What, error: &watcher::Error) {
        tracing::warn!(%error, ?what, "cannot watch");
        let note = self.trouble.failed(what, error);
        self.say(note);
    }

    fn job(&mut self, namespace: &str, event: &watcher::Event<Raw>) {
        if let Some(there) = self.listed_jobs.note(namespace, event) {
            self.story.jobs_listed(namespace, &there);
        }
        match event {
            watcher::Event::Apply(job) | watcher::Event::InitApply(job) => {
                let notes = self.story.job(job.uid().as_deref().unwrap_or_default(), &job.value);
                self.say(notes);
            }
            watcher::Event::Delete(job) => {
                // How it was when it went: it may have ended while the watch was broken.
                let uid = job.uid().unwrap_or_default();
                let notes = self.story.job(&uid, &job.value);
                self.say(notes);
                self.story.job_gone(&uid);
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    fn pod(&mut self, namespace: &str, event: watcher::Event<Lenient<Pod>>) {
        if let Some(there) = self.listed_pods.note(namespace, &event) {
            self.story.pods_listed(namespace, &there);
        }
        match event {
            watcher::Event::Apply(Lenient(Err(pod)))
            | watcher::Event::InitApply(Lenient(Err(pod))) => {
                if self.reported.is_news(&pod) {
                    self.say([format!("{} cannot be read: {}", pod.named(), pod.why)]);
                }
            }
            watcher::Event::Apply(Lenient(Ok(pod)))
            | watcher::Event::InitApply(Lenient(Ok(pod))) => {
                let notes = self.story.pod(&pod);
                self.say(notes);
                for source in self.story.sources(&pod) {
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
                self.story.pod_gone(pod.uid().as_deref().unwrap_or_default());
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    fn said(&mut self, said: Said) {
        match said {
            Said::Line(Line { label, uid, text }) => {
                self.screen.line(&label, &text);
                self.story.line(&uid, &label, &text);
            }
            Said::Denied(why) => {
                let note = self.trouble.denied(What::Lines, &why);
                self.say(note);
            }
        }
    }

    /// Prints what the replicas had still to say.
    async fn last_lines(&mut self, watches: &mut Watches) {
        let deadline = Instant::now() + LAST_LINES;
        // A container that began and ended since we last looked. Over a network, jobs and pods come by different ways, and
        // the end of a job may be here before that of its pods.
        let pods = watches::list_pods(&self.client, watches::by_namespace(self.story.jobs()));
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
                    Some(said) = self.lines.recv() => self.said(said),
                    ended = self.readers.join_next() => if ended.is_none() { break },
                }
            }
        };
        // Out of time is no failure: see the constant.
        let _ = timeout_at(deadline, all).await;
        while let Ok(said) = self.lines.try_recv() {
            self.said(said);
        }
    }

    /// Deletes the jobs and waits until their pods are gone, as far as that happens in time.
    pub(crate) async fn remove_jobs(&self, limit: Duration) -> Left {
        let deadline = Instant::now() + limit;
        let mut left = Left::default();
        // At the same time, so that none has to do without the time that another takes.
        let deleted = self.story.jobs().map(async |job| (job, self.delete(job, deadline).await));
        for (job, result) in join_all(deleted).await {
            if let Err(error) = result {
                left.jobs.push(format!("job {}: {}", job.name, said(&error)));
            }
        }
        if left.jobs.is_empty() && !self.trouble.is_denied(What::Pods) {
            left.pods = self.pods_left(deadline).await;
        }
        left
    }

    /// Deletes one job. It may be gone already, or another one may be in its place.
    async fn delete(&self, job: Named<'_>, deadline: Instant) -> Result<(), kube::Error> {
        let preconditions = Preconditions { uid: Some(job.uid.to_owned()), resource_version: None };
        let how = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let jobs = watches::jobs(&self.client, job.namespace);
        let mut last = None;
        loop {
            match timeout_at(deadline, jobs.delete(job.name, &how)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                    return Ok(());
                }
                Ok(Err(kube::Error::Api(status))) if !is_passing(status.code) => {
                    return Err(kube::Error::Api(status));
                }
                Ok(Err(error)) if Instant::now() + AGAIN > deadline => return Err(error),
                Ok(Err(error)) => {
                    last = Some(error);
                    sleep(AGAIN).await;
                }
                Err(_) => {
                    let late = || kube::Error::Service("the cluster did not do it in time".into());
                    return Err(last.unwrap_or_else(late));
                }
            }
        }
    }

    /// Waits until the pods are gone; how many are left at the deadline.
    async fn pods_left(&self, deadline: Instant) -> usize {
        let mut watches = watches::pods(&self.client, self.story.jobs());
        let mut unlisted: BTreeSet<String> =
            self.story.jobs().map(|job| job.namespace.to_owned()).collect();
        let mut listing = Listing::default();
        let mut left = BTreeSet::new();
        let gone = async {
            while !(unlisted.is_empty() && left.is_empty()) {
                let Some(Seen::Pod(namespace, event)) = watches.next().await else { return };
                let event = match *event {
                    Ok(event) => event,
                    // Nothing to be seen, nothing to wait for.
                    Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))
                        if matches!(status.code, 401 | 403) =>
                    {
                        left.clear();
                        return;
                    }
                    Err(_) => continue,
                };
                if let Some(there) = listing.note(&namespace, &event) {
                    unlisted.remove(&namespace);
                    left.retain(|(place, uid)| *place != namespace || there.contains(uid));
                }
                match event {
                    watcher::Event::InitApply(Lenient(Ok(pod)))
                    | watcher::Event::Apply(Lenient(Ok(pod)))
                        if self.story.owns(&pod) =>
                    {
                        left.extend(pod.uid().map(|uid| (namespace, uid)));
                    }
                    watcher::Event::Delete(pod) => {
                        left.remove(&(namespace, pod.uid().unwrap_or_default()));
                    }
                    _ => {}
                }
            }
        };
        // Whoever asked knows what to do about those that are left.
        let _ = timeout_at(deadline, gone).await;
        left.len()
    }
}

/// Waits until a server that was lost answers. The watches begin again by themselves, but without anything to report they
/// do not say so.
async fn answer(client: &Client, job: Option<Named<'_>>) {
    let Some(job) = job else { return };
    let jobs = watches::jobs(client, job.namespace);
    loop {
        sleep(AGAIN).await;
        match jobs.get(job.name).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if !is_passing(status.code) => return,
            Err(_) => {}
        }
    }
}

/// Whether a server that answers so may answer otherwise in a moment.
pub(crate) fn is_passing(code: u16) -> bool {
    code == 429 || code >= 500
}

/// The server's words, or why there are none.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => root(error),
    }
}

#[cfg(test)]
mod tests;

//! Following jobs to their end: events of jobs and pods, log lines, signals and time come together here.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use futures_util::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use mxjob_api::mxjob;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::lines::{self, Line, Source};
use super::screen::Screen;
use super::story::{Story, Verdict};
use crate::exit::Failure;
use crate::server::Server;
use crate::signals::{Signals, Stop};

/// Lines that wait to be printed; when so many do, the readers of the logs wait.
const LINES: usize = 256;
/// How long the last lines may take after the end of the job. A replica that the job leaves running never ends its log.
const LAST_LINES: Duration = Duration::from_secs(3);

/// How following ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All jobs are done.
    Finished(Verdict),
    /// A signal came.
    Stopped(Stop),
    /// The jobs (by name) that had not finished in time.
    TimedOut(String),
    /// The server broke, or refused the file.
    Failed(Failure),
}

type Events<K> = Pin<Box<dyn Stream<Item = watcher::Result<watcher::Event<K>>> + Send>>;

/// Jobs that are followed.
pub(crate) struct Follow {
    client: Client,
    story: Story,
    screen: Screen,
    followed: BTreeSet<Source>,
    readers: JoinSet<()>,
    sender: mpsc::Sender<Line>,
    lines: mpsc::Receiver<Line>,
}

impl Follow {
    pub(crate) fn new(client: Client) -> Self {
        let (sender, lines) = mpsc::channel(LINES);
        Self {
            client,
            story: Story::default(),
            screen: Screen::new(),
            followed: BTreeSet::new(),
            readers: JoinSet::new(),
            sender,
            lines,
        }
    }

    /// Says which jobs are meant, as the server answered their creation.
    pub(crate) fn expect(&mut self, jobs: &[Value]) {
        self.story.expect(jobs);
        for label in self.story.labels() {
            self.screen.reserve(&label);
        }
    }

    /// Follows until all jobs are done or something comes between.
    pub(crate) async fn run(
        &mut self,
        server: &mut Server,
        signals: &mut Signals,
        limit: Option<Duration>,
    ) -> End {
        let mut jobs: Events<DynamicObject> = Box::pin(
            watcher(Api::all_with(self.client.clone(), &resource()), watcher::Config::default())
                .default_backoff(),
        );
        let mut pods: Events<Pod> = Box::pin(
            watcher(Api::all(self.client.clone()), watcher::Config::default()).default_backoff(),
        );
        let deadline = limit.map(|limit| Instant::now() + limit);
        let end = loop {
            if let Some(verdict) = self.story.verdict() {
                break End::Finished(verdict);
            }
            let time_is_up = async {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                stop = signals.next() => break End::Stopped(stop),
                failure = server.broken() => break End::Failed(failure),
                () = time_is_up => break End::TimedOut(self.story.unfinished()),
                Some(event) = jobs.next() => self.job(event),
                Some(event) = pods.next() => self.pod(event),
                Some(line) = self.lines.recv() => self.line(&line),
            }
            self.screen.progress(|| self.story.progress());
        };
        if matches!(end, End::Finished(_)) {
            self.last_lines(&mut pods).await;
        }
        self.screen.clear();
        match end {
            // Told again, now that the last lines are known.
            End::Finished(_) => End::Finished(self.story.verdict().unwrap_or(Verdict::Succeeded)),
            end => end,
        }
    }

    fn job(&mut self, event: watcher::Result<watcher::Event<DynamicObject>>) {
        let notes = match event {
            Ok(watcher::Event::Apply(job) | watcher::Event::InitApply(job)) => {
                self.story.job(job.uid().as_deref().unwrap_or_default(), &job.data)
            }
            Ok(watcher::Event::Delete(job)) => {
                self.story.job_gone(job.uid().as_deref().unwrap_or_default())
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "cannot watch the job");
                Vec::new()
            }
        };
        notes.iter().for_each(|note| self.screen.note(note));
    }

    fn pod(&mut self, event: watcher::Result<watcher::Event<Pod>>) {
        match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                let notes = self.story.pod(&pod);
                notes.iter().for_each(|note| self.screen.note(note));
                for source in self.story.sources(&pod) {
                    if self.followed.insert(source.clone()) {
                        self.screen.reserve(&source.label);
                        self.readers.spawn(lines::follow(
                            self.client.clone(),
                            source,
                            self.sender.clone(),
                        ));
                    }
                }
            }
            Ok(watcher::Event::Delete(pod)) => {
                self.story.pod_gone(pod.uid().as_deref().unwrap_or_default())
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => tracing::warn!(%error, "cannot watch the pods"),
        }
    }

    fn line(&mut self, line: &Line) {
        self.screen.line(&line.label, &line.text);
        self.story.line(&line.uid, &line.label, &line.text);
    }

    /// Prints what the replicas had still to say.
    async fn last_lines(&mut self, pods: &mut Events<Pod>) {
        let deadline = Instant::now() + LAST_LINES;
        // A container that began and ended since we last looked.
        while let Some(Some(event)) = pods.next().now_or_never() {
            self.pod(event);
        }
        let all = async {
            loop {
                tokio::select! {
                    biased;
                    Some(line) = self.lines.recv() => self.line(&line),
                    ended = self.readers.join_next() => if ended.is_none() { break },
                }
            }
        };
        // Out of time is no failure: see the constant.
        let _ = timeout_at(deadline, all).await;
        while let Ok(line) = self.lines.try_recv() {
            self.line(&line);
        }
    }

    /// Deletes the jobs and waits until their pods are gone, as far as that happens in time.
    pub(crate) async fn remove_jobs(&self, limit: Duration) {
        for (namespace, name) in self.story.names() {
            let jobs: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), namespace, &resource());
            if let Err(error) = jobs.delete(name, &DeleteParams::background()).await {
                tracing::warn!(%error, name, "cannot delete the job");
            }
        }
        let gone = async {
            let pods: Api<Pod> = Api::all(self.client.clone());
            let mut events =
                std::pin::pin!(watcher(pods, watcher::Config::default()).default_backoff());
            let mut left = BTreeSet::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Init) => left.clear(),
                    Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod))
                        if self.story.owns(&pod) =>
                    {
                        left.extend(pod.uid());
                    }
                    Ok(watcher::Event::Delete(pod)) => {
                        left.remove(&pod.uid().unwrap_or_default());
                    }
                    Ok(watcher::Event::InitDone) if left.is_empty() => return,
                    _ => continue,
                }
                if left.is_empty() {
                    return;
                }
            }
        };
        // What is left after that is stopped without the API's help.
        let _ = timeout(limit, gone).await;
    }
}

fn resource() -> ApiResource {
    let gvk = GroupVersionKind::gvk(mxjob::GROUP, mxjob::VERSION, mxjob::KIND);
    ApiResource::from_gvk_with_plural(&gvk, mxjob::PLURAL)
}

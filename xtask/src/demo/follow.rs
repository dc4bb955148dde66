//! Follows the job: watches its conditions and pods, reads every replica's log, and replaces one
//! field.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::kubectl::Kubectl;
use super::screen::Screen;
use crate::interrupt::Flag;
use crate::run::Guard;

/// The job takes three seconds, and ten times as long on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
/// The longest time until a ^C is noticed.
const TICK: Duration = Duration::from_millis(100);
/// The new value of the replaced field.
const NEW_TTL: u32 = 600;
/// How long to wait for the last log lines after the end of the job.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// How the job ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Succeeded { accuracy: String },
    Failed { message: String },
}

/// An event of the streams.
#[derive(Debug)]
enum News {
    Job(Value),
    Pod(Value),
    Log { pod: String, line: String },
}

/// Shows the events of `job` until it has ended.
pub(crate) fn follow(
    kubectl: &Kubectl,
    job: &str,
    screen: &mut Screen,
    interrupted: &Flag,
) -> Result<Outcome> {
    // Bounded: a stream waits while the queue is full, and so does the program that writes it.
    let (sender, news) = sync_channel(256);
    let mut follower = Follower::new(kubectl, job, screen, sender)?;
    follower.run(&news, interrupted)
}

#[derive(Debug)]
struct Follower<'a> {
    kubectl: &'a Kubectl,
    job: &'a str,
    screen: &'a mut Screen,
    sender: SyncSender<News>,
    /// The kubectl processes of the streams; they end when this value is dropped.
    streams: Vec<Guard>,
    /// The conditions that were True when last seen.
    conditions: BTreeSet<String>,
    phases: BTreeMap<String, String>,
    replicas: usize,
    epoch: (usize, usize),
    /// The accuracy in the last epoch's line, for the progress line.
    so_far: String,
    /// The accuracy in the last line of a finished worker.
    accuracy: Option<String>,
    replaced: bool,
}

impl<'a> Follower<'a> {
    fn new(
        kubectl: &'a Kubectl,
        job: &'a str,
        screen: &'a mut Screen,
        sender: SyncSender<News>,
    ) -> Result<Self> {
        let selector = format!("--selector=training.kubeflow.org/job-name={job}");
        // A send fails only after the receiver is dropped, and then no event matters.
        let jobs = sender.clone();
        let job_stream = kubectl.watch(&["mxjob", job], move |object| {
            items(object).into_iter().for_each(|item| drop(jobs.send(News::Job(item))));
        })?;
        let pods = sender.clone();
        let pod_stream = kubectl.watch(&["pods", &selector], move |object| {
            items(object).into_iter().for_each(|item| drop(pods.send(News::Pod(item))));
        })?;
        Ok(Self {
            kubectl,
            job,
            screen,
            sender,
            streams: vec![job_stream, pod_stream],
            conditions: BTreeSet::new(),
            phases: BTreeMap::new(),
            replicas: 0,
            epoch: (0, 0),
            so_far: String::new(),
            accuracy: None,
            replaced: false,
        })
    }

    fn run(&mut self, news: &Receiver<News>, interrupted: &Flag) -> Result<Outcome> {
        let began = Instant::now();
        let mut ended: Option<(Instant, Outcome)> = None;
        loop {
            interrupted.check()?;
            match news.recv_timeout(TICK) {
                Ok(News::Job(job)) => {
                    if let Some(outcome) = self.job(&job) {
                        ended.get_or_insert_with(|| (Instant::now(), outcome));
                    }
                }
                Ok(News::Pod(pod)) => self.pod(&pod)?,
                Ok(News::Log { pod, line }) => self.log(&pod, &line)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("kubectl's watches ended"),
            }
            match (ended.take(), self.accuracy.clone()) {
                (Some((_, Outcome::Succeeded { .. })), Some(accuracy)) => {
                    return Ok(Outcome::Succeeded { accuracy });
                }
                (Some((since, outcome)), _) if since.elapsed() < LOG_TIMEOUT => {
                    ended = Some((since, outcome));
                }
                (Some((_, outcome)), _) => return Ok(outcome),
                (None, _) if began.elapsed() > LIMIT => {
                    bail!("the job had not finished after {LIMIT:?}")
                }
                (None, _) => {}
            }
        }
    }

    /// Shows changes of the job's conditions; returns the outcome, once there is one.
    fn job(&mut self, job: &Value) -> Option<Outcome> {
        let specs = job["spec"]["mxReplicaSpecs"].as_object().into_iter().flatten();
        self.replicas = specs
            .map(|(_, spec)| {
                usize::try_from(spec["replicas"].as_u64().unwrap_or(1)).unwrap_or_default()
            })
            .sum();
        let mut now = BTreeSet::new();
        let mut outcome = None;
        for condition in job["status"]["conditions"].as_array().into_iter().flatten() {
            if condition["status"] != "True" {
                continue;
            }
            let kind = text(&condition["type"]);
            let message = text(&condition["message"]);
            if !self.conditions.contains(&kind) {
                self.screen.line("job", &format!("{kind}: {message}"));
            }
            match kind.as_str() {
                "Succeeded" => {
                    outcome = Some(Outcome::Succeeded { accuracy: "unknown".to_owned() });
                }
                "Failed" => outcome = Some(Outcome::Failed { message }),
                _ => {}
            }
            now.insert(kind);
        }
        self.conditions = now;
        outcome
    }

    /// Shows a pod's new phase, and follows its log after its first start.
    fn pod(&mut self, pod: &Value) -> Result<()> {
        let name = text(&pod["metadata"]["name"]);
        let phase = text(&pod["status"]["phase"]);
        let before = self.phases.insert(name.clone(), phase.clone());
        if before.as_ref() == Some(&phase) {
            return Ok(());
        }
        self.screen.line(self.short(&name), &phase);
        let had_log = before.is_some_and(|phase| phase != "Pending" && !phase.is_empty());
        if !had_log && matches!(phase.as_str(), "Running" | "Succeeded" | "Failed") {
            let (sender, pod) = (self.sender.clone(), name.clone());
            self.streams.push(self.kubectl.lines(&["logs", "--follow", &name], move |line| {
                drop(sender.send(News::Log { pod: pod.clone(), line }));
            })?);
        }
        self.show_progress();
        Ok(())
    }

    /// Shows a log line, and reads epoch and accuracy from it.
    fn log(&mut self, pod: &str, line: &str) -> Result<()> {
        self.screen.line(self.short(pod), &format!("| {line}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["epoch", epoch, .., "accuracy", accuracy] => {
                self.so_far = format!("accuracy {accuracy}, ");
                if let Some((done, of)) = epoch.split_once('/') {
                    let done = done.parse().unwrap_or_default();
                    self.epoch = (self.epoch.0.max(done), of.parse().unwrap_or_default());
                }
                self.show_progress();
                if !self.replaced {
                    self.replaced = true;
                    self.replace()?;
                }
            }
            ["done", "accuracy", accuracy, ..] => self.accuracy = Some((*accuracy).to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// The documented replace: the whole object as read, with one replaceable field changed.
    fn replace(&mut self) -> Result<()> {
        let path = format!("/apis/kubeflow.org/v1/namespaces/default/mxjobs/{}", self.job);
        // If the status is written between read and write, the write fails with a conflict, and
        // both are repeated.
        for _ in 0..10 {
            let mut body = self.kubectl.get(&path)?;
            let before = body["spec"]["ttlSecondsAfterFinished"].clone();
            body["spec"]["ttlSecondsAfterFinished"] = json!(NEW_TTL);
            match self.kubectl.put(&path, &body) {
                Ok(answer) => {
                    self.screen.line("replace", &format!("PUT {path}"));
                    let change = format!(
                        "spec.ttlSecondsAfterFinished {before} -> {}, generation {} -> {}",
                        answer["spec"]["ttlSecondsAfterFinished"],
                        body["metadata"]["generation"],
                        answer["metadata"]["generation"]
                    );
                    self.screen.line("replace", &change);
                    return Ok(());
                }
                Err(error) if error.to_string().contains("Conflict") => {}
                Err(error) => return Err(error.context(format!("cannot replace {path}"))),
            }
        }
        bail!("ten replaces of {path} in a row failed with a conflict")
    }

    fn show_progress(&mut self) {
        let count = |phase: &str| self.phases.values().filter(|found| *found == phase).count();
        let (done, of) = self.epoch;
        let text = format!(
            "epoch {done}/{of}, {}{} of {} replicas running, {} finished",
            self.so_far,
            count("Running"),
            self.replicas,
            count("Succeeded")
        );
        self.screen.progress(done, of, &text);
    }

    /// `worker-0` of `digits-worker-0`.
    fn short<'n>(&self, pod: &'n str) -> &'n str {
        pod.strip_prefix(self.job).and_then(|rest| rest.strip_prefix('-')).unwrap_or(pod)
    }
}

/// Some versions of kubectl print a list first, others single objects.
fn items(object: Value) -> Vec<Value> {
    match object {
        Value::Object(mut fields) if fields.contains_key("items") => match fields.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        single => vec![single],
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

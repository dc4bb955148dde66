//! The report: what was found, for people and for programs.

use jiff::Timestamp;
use mxjob_api::legacy::{self, Legacy, Target, Weight};
use serde_json::{Value, json};

use super::source::{self, Found};
use super::surroundings::Surroundings;
use crate::cli::Format;
use crate::output;

/// Everything that is to be said.
#[derive(Debug)]
pub(super) struct Report {
    surroundings: Option<Surroundings>,
    jobs: Vec<Entry>,
}

/// One job.
#[derive(Debug)]
struct Entry {
    namespace: String,
    name: String,
    state: String,
    legacy: Legacy,
}

// === impl Report ===

impl Report {
    pub(super) fn new(found: &Found, surroundings: Option<Surroundings>, now: Timestamp) -> Self {
        let mut jobs: Vec<Entry> = found
            .jobs
            .iter()
            .map(|job| Entry {
                namespace: source::namespace(job).to_owned(),
                name: source::name(job).to_owned(),
                state: state(job).to_owned(),
                legacy: legacy::read(job, found.children(job).as_ref(), now),
            })
            .collect();
        jobs.sort_by(|one, other| {
            (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name))
        });
        Self { surroundings, jobs }
    }

    /// Data goes to stdout.
    pub(super) fn print(&self, format: Option<Format>) {
        match format {
            None => output::data(self.text().trim_end()),
            Some(Format::Json) => output::data(format_args!("{:#}", self.json())),
            Some(Format::Yaml) => {
                output::data(mxjob_machinery::json::to_yaml(&self.json()).trim_end());
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some((grave, known)) = self.sentences() {
            let line =
                |weight: Weight, sentence: &String| format!("{:<6}  {sentence}\n", word(weight));
            text.extend(grave.iter().map(|sentence| line(Weight::Danger, sentence)));
            text.extend(known.iter().map(|sentence| line(Weight::Note, sentence)));
            text.push('\n');
        }
        for job in &self.jobs {
            text = format!(
                "{text}{}/{}  {}  {}\n",
                job.namespace, job.name, job.state, job.legacy.era
            );
            for finding in &job.legacy.findings {
                text = format!("{text}  {:<6}  {}\n", word(finding.weight), finding.text);
            }
        }
        text
    }

    fn json(&self) -> Value {
        let jobs: Vec<Value> = self.jobs.iter().map(Entry::json).collect();
        let mut report = json!({"jobs": jobs});
        if let Some((grave, known)) = self.sentences() {
            let of = |weight: Weight, sentences: Vec<String>| {
                sentences.into_iter().map(move |text| json!({"weight": word(weight), "text": text}))
            };
            let findings = of(Weight::Danger, grave).chain(of(Weight::Note, known));
            report["cluster"] = json!({"findings": findings.collect::<Vec<_>>()});
        }
        report
    }

    /// How many jobs there are of which kind, in a clause.
    pub(super) fn summary(&self) -> String {
        let older = self.jobs.iter().filter(|job| job.legacy.era.is_older());
        let unfinished = older.clone().filter(|job| !job.legacy.is_finished).count();
        let jobs = match (self.jobs.len(), older.count()) {
            (0, _) => "there is no MXJob".to_owned(),
            (1, 0) => "1 job, of no older operator".to_owned(),
            (all, 0) => format!("{all} jobs, none of an older operator"),
            (1, _) => format!("1 job of an older operator ({unfinished} unfinished)"),
            (all, older) => {
                format!("{all} jobs, {older} of older operators ({unfinished} unfinished)")
            }
        };
        match self.dangers().count() {
            0 => jobs,
            1 => format!("{jobs}; 1 finding needs a decision"),
            more => format!("{jobs}; {more} findings need a decision"),
        }
    }

    /// What is to be said about the cluster: what needs a decision, and what is good to know.
    fn sentences(&self) -> Option<(Vec<String>, Vec<String>)> {
        self.surroundings.as_ref().map(|around| around.sentences(self.are_adopted()))
    }

    /// Whether no pod waits for its labels.
    fn are_adopted(&self) -> bool {
        let mut patches = self.jobs.iter().flat_map(|job| &job.legacy.patches);
        !patches.any(|patch| patch.target == Target::Pod)
    }

    fn dangers(&self) -> impl Iterator<Item = String> {
        let grave = self.sentences().map(|(grave, _)| grave).unwrap_or_default().into_iter();
        let findings = self.jobs.iter().flat_map(|job| &job.legacy.findings);
        let findings = findings.filter(|finding| finding.weight == Weight::Danger);
        grave.chain(findings.map(|finding| finding.text.clone()))
    }

    /// Whether something is lost, stopped or left alone unless somebody acts.
    pub(super) fn needs_a_decision(&self) -> bool {
        self.dangers().next().is_some()
    }

    /// Why nothing should be adopted now.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let around = self.surroundings.as_ref();
        around.map(|around| around.obstacles(self.are_adopted())).unwrap_or_default()
    }

    /// How many patches adopt all jobs.
    pub(super) fn patches(&self) -> usize {
        self.jobs.iter().map(|job| job.legacy.patches.len()).sum()
    }
}

// === impl Entry ===

impl Entry {
    fn json(&self) -> Value {
        let findings = self.legacy.findings.iter();
        let findings =
            findings.map(|finding| json!({"weight": word(finding.weight), "text": finding.text}));
        let patches = self.legacy.patches.iter().map(|patch| {
            json!({
                "target": kind(patch.target), "namespace": patch.namespace, "name": patch.name,
                "patch": patch.body,
            })
        });
        json!({
            "namespace": self.namespace,
            "name": self.name,
            "operator": self.legacy.era.to_string(),
            "state": self.state,
            "finished": self.legacy.is_finished,
            "findings": findings.collect::<Vec<_>>(),
            "patches": patches.collect::<Vec<_>>(),
        })
    }
}

/// What a patch is put on.
pub(super) fn kind(target: Target) -> &'static str {
    match target {
        Target::Pod => "Pod",
        Target::Service => "Service",
        Target::JobStatus => "MXJob",
    }
}

fn word(weight: Weight) -> &'static str {
    match weight {
        Weight::Note => "note",
        Weight::Change => "change",
        Weight::Danger => "danger",
    }
}

/// The newest condition, as the State column shows it.
fn state(job: &Value) -> &str {
    let conditions = job["status"]["conditions"].as_array();
    let newest = conditions.and_then(|all| all.last()).and_then(|last| last["type"].as_str());
    newest.unwrap_or("not begun")
}

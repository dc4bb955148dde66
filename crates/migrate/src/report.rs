//! The report: the findings about all jobs and about their cluster, as text and as JSON.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::assessment::{Assessment, assess};
use crate::cluster_scan::ClusterScan;
use crate::finding::{Finding, Weight};
use crate::inventory::{self, Inventory};
use crate::patch::Target;

/// The findings about jobs and their cluster.
#[derive(Debug)]
pub struct Report {
    /// None if the jobs come from files.
    cluster: Option<ClusterScan>,
    jobs: Vec<Entry>,
}

/// One job.
#[derive(Debug)]
struct Entry {
    namespace: String,
    name: String,
    state: String,
    assessment: Assessment,
}

// === impl Report ===

impl Report {
    /// Assesses every job of an inventory. Jobs are sorted by namespace and name.
    pub fn new(inventory: &Inventory, cluster: Option<ClusterScan>, now: Timestamp) -> Self {
        let mut jobs: Vec<Entry> = inventory
            .jobs()
            .iter()
            .map(|job| Entry {
                namespace: inventory::namespace(job).to_owned(),
                name: inventory::name(job).to_owned(),
                state: state(job).to_owned(),
                assessment: assess(job, inventory.children(job).as_ref(), now),
            })
            .collect();
        jobs.sort_by(|one, other| {
            (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name))
        });
        Self { cluster, jobs }
    }

    /// The report for people: first the cluster, then each job with its findings.
    pub fn text(&self) -> String {
        let line =
            |finding: &Finding| format!("{:<6}  {}\n", finding.weight.as_str(), finding.text);
        let mut text = String::new();
        if let Some(findings) = self.cluster_findings() {
            text.extend(findings.iter().map(line));
            text.push('\n');
        }
        for Entry { namespace, name, state, assessment } in &self.jobs {
            text = format!("{text}{namespace}/{name}  {state}  {}\n", assessment.operator);
            text.extend(assessment.findings.iter().map(|finding| format!("  {}", line(finding))));
        }
        text
    }

    /// The report for programs.
    pub fn json(&self) -> Value {
        let jobs: Vec<Value> = self.jobs.iter().map(Entry::json).collect();
        let mut report = json!({"jobs": jobs});
        if let Some(findings) = self.cluster_findings() {
            report["cluster"] = json!({"findings": findings_json(&findings)});
        }
        report
    }

    /// The numbers of jobs and of findings that need a decision, as a clause.
    pub fn summary(&self) -> String {
        let older = self.jobs.iter().filter(|job| job.assessment.operator.is_older());
        let unfinished = older.clone().filter(|job| !job.assessment.is_finished).count();
        let jobs = match (self.jobs.len(), older.count()) {
            (0, _) => "no MXJobs found".to_owned(),
            (1, 0) => "1 job, not of an older operator".to_owned(),
            (all, 0) => format!("{all} jobs, none of an older operator"),
            (1, _) => format!("1 job of an older operator ({unfinished} unfinished)"),
            (all, older) => {
                format!("{all} jobs, {older} of older operators ({unfinished} unfinished)")
            }
        };
        match self.dangers() {
            0 => jobs,
            1 => format!("{jobs}; 1 finding needs a decision"),
            more => format!("{jobs}; {more} findings need a decision"),
        }
    }

    /// Whether something is lost, stopped or left unmanaged unless the user acts.
    pub fn needs_a_decision(&self) -> bool {
        self.dangers() > 0
    }

    /// Reasons not to adopt the jobs now, as clauses.
    pub fn obstacles(&self) -> Vec<String> {
        let cluster = self.cluster.as_ref();
        cluster.map(|cluster| cluster.obstacles(self.are_adopted())).unwrap_or_default()
    }

    /// The number of patches that adopt all jobs.
    pub fn patches(&self) -> usize {
        self.jobs.iter().map(|job| job.assessment.patches.len()).sum()
    }

    fn cluster_findings(&self) -> Option<Vec<Finding>> {
        self.cluster.as_ref().map(|cluster| cluster.findings(self.are_adopted()))
    }

    /// Whether no pod lacks labels.
    fn are_adopted(&self) -> bool {
        let mut patches = self.jobs.iter().flat_map(|job| &job.assessment.patches);
        !patches.any(|patch| patch.target == Target::Pod)
    }

    fn dangers(&self) -> usize {
        let cluster = self.cluster_findings().unwrap_or_default();
        let findings = self.jobs.iter().flat_map(|job| &job.assessment.findings).chain(&cluster);
        findings.filter(|finding| finding.weight == Weight::Danger).count()
    }
}

// === impl Entry ===

impl Entry {
    fn json(&self) -> Value {
        let patches = self.assessment.patches.iter().map(|patch| {
            json!({
                "target": patch.target.kind(), "namespace": patch.namespace, "name": patch.name,
                "patch": patch.body,
            })
        });
        json!({
            "namespace": self.namespace,
            "name": self.name,
            "operator": self.assessment.operator.to_string(),
            "state": self.state,
            "finished": self.assessment.is_finished,
            "findings": findings_json(&self.assessment.findings),
            "patches": patches.collect::<Vec<_>>(),
        })
    }
}

fn findings_json(findings: &[Finding]) -> Vec<Value> {
    let json = |finding: &Finding| json!({"weight": finding.weight.as_str(), "text": finding.text});
    findings.iter().map(json).collect()
}

/// The newest condition, as in the State column of kubectl.
fn state(job: &Value) -> &str {
    let conditions = job["status"]["conditions"].as_array();
    let newest = conditions.and_then(|all| all.last()).and_then(|last| last["type"].as_str());
    newest.unwrap_or("not started")
}

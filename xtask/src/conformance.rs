//! `conformance`: sends the recorded requests to our API server and compares the answers with a
//! real server's.
//!
//! They are sent twice: to a server with its own MXJobs, and to one where MXJobs are a custom
//! resource with the definition that the recorded server had.
//!
//! The recordings, the definition, the two Python programs (standard library only) and the named
//! deviations of both runs are in `conformance/`. A difference that is not named is a failure, and
//! so is a named one that no longer exists.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::run::{self, Guard};
use crate::server::Server;

/// One server configuration that answers all recorded requests.
struct Configuration {
    /// Its heading on the reference page.
    title: &'static str,
    /// What the page says about it.
    text: &'static str,
    /// A folder below the scratch folder.
    name: &'static str,
    /// Arguments of the server.
    server: &'static [&'static str],
    /// Further arguments of the recorder.
    recorder: &'static [&'static str],
    /// The named deviations.
    deviations: &'static str,
}

const CONFIGURATIONS: [Configuration; 2] = [
    Configuration {
        title: "Built-in MXJobs",
        text: "`mxjob apiserver` as it is started without options: MXJobs have a schema, defaults and rules of their own.",
        name: "built-in",
        server: &[],
        recorder: &[],
        deviations: "conformance/deviations.json",
    },
    Configuration {
        title: "MXJobs as a custom resource",
        text: "`mxjob apiserver --builtin-mxjobs=false`, with the definition of MXJobs that the recorded server had\n\
               (`conformance/definition.json`).",
        name: "custom-resource",
        server: &["--builtin-mxjobs=false"],
        recorder: &["--definition", "conformance/definition.json"],
        deviations: "conformance/deviations-custom-resource.json",
    },
];
/// Groups of requests, in lanes with one server process each. Within a lane the order matters (some
/// rows list all namespaces); watches mostly wait, so they have their own lane.
const LANES: &[&[&str]] = &[
    &[
        "create",
        "get",
        "table",
        "listing",
        "replace",
        "status",
        "patch",
        "delete",
        "errors",
        "discovery",
    ],
    &["watch"],
    &["gzipped", "dryrun", "apply", "fieldvalidation"],
];
/// The users of the recorder: `token,user,uid,"groups"`.
const TOKENS: &str =
    "admin-token,admin,1,\"system:masters\"\nlimited-token,limited,2,\"nobodies\"\n";
/// The recorder limits the time of each request; this limit is for a server that hangs.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs the groups named in `arguments`, or all, and writes `docs/reference/conformance.md` when
/// all ran.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let known = |name: &String| LANES.iter().any(|lane| lane.contains(&name.as_str()));
    if let Some(unknown) = arguments.iter().find(|name| !known(name)) {
        bail!("unknown group {unknown}; the groups are {}", LANES.concat().join(", "));
    }
    run::check(run::cargo().args(["build", "--quiet", "--locked", "--package", "mxjob"]))?;
    let binary = run::target()?.join("debug/mxjob");
    let scratch = run::local().join(format!("conformance-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("cannot create {}", scratch.display()))?;
    let outcome =
        record(&binary, &scratch, arguments).and_then(|()| compare(&scratch, arguments.is_empty()));
    match &outcome {
        // After a failure the answers are kept.
        Err(_) => eprintln!("the answers are in {}", scratch.display()),
        Ok(()) => std::fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot remove {}", scratch.display()))?,
    }
    outcome
}

/// Starts a server and the recorder for each lane of each configuration. Most of their time they
/// wait, so all run at the same time.
fn record(binary: &Path, scratch: &Path, only: &[String]) -> Result<()> {
    let tokens = scratch.join("tokens.csv");
    std::fs::write(&tokens, TOKENS).context("cannot write the token file")?;
    let mut recorders = Vec::new();
    for configuration in &CONFIGURATIONS {
        for (number, lane) in LANES.iter().enumerate() {
            let selected = |name: &&&str| only.is_empty() || only.iter().any(|one| one == **name);
            let groups: Vec<&str> = lane.iter().filter(selected).copied().collect();
            if !groups.is_empty() {
                recorders.push(configuration.start(binary, scratch, &tokens, number, &groups)?);
            }
        }
    }
    for (what, mut recorder, server) in recorders {
        if !recorder.wait(LIMIT)? {
            bail!("the recorder of {what} had not finished after {LIMIT:?}");
        }
        server.stop()?;
    }
    Ok(())
}

impl Configuration {
    /// The folder of its answers, with one file for each group.
    fn answers(&self, scratch: &Path) -> PathBuf {
        scratch.join(self.name)
    }

    /// Starts a server and a recorder that asks it the requests of some groups.
    fn start(
        &self,
        binary: &Path,
        scratch: &Path,
        tokens: &Path,
        lane: usize,
        groups: &[&str],
    ) -> Result<(String, Guard, Server)> {
        let answers = self.answers(scratch);
        std::fs::create_dir_all(&answers)
            .with_context(|| format!("cannot create {}", answers.display()))?;
        let tokens = tokens.to_string_lossy();
        let mut arguments =
            vec!["apiserver", "--garbage-collection=false", "--token-file", &tokens];
        arguments.extend(self.server);
        let server = Server::start(
            binary,
            &arguments,
            &scratch.join(format!("{}-data-{lane}", self.name)),
            &scratch.join(format!("{}-server-{lane}.log", self.name)),
        )?;
        let mut recorder = run::command("python3");
        recorder.arg("conformance/record.py").arg(&server.url).arg(&answers);
        recorder.args(["--rows", "conformance/expected"]).args(self.recorder).args(groups);
        let what = format!("{} ({})", groups.join(" "), self.name);
        Ok((what, Guard::spawn(&mut recorder)?, server))
    }

    /// Compares the answers with the recorded ones, prints the score, and returns the report and
    /// whether all differences are named.
    fn compare(&self, scratch: &Path) -> Result<(Value, Result<()>)> {
        let report = scratch.join(format!("{}-report.json", self.name));
        eprintln!("{}:", self.title);
        let compared = run::quiet(
            run::command("python3")
                .args(["conformance/compare.py", "conformance/expected"])
                .arg(self.answers(scratch))
                .args(["--deviations", self.deviations, "--json"])
                .arg(&report),
        );
        let compared = compared.with_context(|| {
            format!(
                "the answers differ from the recorded ones; fix the server, or name the row and its \
                 reason in {} if the difference is required",
                self.deviations
            )
        });
        let text =
            std::fs::read_to_string(&report).context("cannot read the report of the comparison")?;
        let report = serde_json::from_str(&text)
            .context("the report of the comparison is not valid JSON")?;
        Ok((report, compared))
    }
}

/// Prints the scores; with `all`, also writes the reference page.
fn compare(scratch: &Path, all: bool) -> Result<()> {
    let mut page = String::from(HEAD);
    let mut outcome = Ok(());
    for configuration in &CONFIGURATIONS {
        let (report, compared) = configuration.compare(scratch)?;
        outcome = outcome.and(compared);
        let groups = LANES.concat();
        let missing: Vec<&&str> =
            groups.iter().filter(|group| all && report["groups"][group].is_null()).collect();
        if !missing.is_empty() {
            bail!("{}: no answers were recorded for {missing:?}", configuration.title);
        }
        page.push_str(&section(configuration, &report));
    }
    if all {
        let file = run::root().join("docs/reference/conformance.md");
        std::fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    outcome
}

/// The start of the reference page.
const HEAD: &str = "\
# Conformance

<!-- Written by `cargo xtask conformance`; do not edit. -->

The same requests were sent to `mxjob apiserver` and, for the recordings in `conformance/expected`, to a
Kubernetes 1.32 API server that served MXJobs as a plain custom resource. *Status* and *body* must be equal,
or the difference is named below; *message* and *headers* are counted to show how similar the wording is.
";

/// A section of the reference page: scores by group, and every deviation with its reason.
fn section(configuration: &Configuration, report: &Value) -> String {
    let mut page = format!(
        "\n## {}\n\n{}\n\n\
         | group | rows | status | body | message | headers |\n| --- | --: | --: | --: | --: | --: |\n",
        configuration.title, configuration.text
    );
    let mut row = |name: &str, counts: &Value| {
        let count = |key: &str| counts[key].as_u64().unwrap_or_default();
        let [rows, status, body] = ["rows", "status", "body"].map(count);
        let [message, headers] = ["message", "headers"].map(count);
        let _ = writeln!(page, "| {name} | {rows} | {status} | {body} | {message} | {headers} |");
    };
    for (group, counts) in report["groups"].as_object().into_iter().flatten() {
        row(group, counts);
    }
    row("**all**", &report["total"]);
    page.push_str(
        "\nDeviations; the reason says why each is intended:\n\n| row | why |\n| --- | --- |\n",
    );
    for (row, why) in report["deviations"].as_object().into_iter().flatten() {
        let _ = writeln!(
            page,
            "| {} | {} |",
            row.replace('|', "\\|"),
            why.as_str().unwrap_or_default()
        );
    }
    page
}

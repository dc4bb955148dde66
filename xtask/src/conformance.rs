//! `conformance`: sends the recorded requests to our API server and compares the answers with a
//! real server's.
//!
//! The recordings, the two Python programs (standard library only) and the named deviations are in
//! `conformance/`. A difference that `deviations.json` does not name is a failure, and so is a
//! named one that no longer exists.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::run::{self, Guard};
use crate::server::Server;

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
    let answers = scratch.join("answers");
    std::fs::create_dir_all(&answers)
        .with_context(|| format!("cannot create {}", answers.display()))?;
    let outcome = record(&binary, &scratch, &answers, arguments)
        .and_then(|()| compare(&scratch, &answers, arguments.is_empty()));
    match &outcome {
        // After a failure the answers are kept.
        Err(_) => eprintln!("the answers are in {}", answers.display()),
        Ok(()) => std::fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot remove {}", scratch.display()))?,
    }
    outcome
}

/// Starts a server and the recorder for each lane.
fn record(binary: &Path, scratch: &Path, answers: &Path, only: &[String]) -> Result<()> {
    let tokens = scratch.join("tokens.csv");
    std::fs::write(&tokens, TOKENS).context("cannot write the token file")?;
    let tokens = tokens.to_string_lossy();
    let mut lanes = Vec::new();
    for (number, lane) in LANES.iter().enumerate() {
        let selected = |name: &&&str| only.is_empty() || only.iter().any(|one| one == **name);
        let groups: Vec<&str> = lane.iter().filter(selected).copied().collect();
        if groups.is_empty() {
            continue;
        }
        let server = Server::start(
            binary,
            &["apiserver", "--garbage-collection=false", "--token-file", &tokens],
            &scratch.join(format!("data-{number}")),
            &scratch.join(format!("server-{number}.log")),
        )?;
        let mut recorder = run::command("python3");
        recorder.arg("conformance/record.py").arg(&server.url).arg(answers);
        recorder.args(["--rows", "conformance/expected"]).args(&groups);
        lanes.push((groups.join(" "), Guard::spawn(&mut recorder)?, server));
    }
    for (groups, mut recorder, server) in lanes {
        if !recorder.wait(LIMIT)? {
            bail!("the recorder of {groups} had not finished after {LIMIT:?}");
        }
        server.stop()?;
    }
    Ok(())
}

/// Prints the score; with `all`, also writes the reference page.
fn compare(scratch: &Path, answers: &Path, all: bool) -> Result<()> {
    let report = scratch.join("report.json");
    let compared = run::quiet(
        run::command("python3")
            .args(["conformance/compare.py", "conformance/expected"])
            .arg(answers)
            .args(["--deviations", "conformance/deviations.json", "--json"])
            .arg(&report),
    );
    let text =
        std::fs::read_to_string(&report).context("cannot read the report of the comparison")?;
    let report: Value =
        serde_json::from_str(&text).context("the report of the comparison is not valid JSON")?;
    if all {
        let missing: Vec<&str> =
            LANES.concat().into_iter().filter(|group| report["groups"][group].is_null()).collect();
        if !missing.is_empty() {
            bail!("no answers were recorded for {}", missing.join(", "));
        }
        let page = run::root().join("docs/reference/conformance.md");
        std::fs::write(&page, markdown(&report))
            .with_context(|| format!("cannot write {}", page.display()))?;
    }
    compared.context(
        "the answers differ from the recorded ones; fix the server, or name the row and its reason in \
         conformance/deviations.json if the contract requires the difference",
    )
}

/// The reference page: scores by group, and every deviation with its reason.
fn markdown(report: &Value) -> String {
    let mut page = String::from(
        "# Conformance\n\n\
         <!-- Written by `cargo xtask conformance`; do not edit. -->\n\n\
         The same requests were sent to `mxjob apiserver` and, for the recordings in `conformance/expected`, to a\n\
         Kubernetes 1.32 API server that served MXJobs as a plain custom resource. *Status* and *body* must be equal,\n\
         or the difference is named below; *message* and *headers* are counted to show how similar the wording is.\n\n\
         | group | rows | status | body | message | headers |\n| --- | --: | --: | --: | --: | --: |\n",
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
    page.push_str("\n## Deviations\n\nEach is intended; the reason says why.\n\n| row | why |\n| --- | --- |\n");
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

//! `conformance`: asks our API server the recorded questions and compares the answers with a real server's.
//!
//! The recordings, the two Python programs (standard library only) and the named deviations are in `conformance/`.
//! A difference that `deviations.json` does not name is a failure, and so is a named one that is gone.

use crate::run::{self, Guard};
use crate::server::Server;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Compared groups in lanes of one server each, as its own process. Within a lane the order matters (some rows list
/// all namespaces); watches mostly wait, so they have a lane of their own.
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
/// The users that the recorder speaks as: `token,user,uid,"groups"`.
const TOKENS: &str =
    "admin-token,admin,1,\"system:masters\"\nlimited-token,limited,2,\"nobodies\"\n";
/// The recorder has a time limit of its own for each request; this is for a server that hangs.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs the groups named in `arguments`, or all, and writes `docs/reference/conformance.md` when all ran.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let known = |name: &String| LANES.iter().any(|lane| lane.contains(&name.as_str()));
    if let Some(unknown) = arguments.iter().find(|name| !known(name)) {
        bail!("there is no group {unknown}; the groups are {}", LANES.concat().join(", "));
    }
    run::check(run::cargo().args(["build", "--quiet", "--locked", "--package", "mxjob"]))?;
    let binary = run::target()?.join("debug/mxjob");
    let scratch = run::local().join(format!("conformance-{}", std::process::id()));
    let answers = scratch.join("answers");
    std::fs::create_dir_all(&answers)
        .with_context(|| format!("cannot make {}", answers.display()))?;
    let outcome = record(&binary, &scratch, &answers, arguments)
        .and_then(|()| compare(&scratch, &answers, arguments.is_empty()));
    match &outcome {
        // Failure keeps the answers for a look.
        Err(_) => eprintln!("the answers are in {}", answers.display()),
        Ok(()) => std::fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot remove {}", scratch.display()))?,
    }
    outcome
}

/// Starts a server for each lane and lets the recorder ask it.
fn record(binary: &Path, scratch: &Path, answers: &Path, only: &[String]) -> Result<()> {
    let tokens = scratch.join("tokens.csv");
    std::fs::write(&tokens, TOKENS).context("cannot write the token file")?;
    let tokens = tokens.to_string_lossy();
    let mut lanes = Vec::new();
    for (number, lane) in LANES.iter().enumerate() {
        let wanted = |name: &&&str| only.is_empty() || only.iter().any(|one| one == **name);
        let groups: Vec<&str> = lane.iter().filter(wanted).copied().collect();
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
    let text = std::fs::read_to_string(&report).context("the comparison wrote no report")?;
    let report: Value =
        serde_json::from_str(&text).context("the report of the comparison is broken")?;
    if all {
        let missing: Vec<&str> =
            LANES.concat().into_iter().filter(|group| report["groups"][group].is_null()).collect();
        if !missing.is_empty() {
            bail!("nothing was recorded for {}", missing.join(", "));
        }
        let page = run::root().join("docs/reference/conformance.md");
        std::fs::write(&page, markdown(&report))
            .with_context(|| format!("cannot write {}", page.display()))?;
    }
    compared.context(
        "the answers differ from the recorded ones; fix the server, or name the row and its reason in \
         conformance/deviations.json when the contract wants the difference",
    )
}

/// The reference page: scores by group, and every deviation with its reason.
fn markdown(report: &Value) -> String {
    let mut page = String::from(
        "# Conformance\n\n\
         <!-- Written by `cargo xtask conformance`; do not edit. -->\n\n\
         The same questions asked of `mxjob apiserver` and, when the recordings in `conformance/expected` were made, of\n\
         a Kubernetes 1.32 API server that served MXJobs as a plain custom resource. *Status* and *body* are what must\n\
         agree or be named below; *message* and *headers* are counted to show how near the wording is.\n\n\
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
    page.push_str("\n## Deviations\n\nEach is wanted; the reason says by what.\n\n| row | why |\n| --- | --- |\n");
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

//! `mxjob validate`: checks the objects of files and changes nothing.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::check::{self, Finding, Nodes, Severity};
use crate::exit::{Code, Failure};
use crate::objects::{self, Object};
use crate::output;

/// Exit codes, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    the server of `mxjob up` accepts all objects; with --strict: without a warning
  1    an object has an error; with --strict: an error or a warning
  2    a file cannot be read or is no YAML or JSON, contains no object, or a flag is invalid";

/// `mxjob validate`
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Files or folders with objects as YAML or JSON, as `kubectl create -f` reads them; `-` is
    /// standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Fail on warnings, too
    #[arg(long)]
    strict: bool,
    /// Output format [default: one line for each finding]
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// An output format for programs.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// JSON
    Json,
}

/// Prints the findings about the objects of all files.
pub(crate) fn run(args: &ValidateArgs) -> Result<(), Failure> {
    let mut objects = Vec::new();
    for file in &args.files {
        objects.extend(objects::read(file)?);
    }
    if objects.is_empty() {
        return Err(Failure::input("the files contain no object"));
    }
    let found: Vec<(&Object, Finding)> = objects
        .iter()
        .flat_map(|object| {
            let findings = check::object(object, Nodes::Processes);
            findings.into_iter().map(move |finding| (object, finding))
        })
        .collect();
    match args.output {
        None => found.iter().for_each(|(object, finding)| output::data(line(object, finding))),
        Some(Format::Json) => {
            let findings: Vec<Value> =
                found.iter().map(|(object, finding)| as_json(object, finding)).collect();
            output::data(format_args!("{:#}", json!({ "findings": findings })));
        }
    }
    let count = |severity| found.iter().filter(|(_, one)| one.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let summary = format!("{} objects, {errors} errors, {warnings} warnings", objects.len());
    if errors > 0 || (args.strict && warnings > 0) {
        return Err(Failure { code: Code::JobFailed, message: summary });
    }
    output::note(format_args!("mxjob: {summary}"));
    Ok(())
}

/// `FILE:LINE: KIND/NAME: PATH: MESSAGE`
fn line(object: &Object, finding: &Finding) -> String {
    let warning = if finding.severity == Severity::Warning { "warning: " } else { "" };
    let (file, text) = (&object.file, finding.text());
    format!("{file}:{}: {}/{}: {warning}{text}", finding.line, object.text("/kind"), object.name())
}

fn as_json(object: &Object, finding: &Finding) -> Value {
    json!({
        "file": object.file,
        "line": finding.line,
        "kind": object.text("/kind"),
        "name": object.name(),
        "severity": if finding.severity == Severity::Error { "error" } else { "warning" },
        "path": finding.path,
        "message": finding.message,
    })
}

//! Adoption: the patches of all jobs, each sent only onto the very version that it was made from. May be repeated.

use http::{Method, Request};
use jiff::Timestamp;
use mxjob_api::legacy::{self, Patch, Target};
use mxjob_api::mxjob;
use serde_json::Value;

use super::report::{Report, kind};
use super::source::{self, Found};
use crate::cluster::Cluster;
use crate::exit::{Failure, root};
use crate::output;

/// How often a job is read anew because something of it changed meanwhile. Pods change with every heartbeat of their containers.
const ATTEMPTS: usize = 5;

/// What was done.
#[derive(Debug, Default)]
struct Done {
    jobs: usize,
    patches: usize,
    failures: Vec<String>,
}

/// Adopts all jobs; what failed is said at the end, after everything else was tried.
pub(super) async fn adopt(
    cluster: &Cluster,
    found: &Found,
    report: &Report,
) -> Result<(), Failure> {
    let mut found = found.clone();
    let mut done = Done::default();
    for index in 0..found.jobs.len() {
        job(cluster, &mut found, index, &mut done).await?;
    }
    let what = format!("adopted {} jobs with {} patches", done.jobs, done.patches);
    if !done.failures.is_empty() {
        return Err(Failure::system(format!(
            "{}; {what}, but not everything; services and the status wait for the pods of their job, so repeat it before an operator starts:\n  {}",
            report.summary(),
            done.failures.join("\n  ")
        )));
    }
    output::note(format_args!(
        "mxjob: {}; {what}; now start the operator: mxjob manifests --image IMAGE | kubectl apply --server-side -f -",
        report.summary()
    ));
    Ok(())
}

async fn job(
    cluster: &Cluster,
    found: &mut Found,
    index: usize,
    done: &mut Done,
) -> Result<(), Failure> {
    let mut sent = 0;
    let mut failures = Vec::new();
    for attempt in 1..=ATTEMPTS {
        // What failed before is tried again, too.
        failures.clear();
        let Some(job) = found.jobs.get(index) else { return Ok(()) };
        let place = source::namespace(job).to_owned();
        let path = format!(
            "/apis/{}/namespaces/{place}/{}/{}",
            mxjob::API_VERSION,
            mxjob::PLURAL,
            source::name(job)
        );
        let patches = legacy::read(job, found.children(job).as_ref(), Timestamp::now()).patches;
        let mut is_stale = false;
        let mut held = None;
        for patch in &patches {
            // A service must not select what its pod lacks, and a complete status says that the job is adopted.
            if held.is_some_and(|target| target != patch.target) {
                break;
            }
            match send(cluster, patch, found.version_of(patch)).await {
                Ok(()) => sent += 1,
                Err(error) if is_code(&error, 409) && attempt < ATTEMPTS => {
                    is_stale = true;
                    held = Some(patch.target);
                }
                Err(error) if is_code(&error, 404) && is_gone(cluster, patch, &path).await => {}
                Err(error) => {
                    let why = match &error {
                        kube::Error::Api(status) => status.message.clone(),
                        error => root(error),
                    };
                    let what = format!("{} {}/{}", kind(patch.target), patch.namespace, patch.name);
                    failures.push(format!("{what}: {why}"));
                    held = Some(patch.target);
                }
            }
        }
        if !is_stale {
            break;
        }
        match cluster.get(&path).await {
            Ok(job) => found.replace(index, job),
            Err(error) if is_code(&error, 404) => return Ok(()),
            Err(error) => return Err(cluster.said(&error)),
        }
        found.look(cluster, &place).await?;
    }
    done.patches += sent;
    done.jobs += usize::from(sent > 0);
    done.failures.extend(failures);
    Ok(())
}

fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Whether what answered a patch with 404 is gone. That of a status may also mean that the definition has none.
async fn is_gone(cluster: &Cluster, patch: &Patch, job: &str) -> bool {
    match patch.target {
        Target::Pod | Target::Service => true,
        Target::JobStatus => match cluster.get(job).await {
            Ok(there) => there["metadata"]["uid"] != patch.body["metadata"]["uid"],
            Err(error) => is_code(&error, 404),
        },
    }
}

/// Sends one patch. It names the uid already; the version keeps it from undoing what somebody else has done meanwhile.
async fn send(
    cluster: &Cluster,
    patch: &Patch,
    version: Option<&Value>,
) -> Result<(), kube::Error> {
    let (group, api, plural, sub) = patch.target.resource();
    let root =
        if group.is_empty() { format!("/api/{api}") } else { format!("/apis/{group}/{api}") };
    let mut path = format!("{root}/namespaces/{}/{plural}/{}", patch.namespace, patch.name);
    if let Some(sub) = sub {
        path = format!("{path}/{sub}");
    }
    let mut body = patch.body.clone();
    if let Some(version) = version {
        body["metadata"]["resourceVersion"] = version.clone();
    }
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("{path}?fieldManager=mxjob-migrate"))
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    cluster.client.request::<Value>(request).await.map(drop)
}

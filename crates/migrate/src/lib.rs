//! Moving from mxnet-operator or training-operator to mxjob: jobs that older operators left behind,
//! what changes for them, and how running ones are adopted without a restart.
//!
//! ```text
//! cluster ─▶ Inventory ─▶ assess: operator, findings, patches ─┬▶ Report
//! files ───▶     └──────▶ rewrite                              └▶ adopt: sends the patches
//! cluster ─▶ ClusterScan: CRD, Deployments, webhooks ──────────▶ Report
//! ```
//!
//! [`assess`], [`Report`] and [`rewrite`] are pure. [`Inventory::read`], [`ClusterScan::read`] and
//! [`adopt`] send requests through the caller's [`Cluster`]; only [`adopt`] changes anything. The
//! command line, files, connections, the clock and output are the caller's too.
//!
//! Nothing else depends on this crate but the `migrate` command: both can be deleted when no
//! cluster is left to migrate.

mod adoption;
mod apply;
mod assessment;
mod children;
mod cluster;
mod cluster_scan;
mod finding;
mod findings;
mod inventory;
mod operator;
mod patch;
mod report;
mod rewrite;
mod unadopted;

pub use apply::{Adopted, adopt};
pub use assessment::{Assessment, assess};
pub use children::Children;
pub use cluster::{Cluster, RequestError};
pub use cluster_scan::ClusterScan;
pub use finding::{Finding, Weight};
pub use inventory::Inventory;
pub use operator::Operator;
pub use patch::{Patch, Target};
pub use report::Report;
pub use rewrite::{rewrite, violations};

//! The rules by tables of days, and the shell against a real API server.

mod keeping;
mod rules;

use jiff::{SignedDuration, Timestamp};

use super::issue::carry_out;
use super::judge::{Verdict, Why, judge};
use super::material::Material;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn start() -> Timestamp {
    "2026-11-24T08:00:00Z".parse().unwrap()
}

/// So many days after the start.
fn day(days: i32) -> Timestamp {
    start() + DAY * days
}

fn names() -> Vec<String> {
    ["hook.system.svc", "hook.system.svc.cluster.local", "hook"].map(str::to_owned).to_vec()
}

/// What a new installation has.
fn made(now: Timestamp) -> Material {
    carry_out(Verdict::Make(Why::Absent), None, &names(), None, now).unwrap().1
}

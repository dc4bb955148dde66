//! The order in which the containers of a pod start and stop, and the end of the pod. Pure.
//!
//! Init containers run one after the other. One that is restarted always is a sidecar: the next
//! container starts once it has started, it runs beside the others, and it ends after them.

use super::container::{ContainerState, Role, Tracked};

/// How a pod ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    Failed,
}

/// The outcome of a pod, once nothing but its sidecars may still run.
pub(super) fn outcome(containers: &[Tracked]) -> Option<Outcome> {
    let init_failed = containers.iter().any(|one| {
        one.role == Role::Init && matches!(&one.state, ContainerState::Ended(_)) && !one.succeeded()
    });
    if init_failed {
        return Some(Outcome::Failed);
    }
    let main = || containers.iter().filter(|one| one.role == Role::Main);
    if !main().all(|one| matches!(one.state, ContainerState::Ended(_))) {
        return None;
    }
    Some(if main().all(Tracked::succeeded) { Outcome::Succeeded } else { Outcome::Failed })
}

/// Whether the main containers may start.
pub(super) fn is_initialized(containers: &[Tracked]) -> bool {
    let first_main = containers.iter().position(|one| one.role == Role::Main);
    containers.iter().enumerate().all(|(index, one)| lets_pass(containers, index, one))
        || first_main.is_some_and(|first| has_begun_from(containers, first))
}

/// The containers that may start now, if they are due.
pub(super) fn candidates(containers: &[Tracked]) -> Vec<usize> {
    let mut found = Vec::new();
    for (index, one) in containers.iter().enumerate() {
        if one.role == Role::Init && one.succeeded() {
            continue;
        }
        found.push(index);
        if !lets_pass(containers, index, one) {
            break;
        }
    }
    found
}

/// Whether the containers after this one may start.
fn lets_pass(containers: &[Tracked], index: usize, one: &Tracked) -> bool {
    match one.role {
        Role::Main => true,
        Role::Init => one.succeeded(),
        // A sidecar that has let others pass is restarted beside them.
        Role::Sidecar => one.has_started() || has_begun_from(containers, index + 1),
    }
}

/// Whether a container from this one on was started before.
fn has_begun_from(containers: &[Tracked], index: usize) -> bool {
    containers.iter().skip(index).any(Tracked::has_begun)
}

/// Whether it is this container's turn to end: a sidecar ends after everything that started later.
pub(super) fn may_stop(containers: &[Tracked], index: usize) -> bool {
    let is_sidecar = containers.get(index).is_some_and(|one| one.role == Role::Sidecar);
    !is_sidecar || !containers.iter().skip(index + 1).any(Tracked::is_running)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::state::{ExitReason, ExitRecord};

    /// Containers from a word each: the role (`i`, `s`, `m`) and the state: `.` waits, `+`
    /// succeeded, `-` failed, `b` is in back-off.
    fn containers(words: &str) -> Vec<Tracked> {
        let one = |word: &str| {
            let (role, state) = word.split_at(1);
            let role = match role {
                "i" => Role::Init,
                "s" => Role::Sidecar,
                _ => Role::Main,
            };
            let mut one = Tracked::new(word.to_owned(), role);
            let exit = |code| {
                let now = Timestamp::UNIX_EPOCH;
                ExitRecord::not_started(code, ExitReason::Error, String::new(), now)
            };
            one.state = match state {
                "+" => ContainerState::Ended(exit(0)),
                "-" => ContainerState::Ended(exit(1)),
                "b" => {
                    ContainerState::Backoff { until: tokio::time::Instant::now(), exit: exit(1) }
                }
                _ => return one,
            };
            one
        };
        words.split_whitespace().map(one).collect()
    }

    #[test]
    fn containers_start_in_order() {
        for (words, expect) in [
            ("m. m.", &[0, 1][..]),
            ("i. i. m.", &[0]),
            ("i+ i. m.", &[1]),
            ("i+ i+ m. m.", &[2, 3]),
            ("ib m.", &[0]),
            ("s. m.", &[0]),
            ("i+ s. i. m.", &[1]),
            // A sidecar that fails later is restarted, and delays nothing that has begun.
            ("sb i+ m.", &[0, 2]),
            ("sb ib m.", &[0, 1]),
            ("s. i. mb", &[0, 1]),
            ("sb s. mb m.", &[0, 1, 2, 3]),
        ] {
            assert_eq!(candidates(&containers(words)), expect, "{words}");
        }
    }

    #[test]
    fn sidecars_do_not_decide_the_end() {
        use Outcome::{Failed, Succeeded};
        for (words, expect, is_initialized) in [
            ("m.", None, true),
            ("m+ m.", None, true),
            ("m+ m-", Some(Failed), true),
            ("s. m.", None, false),
            ("s- m+", Some(Succeeded), true),
            ("sb m+", Some(Succeeded), true),
            ("sb m-", Some(Failed), true),
            ("i- m.", Some(Failed), false),
            ("i. m.", None, false),
            ("ib m.", None, false),
            ("i+ m+", Some(Succeeded), true),
        ] {
            let containers = containers(words);
            assert_eq!(outcome(&containers), expect, "{words}");
            assert_eq!(super::is_initialized(&containers), is_initialized, "{words}");
        }
    }
}

//! What the contract says of a life, computed independently from what the processes did. It shares
//! nothing with the plan: it looks back over a whole history, while the plan looks at one moment.
//!
//! Where the controller could not know yet (a watch lags, a write was refused, no controller was
//! running) both answers are right within the slack of the life; every decision must be made by
//! then.

use std::collections::BTreeSet;

use serde_json::Value;

use super::clock;
use super::history::{Pod, Written, condition, noted_attempt, number, terminal};
use super::life::Remains;

/// All violations in a life.
pub(crate) fn check(life: &Remains) -> Vec<String> {
    let mut checker = Checker { life, wrong: life.history.broken.clone() };
    checker.events();
    checker.group();
    checker.limits_of_restarts();
    match life.history.statuses.iter().find(|written| terminal(&written.status).is_some()) {
        Some(end) => {
            checker.end_was_right(end);
            checker.end_was_in_time(end);
            checker.what_is_left(end);
        }
        None => checker.nothing_was_missed(),
    }
    checker.wrong
}

struct Checker<'a> {
    life: &'a Remains,
    wrong: Vec<String>,
}

/// What the restart policy of its role says of a failed pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Final,
    Replaced,
}

impl Checker<'_> {
    fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    fn spec(&self, field: &str) -> &Value {
        &self.life.job["spec"][field]
    }

    fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.life.history.pods.values()
    }

    fn role(&self, pod: &Pod) -> &Value {
        let roles = self.spec("mxReplicaSpecs").as_object().unwrap();
        roles.iter().find(|(role, _)| role.to_lowercase() == pod.role).unwrap().1
    }

    /// What the failure of a pod means; `None` if it has not failed, or failed while terminating.
    fn verdict(&self, pod: &Pod) -> Option<Verdict> {
        let (_, revision, code) = pod.ended?;
        if code == Some(0) || pod.terminating.is_some_and(|(_, terminating)| terminating < revision)
        {
            return None;
        }
        Some(match (self.role(pod)["restartPolicy"].as_str().unwrap_or_default(), code) {
            ("Never", _) | ("ExitCode", Some(1..=127)) => Verdict::Final,
            _ => Verdict::Replaced,
        })
    }

    /// The role whose success decides, and its number of replicas.
    fn deciding(&self) -> (String, u64) {
        let count = |role: &str| number(&self.spec("mxReplicaSpecs")[role]["replicas"]);
        let role =
            match (self.spec("jobMode").as_str().unwrap(), self.spec("successPolicy").as_str()) {
                ("MXTune", _) => "Tuner",
                (_, Some("AllWorkers")) => "Worker",
                _ if count("Scheduler") > 0 => "Scheduler",
                _ => "Worker",
            };
        (role.to_lowercase(), count(role))
    }

    /// When every replica of the deciding role had succeeded in that attempt: time and revision;
    /// `None` if not before that revision.
    fn success(
        &self,
        attempt: u64,
        before: u64,
        has_succeeded: fn(&Pod) -> bool,
    ) -> Option<(u64, u64)> {
        let (role, count) = self.deciding();
        let mut firsts = std::collections::BTreeMap::new();
        for pod in self.pods().filter(|pod| pod.role == role && has_succeeded(pod)) {
            if let Some((ms, revision, Some(0))) = pod.ended
                && revision < before
                && (!self.life.history.together || pod.attempt == attempt)
            {
                let first = firsts.entry(&pod.name).or_insert((ms, revision));
                *first = (*first).min((ms, revision));
            }
        }
        (firsts.len() as u64 == count).then(|| firsts.into_values().max().unwrap())
    }

    /// Restarts that could have been counted up to a revision.
    fn restarts(&self, before: u64) -> u64 {
        if self.life.history.together {
            // Each attempt except the first, and one for what may have been seen of the last.
            return self.pods().map(|pod| pod.attempt).max().unwrap_or(0) + 1;
        }
        let failed = |pod: &&Pod| {
            self.verdict(pod) == Some(Verdict::Replaced)
                && pod.ended.is_some_and(|(_, revision, _)| revision < before)
        };
        self.pods().map(|pod| pod.restarts).sum::<u64>() + self.pods().filter(failed).count() as u64
    }

    // === All along ===

    fn events(&mut self) {
        for reason in ["MXJobSucceeded", "MXJobFailed"] {
            // A controller that lost the answer of a write records the event again under the same
            // name: two count as one.
            let ends = self.life.history.statuses.iter().any(|written| {
                condition(&written.status, reason.trim_start_matches("MXJob")) == Some(true)
            });
            if !ends && self.life.history.events.contains_key(reason) {
                self.wrong(format!("{reason} was recorded and did not happen"));
            }
        }
    }

    /// A group exists as long as there is something to schedule.
    fn group(&mut self) {
        let life = self.life;
        let is_over = life.last.as_ref().is_none_or(|job| terminal(&job["status"]).is_some());
        let is_held = life.history.last("suspend").1 == true;
        let expect = usize::from(life.history.has_scheduler && !is_over && !is_held);
        if life.groups.len() != expect {
            self.wrong(format!("there are {} groups and not {expect}", life.groups.len()));
        }
        if let Some(group) = life.groups.first()
            && number(&group["spec"]["minMember"]) == 0
        {
            self.wrong("the group exists without need".to_owned());
        }
    }

    fn limits_of_restarts(&mut self) {
        let limit = self.spec("backoffLimit").as_u64();
        let counted = |status: &Value| {
            let roles = status["mxReplicaStatuses"].as_object();
            roles.into_iter().flatten().map(|(_, counts)| number(&counts["restarts"])).sum::<u64>()
        };
        let statuses = &self.life.history.statuses;
        if let Some(written) = statuses
            .iter()
            .find(|written| limit.is_some_and(|limit| counted(&written.status) > limit))
        {
            let at = clock::text(written.ms);
            self.wrong(format!("at {at} more restarts were counted than backoffLimit allows"));
        }
        let Some(last) = statuses.last() else { return };
        let (counted, possible) = (counted(&last.status), self.restarts(last.revision));
        if counted > possible {
            self.wrong(format!(
                "{counted} restarts were counted, and there were {possible} at most"
            ));
        }
        let replaced = self
            .pods()
            .filter(|pod| pod.was_replaced && self.verdict(pod) == Some(Verdict::Replaced))
            .count() as u64;
        if !self.life.history.together && counted < replaced {
            self.wrong(format!("{replaced} pods were replaced and {counted} restarts counted"));
        }
    }

    // === The end ===

    fn end_was_right(&mut self, end: &Written) {
        let attempt = noted_attempt(&end.status);
        let finals = self.finals(end);
        if terminal(&end.status) == Some("Succeeded") {
            match self.success(attempt, end.revision, Pod::may_have_succeeded) {
                None => {
                    self.wrong("it succeeded without the success of the deciding role".to_owned())
                }
                Some((success, revision)) => {
                    // No controller waits for workers that still run, so an end this soon was
                    // decided with knowledge of all their ends.
                    let early = self.life.sight < 1000 && end.ms < success + 9000;
                    // A controller that saw the success saw all earlier failures, and later ones if
                    // there was time.
                    let passed_over = finals.iter().find(|pod| {
                        pod.ended.is_some_and(|(ms, failed, _)| {
                            failed < revision
                                || ms + self.life.sight + self.life.history.absence(ms, end.ms)
                                    < end.ms
                                || early
                        })
                        // A pod that terminated because of a suspension has not failed the job.
                        && pod.terminating.is_none_or(|(_, terminating)| terminating > end.revision)
                    });
                    if let Some(pod) = passed_over {
                        self.wrong(format!(
                            "it succeeded although {} had failed for good",
                            pod.name
                        ));
                    }
                }
            }
            return;
        }
        let message = end.status["conditions"].as_array().unwrap().last().unwrap()["message"]
            .as_str()
            .unwrap();
        let cause = if message.contains("longer than its deadline") {
            let start = clock::parse(end.status["startTime"].as_str().unwrap());
            let values = self.life.history.values(
                "activeDeadlineSeconds",
                end.ms.saturating_sub(self.life.slack),
                end.ms,
            );
            values
                .iter()
                .filter_map(Value::as_u64)
                .any(|deadline| end.ms >= start + deadline * 1000)
        } else if message.contains("backoff limit") {
            self.spec("backoffLimit")
                .as_u64()
                .is_some_and(|limit| self.restarts(end.revision) > limit)
        } else {
            !finals.is_empty()
        };
        if !cause {
            self.wrong(format!("it failed without a cause: {message}"));
        }
    }

    /// Pods that had failed finally before an end.
    fn finals(&self, end: &Written) -> Vec<Pod> {
        let counts = |pod: &&Pod| {
            self.verdict(pod) == Some(Verdict::Final)
                && pod.ended.is_some_and(|(_, revision, _)| revision < end.revision)
                && (!self.life.history.together || pod.attempt == end.attempt)
        };
        self.pods().filter(counts).cloned().collect()
    }

    fn end_was_in_time(&mut self, end: &Written) {
        let (life, start) = (self.life, &end.status["startTime"]);
        let Some(start) = start.as_str().map(clock::parse) else { return };
        let (since, deadline) = life.history.last("activeDeadlineSeconds");
        if let Some(deadline) = deadline.as_u64() {
            let due = (start + deadline * 1000).max(since);
            let late = end.ms.saturating_sub(due + life.history.absence(due, end.ms));
            if since < end.ms && end.ms > due && late > life.slack {
                self.wrong(format!("the deadline was {late} ms late"));
            }
        }
        let first = self
            .pods()
            .filter(|pod| self.verdict(pod) == Some(Verdict::Final) && pod.terminating.is_none());
        if let Some(failed) =
            first.filter_map(|pod| Some(pod.ended?.0)).filter(|failed| *failed < end.ms).min()
        {
            let since = life.history.last("suspend").0.max(failed);
            let late = end.ms.saturating_sub(since + life.history.absence(since, end.ms));
            if since < end.ms && late > life.slack {
                self.wrong(format!("a final failure was reported {late} ms late"));
            }
        }
    }

    fn what_is_left(&mut self, end: &Written) {
        let life = self.life;
        let completion = clock::parse(end.status["completionTime"].as_str().unwrap());
        let (since, ttl) = life.history.last("ttlSecondsAfterFinished");
        let due = ttl.as_u64().map(|ttl| (completion + ttl * 1000).max(since));
        match (life.history.deleted, due) {
            (Some(deleted), _) => {
                let values = life.history.values(
                    "ttlSecondsAfterFinished",
                    deleted.saturating_sub(life.slack),
                    deleted,
                );
                if !values
                    .iter()
                    .filter_map(Value::as_u64)
                    .any(|ttl| deleted >= completion + ttl * 1000)
                {
                    self.wrong("it was deleted before its time".to_owned());
                }
                if let Some(due) = due {
                    let late = deleted.saturating_sub(due + life.history.absence(due, deleted));
                    if late > life.slack {
                        self.wrong(format!("it was deleted {late} ms late"));
                    }
                }
            }
            (None, Some(due)) if life.end > due + life.slack => {
                self.wrong("it was not deleted when its time was up".to_owned())
            }
            (None, _) => {}
        }
        let has_ended =
            |pod: &Value| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        let names: BTreeSet<String> = life.pods.iter().map(name).collect();
        let has_failed = terminal(&end.status) == Some("Failed");
        if life.history.deleted.is_some() {
            if !life.pods.is_empty() || !life.services.is_empty() {
                self.wrong("the garbage collector had no time".to_owned());
            }
            return;
        }
        let policy = life.history.last("cleanPodPolicy").1;
        match policy.as_str().unwrap_or("Running") {
            "All" if !life.pods.is_empty() || !life.services.is_empty() => {
                self.wrong(format!(
                    "under All {names:?} and {} services are left",
                    life.services.len()
                ));
            }
            "Running" => {
                if let Some(pod) = life.pods.iter().find(|pod| !has_ended(pod)) {
                    self.wrong(format!("under Running {} is left", name(pod)));
                }
                if let Some(service) =
                    life.services.iter().find(|service| !names.contains(&name(service)))
                {
                    self.wrong(format!("the service {} has no pod", name(service)));
                }
            }
            "None" if has_failed => {
                if let Some(pod) = life.pods.iter().find(|pod| !has_ended(pod)) {
                    self.wrong(format!("{} waits for a dead rendezvous", name(pod)));
                }
            }
            _ => {}
        }
        self.kept(end);
        self.counts(end);
    }

    /// What the policy keeps was kept.
    fn kept(&mut self, end: &Written) {
        let policies = self.life.history.values(
            "cleanPodPolicy",
            end.ms.saturating_sub(self.life.slack),
            self.life.end,
        );
        if policies.iter().any(|policy| policy == "All") {
            return;
        }
        // It ended before the job, still existed at the end, and long enough to be seen.
        let lost = self.pods().find(|pod| {
            pod.ended.is_some_and(|(ms, revision, _)| {
                revision < end.revision
                    && pod.terminating.is_some_and(|(removed, terminating)| {
                        terminating > end.revision && removed > ms + self.life.slack
                    })
            })
        });
        if let Some(pod) = lost
            && self.verdict(pod) != Some(Verdict::Replaced)
        {
            self.wrong(format!("{} had ended and was not kept", pod.name.clone()));
        }
    }

    fn counts(&mut self, end: &Written) {
        let status = &self.life.last.as_ref().unwrap()["status"];
        let attempt = noted_attempt(&end.status);
        for (role, counts) in status["mxReplicaStatuses"].as_object().unwrap().clone() {
            let of_role = |pod: &&Pod| {
                pod.role == role.to_lowercase()
                    && (!self.life.history.together || pod.attempt == attempt)
            };
            let succeeded: BTreeSet<&String> = self
                .pods()
                .filter(of_role)
                .filter(|pod| pod.may_have_succeeded())
                .map(|pod| &pod.name)
                .collect();
            let seen: BTreeSet<&String> = self
                .pods()
                .filter(of_role)
                .filter(|pod| {
                    pod.must_have_succeeded()
                        && pod.ended.is_some_and(|(ms, ..)| ms + self.life.slack < end.ms)
                })
                .filter(|pod| self.life.history.absence(pod.ended.unwrap().0, end.ms) == 0)
                .map(|pod| &pod.name)
                .collect();
            let (least, most) = (seen.len() as u64, succeeded.len() as u64);
            let counted = number(&counts["succeeded"]);
            if counted < least || counted > most {
                self.wrong(format!(
                    "{counted} of {role} succeeded by the status, and {least} to {most} in truth"
                ));
            }
            let running = self.life.pods.iter().filter(|pod| {
                pod["status"]["phase"] == "Running"
                    && pod["metadata"]["labels"]["training.kubeflow.org/replica-type"]
                        == role.to_lowercase()
            });
            let running = running.count() as u64;
            if number(&counts["active"]) != running {
                self.wrong(format!(
                    "{} of {role} are active by the status, and {running} run",
                    counts["active"]
                ));
            }
        }
    }

    // === A job that goes on ===

    fn nothing_was_missed(&mut self) {
        let life = self.life;
        let Some(last) = &life.last else {
            return self.wrong("a job was deleted that had not ended".to_owned());
        };
        let status = &last["status"];
        if life.history.last("suspend").1 == true {
            if condition(status, "Suspended") != Some(true) {
                self.wrong("it is suspended and does not say so".to_owned());
            }
            if !life.pods.is_empty() || !life.services.is_empty() {
                self.wrong("objects of a suspended job are left".to_owned());
            }
            return;
        }
        let attempt = noted_attempt(status);
        if self.success(attempt, u64::MAX, Pod::must_have_succeeded).is_some() {
            self.wrong("it has succeeded and does not say so".to_owned());
        }
        let failed =
            self.pods().find(|pod| !pod.is_gone && self.verdict(pod) == Some(Verdict::Final));
        if let Some(pod) = failed {
            self.wrong(format!("{} has failed for good and the job goes on", pod.name.clone()));
        }
        let Some(start) = status["startTime"].as_str().map(clock::parse) else {
            return self.wrong("it has no start".to_owned());
        };
        let deadline = life.history.last("activeDeadlineSeconds").1;
        if deadline.as_u64().is_some_and(|deadline| life.end > start + deadline * 1000 + life.slack)
        {
            self.wrong("its deadline has passed".to_owned());
        }
        // No replica is missing: those that have not succeeded run.
        for (role, spec) in life.job["spec"]["mxReplicaSpecs"].as_object().unwrap() {
            for index in 0..number(&spec["replicas"]) {
                let name = format!("digits-{}-{index}", role.to_lowercase());
                let pod = life.pods.iter().find(|pod| pod["metadata"]["name"] == name.as_str());
                let runs = pod.is_some_and(|pod| pod["status"]["phase"] == "Running");
                let has_succeeded = self.pods().any(|pod| {
                    pod.name == name
                        && pod.may_have_succeeded()
                        && (!life.history.together || pod.attempt == attempt)
                });
                if !runs && !has_succeeded {
                    self.wrong(format!("{name} neither runs nor has succeeded"));
                }
            }
        }
        if condition(status, "Running") != Some(true) {
            self.wrong("it runs and does not say so".to_owned());
        }
    }
}

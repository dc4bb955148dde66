//! Conditions and their order.
//!
//! `kubectl get` prints the type of the last condition as the job's state, so the order is part of
//! the contract: the newest transition is last, and the last condition is always True. Three rules
//! ensure that:
//!
//! * a condition that becomes True goes to the end; any other change stays in place;
//! * if the last condition is not True, the newest True one moves behind it (after a resume that is
//!   `Created`, so the state never reads `Suspended`);
//! * `Created` otherwise stays first.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JobStatus;
use crate::time;

/// The type of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ConditionType {
    /// The job was accepted.
    Created,
    /// The replicas that decide success are running.
    Running,
    /// Replicas are being replaced.
    Restarting,
    /// The job is suspended.
    Suspended,
    /// The job has succeeded.
    Succeeded,
    /// The job has failed.
    Failed,
    /// A condition of another writer, kept unchanged.
    Other(String),
}

impl ConditionType {
    /// The spelling on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Created => "Created",
            Self::Running => "Running",
            Self::Restarting => "Restarting",
            Self::Suspended => "Suspended",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Other(name) => name,
        }
    }

    /// The default reason when the condition is True: `MXJob{Type}`.
    pub fn reason(&self) -> String {
        format!("MXJob{}", self.as_str())
    }

    /// Whether the job has finished when this condition is True.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl From<String> for ConditionType {
    fn from(text: String) -> Self {
        match text.as_str() {
            "Created" => Self::Created,
            "Running" => Self::Running,
            "Restarting" => Self::Restarting,
            "Suspended" => Self::Suspended,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            _ => Self::Other(text),
        }
    }
}

impl From<ConditionType> for String {
    fn from(kind: ConditionType) -> Self {
        kind.as_str().to_owned()
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It is true.
    True,
    /// It is false, or no longer true.
    False,
    /// It is not known.
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub kind: ConditionType,
    /// Its status.
    pub status: ConditionStatus,
    /// Machine-readable reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(with = "Option<String>")]
    pub reason: String,
    /// Human-readable message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(with = "Option<String>")]
    pub message: String,
    /// When any part of it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    #[schemars(with = "Option<crate::schema::Time>")]
    pub last_update_time: Option<Timestamp>,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    #[schemars(with = "Option<crate::schema::Time>")]
    pub last_transition_time: Option<Timestamp>,
}

impl JobStatus {
    /// The condition of a type, whatever its status.
    pub fn condition(&self, kind: &ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == *kind)
    }

    /// Whether the condition of a type is True.
    pub fn is_true(&self, kind: &ConditionType) -> bool {
        self.condition(kind).is_some_and(|condition| condition.status == ConditionStatus::True)
    }

    /// Whether the job has finished: only counts change after that.
    pub fn is_finished(&self) -> bool {
        self.is_true(&ConditionType::Succeeded) || self.is_true(&ConditionType::Failed)
    }

    /// Sets a condition and updates those that depend on it; returns whether anything changed.
    ///
    /// Nothing changes after a terminal condition. `Running` and `Restarting` replace each other.
    /// The end of the job sets both to False in place; so does suspending, with its own reason and
    /// message.
    pub fn set_condition(
        &mut self,
        kind: ConditionType,
        status: ConditionStatus,
        reason: &str,
        message: &str,
        now: Timestamp,
    ) -> bool {
        if self.is_finished() {
            return false;
        }
        let now = time::whole_seconds(now);
        if self.condition(&kind).is_some_and(|old| old.says(status, reason, message)) {
            return false;
        }
        if status == ConditionStatus::True {
            self.follow(&kind, reason, message, now);
        }
        let becomes_true = status == ConditionStatus::True && !self.is_true(&kind);
        match self.conditions.iter_mut().find(|condition| condition.kind == kind) {
            Some(old) if !becomes_true => old.update(status, reason, message, now),
            _ => {
                self.conditions.retain(|condition| condition.kind != kind);
                self.conditions.push(Condition {
                    kind,
                    status,
                    reason: reason.to_owned(),
                    message: message.to_owned(),
                    last_update_time: Some(now),
                    last_transition_time: Some(now),
                });
            }
        }
        self.order();
        true
    }

    /// The effects on other conditions when this one becomes True.
    fn follow(&mut self, kind: &ConditionType, reason: &str, message: &str, now: Timestamp) {
        use ConditionType::{Failed, Restarting, Running, Succeeded, Suspended};
        match kind {
            Running => self.conditions.retain(|condition| condition.kind != Restarting),
            Restarting => self.conditions.retain(|condition| condition.kind != Running),
            Suspended => {
                for condition in self.active_conditions() {
                    condition.update(ConditionStatus::False, reason, message, now);
                }
            }
            Succeeded | Failed => {
                for condition in self.active_conditions() {
                    let (reason, message) = (condition.reason.clone(), condition.message.clone());
                    condition.update(ConditionStatus::False, &reason, &message, now);
                }
            }
            ConditionType::Created | ConditionType::Other(_) => {}
        }
    }

    fn active_conditions(&mut self) -> impl Iterator<Item = &mut Condition> {
        self.conditions.iter_mut().filter(|condition| {
            matches!(condition.kind, ConditionType::Running | ConditionType::Restarting)
                && condition.status == ConditionStatus::True
        })
    }

    fn order(&mut self) {
        self.conditions.sort_by_key(|condition| condition.kind != ConditionType::Created);
        let newest =
            self.conditions.iter().rposition(|condition| condition.status == ConditionStatus::True);
        if let Some(newest) = newest {
            let condition = self.conditions.remove(newest);
            self.conditions.push(condition);
        }
    }
}

impl Condition {
    fn says(&self, status: ConditionStatus, reason: &str, message: &str) -> bool {
        self.status == status && self.reason == reason && self.message == message
    }

    /// Changes a condition in place.
    fn update(&mut self, status: ConditionStatus, reason: &str, message: &str, now: Timestamp) {
        if self.status != status {
            self.last_transition_time = Some(now);
        }
        self.status = status;
        reason.clone_into(&mut self.reason);
        message.clone_into(&mut self.message);
        self.last_update_time = Some(now);
    }
}

//! The effects on pod groups: one object for all pods of a job. It is changed, while pods and
//! services never are.

use serde_json::Value;

use super::Effects;
use super::announce::CREATED;
use crate::event::EventKind;
use crate::executor::cache::Resource;
use crate::executor::error::ReconcileError;
use crate::executor::requests::{self, Child};
use crate::pod_group::GroupAction;
use crate::pod_group::member::{self, Kind};

impl Effects<'_> {
    /// Creates or changes the pod group.
    pub(super) async fn apply_group(self) -> Result<(), ReconcileError> {
        let Some(scheduler) = &self.context.scheduler else { return Ok(()) };
        let child = Child::PodGroup(Kind::of(scheduler));
        match self.group {
            GroupAction::Keep | GroupAction::Remove(_) => Ok(()),
            GroupAction::Create(object) => {
                let done = self.post(child, &self.job.name, object).await?;
                self.announce(&CREATED, child, vec![done]);
                if member::names_another_scheduler(scheduler, self.job) {
                    let message = "Another scheduler is specified when gang-scheduling is enabled and it will not be overwritten";
                    let reason = "SetPodTemplateSchedulerName".to_owned();
                    self.record(EventKind::Warning, reason, message.to_owned(), "");
                }
                Ok(())
            }
            GroupAction::Change { name, patch } => match self.patch_group(child, name, patch).await
            {
                Ok(()) => Ok(()),
                Err(error) if requests::is_not_found(&error) || requests::is_conflict(&error) => {
                    Err(ReconcileError::Conflict)
                }
                Err(error) => {
                    let message = format!("Error updating: {}", requests::describe(&error));
                    let reason = "FailedUpdatePodGroup".to_owned();
                    self.record(EventKind::Warning, reason, message, "");
                    Err(ReconcileError::Change {
                        object: format!("{} {name}", child.noun()),
                        source: error,
                    })
                }
            },
        }
    }

    pub(super) async fn patch_group(
        self,
        child: Child,
        name: &str,
        patch: &Value,
    ) -> kube::Result<()> {
        let requests = &self.context.requests;
        let answer = requests.patch(child, &self.job.namespace, name, patch).await?;
        self.context.cache.wrote(Resource::Children(child), &answer);
        Ok(())
    }
}

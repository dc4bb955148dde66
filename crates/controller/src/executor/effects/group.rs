//! The effects on pod groups: one object for all pods of a job, which is changed where the others never are.

use super::{Effects, Error};
use crate::executor::cache::Resource;
use crate::executor::requests::{self, Child};
use crate::plan::EventKind;
use crate::pod_group::{self, Kind, Step};
use serde_json::Value;

impl Effects<'_> {
    /// Makes the pod group, or changes it.
    pub(super) async fn tend_group(self) -> Result<(), Error> {
        let Some(scheduler) = &self.context.scheduler else { return Ok(()) };
        let child = Child::PodGroup(Kind::of(scheduler));
        match self.group {
            Step::Keep | Step::Remove(_) => Ok(()),
            Step::Create(object) => {
                self.post(child, &self.job.name, object).await?;
                if pod_group::names_another_scheduler(scheduler, self.job) {
                    let message = "Another scheduler is specified when gang-scheduling is enabled and it will not be overwritten";
                    let reason = "SetPodTemplateSchedulerName".to_owned();
                    self.tell(EventKind::Warning, reason, message.to_owned(), "");
                }
                Ok(())
            }
            Step::Change { name, patch } => match self.patch_group(child, name, patch).await {
                Ok(()) => Ok(()),
                Err(error) if requests::is_not_found(&error) || requests::is_conflict(&error) => {
                    Err(Error::Conflict)
                }
                Err(error) => {
                    let message = format!("Error updating: {}", requests::describe(&error));
                    let reason = "FailedUpdatePodGroup".to_owned();
                    self.tell(EventKind::Warning, reason, message, "");
                    Err(Error::Change { object: format!("{} {name}", child.word()), source: error })
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

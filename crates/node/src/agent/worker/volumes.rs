//! The volumes of a pod while it runs, and when it has ended.

use tokio::time::Instant;

use super::{Level, Worker, status};

/// The reason of a pod that was ended because it used too much.
const EVICTED: &str = "Evicted";

impl Worker {
    /// Refreshes the volumes and checks their sizes where it is time to, and frees the memory of a
    /// pod that has ended.
    pub(super) async fn keep_volumes(&mut self) {
        let Some(sandbox) = &self.sandbox else { return };
        if self.finished_before || status::phase(&self.containers).is_final() {
            if !self.is_running() {
                self.upkeep.free(sandbox).await;
            }
            return;
        }
        if !self.has_live_volumes() {
            return;
        }
        self.upkeep.refresh(&self.context, &self.pod, sandbox).await;
        if let Some(message) = self.upkeep.measure(&self.context, &self.pod, sandbox).await {
            self.context.events.pod(&self.pod, Level::Warning, EVICTED, message.clone());
            self.ended_by_node = Some((EVICTED, message));
        }
    }

    /// Whether the pod was ended because a volume is too large. It gets no time to use more.
    pub(super) fn is_evicted(&self) -> bool {
        self.ended_by_node.as_ref().is_some_and(|(reason, _)| *reason == EVICTED)
    }

    /// Whether programs may see the volumes.
    fn has_live_volumes(&self) -> bool {
        self.terminating.is_none() && self.ended_by_node.is_none() && self.is_running()
    }

    /// When [`Self::keep_volumes`] has something to do.
    pub(super) fn volumes_due_at(&self) -> Option<Instant> {
        self.sandbox.as_ref()?;
        let due_at = self.upkeep.due_at(&self.context, &self.pod);
        due_at.filter(|_| self.has_live_volumes())
    }
}

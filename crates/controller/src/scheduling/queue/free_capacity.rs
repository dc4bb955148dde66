//! The free capacity of the nodes, and placing pods in it.

use mxjob_machinery::resources::{PODS, Resources, display};

use super::{Allocation, NodeCapacity, PodRequest, QueuedJob};

/// The free resources of each node. Copies are cheap: a few numbers for each node.
#[derive(Clone, Debug)]
pub(super) struct FreeCapacity<'a> {
    /// Sorted by name.
    nodes: Vec<(&'a NodeCapacity, Resources)>,
}

impl<'a> FreeCapacity<'a> {
    /// Nodes without any pods, including nodes that are not schedulable at the moment.
    pub(super) fn empty(nodes: &'a [NodeCapacity]) -> Self {
        Self::of(nodes.iter())
    }

    /// The schedulable nodes minus what is allocated on them.
    pub(super) fn left(nodes: &'a [NodeCapacity], allocations: &[Allocation]) -> Self {
        let mut free_capacity = Self::of(nodes.iter().filter(|node| node.is_schedulable));
        for allocation in allocations {
            let Some(name) = &allocation.node else { continue };
            if let Some((_, free)) =
                free_capacity.nodes.iter_mut().find(|(node, _)| node.name == *name)
            {
                free.subtract(&allocation.request.requests.times(allocation.count));
            }
        }
        // After the bound ones: these take what is left, as they will when they are bound.
        for allocation in allocations.iter().filter(|allocation| allocation.node.is_none()) {
            free_capacity.claim(&allocation.request, allocation.count);
        }
        free_capacity
    }

    fn of(nodes: impl Iterator<Item = &'a NodeCapacity>) -> Self {
        // A new node has not reported its resources yet: nothing can be concluded from that.
        let nodes = nodes.filter(|node| node.allocatable.iter().next().is_some());
        let mut nodes: Vec<_> = nodes.map(|node| (node, node.allocatable.clone())).collect();
        nodes.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        Self { nodes }
    }

    pub(super) fn has_no_nodes(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What is left after placing this job; `None` if it cannot start.
    pub(super) fn with(&self, job: &QueuedJob) -> Option<Self> {
        if !job.min_resources.fits(&self.total()) {
            return None;
        }
        let mut free_capacity = self.clone();
        let mut needed = job.min_available;
        for (request, count) in &job.replicas {
            let must = needed.min(*count);
            needed -= must;
            for _ in 0..must {
                if !free_capacity.place(request) {
                    return None;
                }
            }
            free_capacity.claim(request, count - must);
        }
        Some(free_capacity)
    }

    /// Takes capacity for pods even if there is none: what a started job still needs, no other job
    /// may have. A pod that would not fit any empty node waits for capacity that never becomes free
    /// here, so it takes nothing.
    fn claim(&mut self, request: &PodRequest, count: u32) {
        for done in 0..count {
            if self.place(request) {
                continue;
            }
            let could_take = |node: &NodeCapacity| {
                selects(request, node) && request.requests.fits(&node.allocatable)
            };
            if let Some((_, free)) = self.nodes.iter_mut().find(|(node, _)| could_take(node)) {
                free.subtract(&request.requests.times(count - done));
            }
            return;
        }
    }

    /// Takes capacity for a pod on the first node that has it.
    fn place(&mut self, request: &PodRequest) -> bool {
        let place = self
            .nodes
            .iter_mut()
            .find(|(node, free)| selects(request, node) && request.requests.fits(free));
        let Some((_, free)) = place else { return false };
        free.subtract(&request.requests);
        true
    }

    fn total(&self) -> Resources {
        let mut total = Resources::default();
        for (_, free) in &self.nodes {
            total.add(free);
        }
        total
    }

    /// Why a job does not fit, as a clause: what it requests and what the nodes have.
    pub(super) fn objection(&self, job: &QueuedJob) -> String {
        let total = self.total();
        let mut asked = needs(job);
        for (name, amount) in job.min_resources.iter() {
            asked.set(name, asked.get(name).max(amount));
        }
        if let Some(name) = asked.lacking(&total).next() {
            let (asked, have) = (display(name, asked.get(name)), display(name, total.get(name)));
            return format!("it requests {asked} of {name} in total and the nodes have {have}");
        }
        for (request, _) in &job.replicas {
            let mut selected =
                self.nodes.iter().filter(|(node, _)| selects(request, node)).peekable();
            if selected.peek().is_none() {
                let labels: Vec<String> =
                    request.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
                return format!("no node has the labels {}", labels.join(", "));
            }
            let missing = selected.map(|(_, free)| request.requests.lacking(free).next());
            if let Some(Some(name)) = missing.min() {
                let asked = display(name, request.requests.get(name));
                return format!(
                    "one of its replicas needs {asked} of {name}, more than a node has"
                );
            }
        }
        "its replicas do not fit the nodes together".to_owned()
    }
}

/// The sum of what the required replicas request.
fn needs(job: &QueuedJob) -> Resources {
    let mut sum = Resources::default();
    let mut needed = job.min_available;
    for (request, count) in &job.replicas {
        let must = needed.min(*count);
        needed -= must;
        sum.add(&request.requests.times(must));
    }
    sum
}

/// The same as text: `cpu 4, memory 8Gi for 3 pods`.
pub(super) fn describe(job: &QueuedJob) -> String {
    let sum = needs(job);
    let amounts = sum.iter().filter(|(name, amount)| *name != PODS && *amount > 0);
    let amounts: Vec<String> =
        amounts.map(|(name, amount)| format!("{name} {}", display(name, amount))).collect();
    match sum.get(PODS) {
        1 if amounts.is_empty() => "a place for 1 pod".to_owned(),
        pods if amounts.is_empty() => format!("places for {pods} pods"),
        1 => format!("{} for 1 pod", amounts.join(", ")),
        pods => format!("{} for {pods} pods", amounts.join(", ")),
    }
}

fn selects(request: &PodRequest, node: &NodeCapacity) -> bool {
    request.selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
}

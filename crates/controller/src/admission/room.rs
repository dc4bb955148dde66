//! The room that nodes have left, and finding a place in it.

use super::{Ask, Candidate, Holding, Node};
use mxjob_machinery::resources::{PODS, Resources, display};

/// What is free, node by node. Cheap to try things on: a copy is a few numbers a node.
#[derive(Clone, Debug)]
pub(super) struct Room<'a> {
    /// In the order of names.
    nodes: Vec<(&'a Node, Resources)>,
}

impl<'a> Room<'a> {
    /// Nodes with nothing on them, those that are closed at the moment included.
    pub(super) fn empty(nodes: &'a [Node]) -> Self {
        Self::of(nodes.iter())
    }

    /// The open nodes with what is on them.
    pub(super) fn left(nodes: &'a [Node], holdings: &[Holding]) -> Self {
        let mut room = Self::of(nodes.iter().filter(|node| node.is_open));
        for holding in holdings {
            let Some(name) = &holding.node else { continue };
            if let Some((_, free)) = room.nodes.iter_mut().find(|(node, _)| node.name == *name) {
                free.subtract(&holding.ask.requests.times(holding.count));
            }
        }
        // After the bound ones: these take what is left, as they will when they are bound.
        for holding in holdings.iter().filter(|holding| holding.node.is_none()) {
            room.claim(&holding.ask, holding.count);
        }
        room
    }

    fn of(nodes: impl Iterator<Item = &'a Node>) -> Self {
        // A node that has just been made has not said yet what it has: nothing can be concluded from that.
        let nodes = nodes.filter(|node| node.allocatable.iter().next().is_some());
        let mut nodes: Vec<_> = nodes.map(|node| (node, node.allocatable.clone())).collect();
        nodes.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        Self { nodes }
    }

    pub(super) fn is_nowhere(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The room that is left with this job in it; `None` if it cannot start.
    pub(super) fn with(&self, job: &Candidate) -> Option<Self> {
        if !job.min_resources.fits(&self.total()) {
            return None;
        }
        let mut room = self.clone();
        let mut needed = job.min_available;
        for (ask, count) in &job.replicas {
            let must = needed.min(*count);
            needed -= must;
            for _ in 0..must {
                if !room.place(ask) {
                    return None;
                }
            }
            room.claim(ask, count - must);
        }
        Some(room)
    }

    /// Takes room for pods whether there is any or not: what a job that started lacks, nobody else may have. A pod that would fit no node if
    /// it were empty lacks nothing that will ever become free, so it takes nothing.
    fn claim(&mut self, ask: &Ask, count: u32) {
        for done in 0..count {
            if self.place(ask) {
                continue;
            }
            let could_take =
                |node: &Node| is_wanted(ask, node) && ask.requests.fits(&node.allocatable);
            if let Some((_, free)) = self.nodes.iter_mut().find(|(node, _)| could_take(node)) {
                free.subtract(&ask.requests.times(count - done));
            }
            return;
        }
    }

    /// Takes room for a pod on the first node that has it.
    fn place(&mut self, ask: &Ask) -> bool {
        let place = self
            .nodes
            .iter_mut()
            .find(|(node, free)| is_wanted(ask, node) && ask.requests.fits(free));
        let Some((_, free)) = place else { return false };
        free.subtract(&ask.requests);
        true
    }

    fn total(&self) -> Resources {
        let mut total = Resources::default();
        for (_, free) in &self.nodes {
            total.add(free);
        }
        total
    }

    /// Why a job does not fit here, as a clause: what is asked for and what there is.
    pub(super) fn objection(&self, job: &Candidate) -> String {
        let total = self.total();
        let mut asked = needs(job);
        for (name, amount) in job.min_resources.iter() {
            asked.set(name, asked.get(name).max(amount));
        }
        if let Some(name) = asked.lacking(&total).next() {
            let (asked, have) = (display(name, asked.get(name)), display(name, total.get(name)));
            return format!("it needs {asked} of {name} at once and the nodes have {have} in all");
        }
        for (ask, _) in &job.replicas {
            let mut wanted = self.nodes.iter().filter(|(node, _)| is_wanted(ask, node)).peekable();
            if wanted.peek().is_none() {
                let labels: Vec<String> =
                    ask.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
                return format!("no node has the labels {}", labels.join(", "));
            }
            let lacks = wanted.map(|(_, free)| ask.requests.lacking(free).next());
            if let Some(Some(name)) = lacks.min() {
                let asked = display(name, ask.requests.get(name));
                return format!(
                    "one of its replicas needs {asked} of {name}, more than a node has"
                );
            }
        }
        "its replicas do not fit the nodes together".to_owned()
    }
}

/// What the replicas that must fit ask for in all.
fn needs(job: &Candidate) -> Resources {
    let mut sum = Resources::default();
    let mut needed = job.min_available;
    for (ask, count) in &job.replicas {
        let must = needed.min(*count);
        needed -= must;
        sum.add(&ask.requests.times(must));
    }
    sum
}

/// The same in words: `cpu 4, memory 8Gi and 3 pods`.
pub(super) fn describe(job: &Candidate) -> String {
    let sum = needs(job);
    let amounts = sum.iter().filter(|(name, amount)| *name != PODS && *amount > 0);
    let words: Vec<String> =
        amounts.map(|(name, amount)| format!("{name} {}", display(name, amount))).collect();
    match sum.get(PODS) {
        1 if words.is_empty() => "a place for 1 pod".to_owned(),
        pods if words.is_empty() => format!("places for {pods} pods"),
        1 => format!("{} for 1 pod", words.join(", ")),
        pods => format!("{} for {pods} pods at once", words.join(", ")),
    }
}

fn is_wanted(ask: &Ask, node: &Node) -> bool {
    ask.selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
}

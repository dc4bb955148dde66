//! Merging an applied configuration into the live object.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::Value;

use super::{
    set::Element,
    shape::Shape,
    tree::{View, view},
};

/// What the live value becomes when the configuration is laid over it.
pub(super) fn merge(live: &Value, config: &Value, shape: &Shape) -> Value {
    match (view(Some(live), shape), view(Some(config), shape)) {
        (View::Node(_), View::Node(_)) => match (live, config) {
            (Value::Object(live), Value::Object(config)) => {
                let mut merged = live.clone();
                for (name, value) in config {
                    let value = match live.get(name) {
                        Some(current) => merge(current, value, shape.field(name).0),
                        None => value.clone(),
                    };
                    merged.insert(name.clone(), value);
                }
                Value::Object(merged)
            }
            _ => merge_lists(live, config, shape),
        },
        _ => config.clone(),
    }
}

/// Items of both lists: those of the configuration in its order, those only in the live list where
/// they were between them.
fn merge_lists(live: &Value, config: &Value, shape: &Shape) -> Value {
    let children = |value| match view(Some(value), shape) {
        View::Node(children) => {
            children.into_iter().map(|child| (child.element, child.value)).collect()
        }
        View::Absent | View::Null | View::Leaf(_) => VecDeque::new(),
    };
    let mut left: VecDeque<(Element, &Value)> = children(live);
    let mut right: VecDeque<(Element, &Value)> = children(config);
    let in_config: HashSet<Element> = right.iter().map(|(element, _)| element.clone()).collect();
    let in_live: HashMap<Element, &Value> = left.iter().cloned().collect();
    // What both have, in the order it will come out.
    let mut shared: VecDeque<Element> = right
        .iter()
        .filter(|(element, _)| in_live.contains_key(element))
        .map(|(element, _)| element.clone())
        .collect();
    let mut merged = Vec::with_capacity(left.len() + right.len());
    loop {
        if let Some((element, value)) = left.front() {
            if !in_config.contains(element) {
                merged.push((*value).clone());
                left.pop_front();
                continue;
            }
            // The configuration has it too, and decides where it goes.
            if shared.front() != Some(element) {
                left.pop_front();
                continue;
            }
        }
        let Some((element, value)) = right.pop_front() else { break };
        if shared.front() == Some(&element) {
            shared.pop_front();
        }
        if left.front().is_some_and(|(next, _)| *next == element) {
            left.pop_front();
        }
        merged.push(match in_live.get(&element) {
            Some(current) => merge(current, value, shape.item()),
            None => value.clone(),
        });
    }
    Value::Array(merged)
}

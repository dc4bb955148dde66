//! The memory of rows whose definitions change all the time. In a binary of its own, because it
//! counts every allocation.
#![allow(clippy::unwrap_used)]

use std::alloc::System;

use mxjob_apiserver::definitions::Definitions;
use mxjob_apiserver::registry::Registry;
use mxjob_store::{Expect, Op, Options, Store, Transaction, Value as Stored};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const STORED: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions";
/// Definitions that one transaction changes or deletes.
const DEFINITIONS: usize = 100;
/// More than 10,000 changes; the last one deletes.
const ROUNDS: usize = 102;
/// More than the noise of queues and buffers. A row of the smallest definition takes 500 bytes.
const MAX_GROWTH: isize = 256 * 1024;

/// A definition with names, columns and a schema that no other one has.
fn definition(index: usize, round: usize) -> Value {
    let field = format!("field{round}");
    json!({
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": { "plural": format!("things{index}") },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "additionalPrinterColumns": [
                    { "name": field, "type": "string", "jsonPath": format!(".spec.{field}") },
                ],
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": { "type": "object", "properties": { field: {
                        "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set",
                    } } },
                } } },
            }],
        },
        "status": {
            "acceptedNames": {
                "plural": format!("things{index}"), "kind": "Thing", "shortNames": [format!("t{round}")],
            },
            "conditions": [{ "type": "Established", "status": "True" }],
        },
    })
}

/// Changes all definitions; every third time it deletes them instead.
fn change(store: &Store, round: usize) {
    let operation = |index: usize| {
        let key = format!("{STORED}/things{index}.example.com").into();
        if round.is_multiple_of(3) {
            return Op::Delete { key, expect: Expect::Any };
        }
        let value = Stored::plain(definition(index, round).to_string());
        Op::Put { key, expect: Expect::Any, value }
    };
    store.commit(Transaction((0..DEFINITIONS).map(operation).collect())).wait().unwrap();
}

#[test]
fn memory_does_not_grow_with_the_number_of_changes_of_definitions() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.history_events = 1;
    let store = Store::open(dir.path(), options).unwrap();
    let (definitions, registry) = (Definitions::default(), Registry::new(true));
    let built_in = registry.served().kinds().len();
    let mut growth = 0;
    for round in 1..=ROUNDS {
        change(&store, round);
        // What the store keeps is not counted: it writes to disk what it no longer needs in memory.
        let region = Region::new(ALLOCATOR);
        definitions.refresh(&store, &registry);
        let used = region.change();
        growth += used.bytes_allocated.cast_signed() - used.bytes_deallocated.cast_signed();
        let defined = registry.served().kinds().len() - built_in;
        assert_eq!(defined, if round.is_multiple_of(3) { 0 } else { DEFINITIONS });
    }
    assert!(growth < MAX_GROWTH, "{growth} bytes in {ROUNDS} rounds");
}

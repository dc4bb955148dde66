//! What an event becomes: a new one, the repeat of an earlier one, part of a group of similar ones,
//! or nothing. The rules and limits are those of client-go's `EventCorrelator`.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hash, RandomState};

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::lru::{Digest, Lru};

/// From so many different messages on, similar events are combined: the same source, object, type
/// and reason.
const MAX_SIMILAR: usize = 10;
/// Similar events have at most so many seconds between them.
const SIMILAR_SECONDS: i64 = 600;
/// Start of the message of combined events.
const COMBINED: &str = "(combined from similar events): ";
/// So many events of one source about one object may come at once.
const BURST: i64 = 25;
/// Then one in so many seconds.
const SECONDS_PER_EVENT: i64 = 300;

/// What was written lately. The time is that of the events.
#[derive(Debug, Default)]
pub(super) struct Correlator {
    /// Two hashers with different keys: nobody can choose texts with equal digests.
    hashers: [RandomState; 2],
    similar: Lru<Similar>,
    written: Lru<Option<Written>>,
    budgets: Lru<Budget>,
}

/// The messages of similar events.
#[derive(Debug, Default)]
struct Similar {
    messages: HashSet<Digest>,
    last: i64,
}

/// A written event, which its repeats change.
#[derive(Debug)]
struct Written {
    name: Option<String>,
    first: Option<Time>,
    count: i32,
    /// The name that the last of them came with.
    last: Option<String>,
}

/// What one source may still say about one object.
#[derive(Debug)]
struct Budget {
    /// [`SECONDS_PER_EVENT`] for each event.
    seconds: i64,
    last: i64,
}

impl Correlator {
    /// The event to write: a new one with the count 1, or an earlier one with its new count. None
    /// if nothing is to be written: the source said too much about the object, or the event was
    /// given already (it has the same name).
    pub(super) fn observe(&mut self, mut event: Event) -> Option<Event> {
        let now = event.last_timestamp.as_ref().map_or(0, |time| time.0.as_second());
        let about = &event.involved_object;
        let about = [
            &about.api_version,
            &about.kind,
            &about.namespace,
            &about.name,
            &about.uid,
            &about.field_path,
        ];
        let source = event.source.as_ref();
        let source =
            [source.and_then(|it| it.component.as_ref()), source.and_then(|it| it.host.as_ref())];
        let of_object = self.digest(&(source, about));
        let of_similar = self.digest(&(of_object, &event.type_, &event.reason));
        let of_message = self.digest(&(of_similar, &event.message));

        let similar = self.similar.entry(of_similar, Similar::default);
        if now - similar.last > SIMILAR_SECONDS {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() < MAX_SIMILAR {
            similar.messages.insert(of_message);
        }
        let key = if similar.messages.len() < MAX_SIMILAR {
            of_message
        } else {
            event.message = event.message.map(|message| format!("{COMBINED}{message}"));
            of_similar
        };
        let given = event.metadata.name.clone();
        let written = self.written.entry(key, || None);
        match written {
            Some(written) if written.last == given => return None,
            Some(written) => {
                written.count = written.count.saturating_add(1);
                written.last = given;
                event.metadata.name.clone_from(&written.name);
                event.first_timestamp.clone_from(&written.first);
                event.count = Some(written.count);
            }
            None => {
                let first = event.first_timestamp.clone();
                *written = Some(Written { name: given.clone(), first, count: 1, last: given });
            }
        }
        self.spend(of_object, now).then_some(event)
    }

    /// Whether there is something left of a budget, of which an event is then taken.
    fn spend(&mut self, of: Digest, now: i64) -> bool {
        let full = BURST * SECONDS_PER_EVENT;
        let budget = self.budgets.entry(of, || Budget { seconds: full, last: now });
        budget.seconds = (budget.seconds + (now - budget.last).max(0)).min(full);
        budget.last = now;
        let is_enough = budget.seconds >= SECONDS_PER_EVENT;
        if is_enough {
            budget.seconds -= SECONDS_PER_EVENT;
        }
        is_enough
    }

    fn digest(&self, of: &impl Hash) -> Digest {
        let [one, two] = &self.hashers;
        (one.hash_one(of), two.hash_one(of))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::{EventSource, ObjectReference};

    use super::*;
    use crate::events::{Level, event};

    /// An event about the object with this uid, in this second.
    fn said(uid: &str, reason: &str, message: &str, second: i64) -> Event {
        let about = ObjectReference {
            name: Some("a".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        let source = EventSource { component: Some("test".to_owned()), host: None };
        let now = Timestamp::from_second(second).unwrap();
        event(about, (Level::Warning, reason, message.to_owned()), source, now)
    }

    /// Name, message and count of what is written.
    fn seen(event: Option<Event>) -> Option<(String, String, i32)> {
        event.map(|event| {
            (event.metadata.name.unwrap(), event.message.unwrap(), event.count.unwrap())
        })
    }

    #[test]
    fn equal_events_are_counted() {
        let mut correlator = Correlator::default();
        let first = correlator.observe(said("a", "BackOff", "m", 1)).unwrap();
        for other in [
            said("b", "BackOff", "m", 2),
            said("a", "BackOff", "n", 2),
            said("a", "Failed", "m", 2),
        ] {
            assert_eq!(correlator.observe(other.clone()), Some(other));
        }
        for (second, count) in [(5, 2), (9, 3)] {
            let repeat = correlator.observe(said("a", "BackOff", "m", second)).unwrap();
            assert_eq!((&repeat.metadata.name, repeat.count), (&first.metadata.name, Some(count)));
            let times = [&repeat.first_timestamp, &repeat.last_timestamp];
            assert_eq!(times.map(|time| time.as_ref().unwrap().0.as_second()), [1, second]);
        }
        // The same event once more is no repeat.
        assert_eq!(correlator.observe(said("a", "BackOff", "m", 9)), None);
    }

    #[test]
    fn similar_events_are_combined() {
        let mut correlator = Correlator::default();
        let mut observe = |message: String, second| {
            seen(correlator.observe(said("a", "Pulled", &message, second)))
        };
        for number in 1..10 {
            let (_, message, count) = observe(format!("m{number}"), number).unwrap();
            assert_eq!((message, count), (format!("m{number}"), 1));
        }
        let (name, message, count) = observe("m10".to_owned(), 10).unwrap();
        assert_eq!((message.as_str(), count), ("(combined from similar events): m10", 1));
        // Now also those that were written on their own.
        for (second, number) in [(11, 11), (12, 1)] {
            let (again, message, count) = observe(format!("m{number}"), second).unwrap();
            let wanted = format!("(combined from similar events): m{number}");
            assert_eq!((again, message), (name.clone(), wanted));
            assert_eq!(i64::from(count), second - 9);
        }
        // After ten quiet minutes they are events of their own again.
        let (_, message, count) = observe("m12".to_owned(), 613).unwrap();
        assert_eq!((message.as_str(), count), ("m12", 1));
    }

    #[test]
    fn one_source_says_a_limited_number_of_things_about_one_object() {
        let mut correlator = Correlator::default();
        let mut observe = |uid, second| correlator.observe(said(uid, "A", "m", second)).is_some();
        for second in 1..=25 {
            assert!(observe("a", second), "{second}");
        }
        assert!(!observe("a", 26) && observe("b", 27));
        // Five minutes after the first there is room for one more. What was dropped is counted.
        assert!(observe("a", 301) && !observe("a", 302));
        assert_eq!(correlator.observe(said("a", "A", "m", 601)).unwrap().count, Some(29));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut correlator = Correlator::default();
        for number in 0..2 * i64::try_from(super::super::lru::CAPACITY).unwrap() {
            let uid = number.to_string();
            assert!(correlator.observe(said(&uid, "A", "m", 1 + number / 100)).is_some());
        }
        // Forgotten, and so new.
        assert_eq!(correlator.observe(said("0", "A", "m", 200)).unwrap().count, Some(1));
    }
}

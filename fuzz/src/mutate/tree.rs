//! Changes of documents that leave them well-formed.

use mxjob_testkit::Random;
use serde_json::{Map, Value, json};

/// Levels of nesting around a value: some, and more than any decoder allows.
const DEPTHS: [usize; 3] = [2, 60, 140];
/// How often an item is repeated: a few times, and unusually often.
const TIMES: [usize; 3] = [2, 50, 3000];

/// Changes one place of the document.
pub(super) fn mutate(document: &mut Value, other: &Value, words: &[&str], random: &mut Random) {
    let donor = pick(other, random).clone();
    let place = pick_mut(document, random);
    match random.below(10) {
        0 | 1 => *place = scalar(words, random),
        2 | 3 => *place = donor,
        4 => remove(place, random),
        5 => {
            let key = word(words, random);
            add(place, &key, donor);
        }
        6 => {
            let (key, value) = (word(words, random), scalar(words, random));
            add(place, &key, value);
        }
        7 => repeat(place, random),
        8 => nest(place, words, random),
        _ => rename(place, words, random),
    }
}

/// One in this many walks ends at a place that has others below it.
const STAY: usize = 10;

/// Any place, mostly a deep one.
fn pick<'a>(value: &'a Value, random: &mut Random) -> &'a Value {
    let mut at = value;
    while !random.one_in(STAY) {
        let next = match at {
            Value::Object(fields) => fields.values().nth(random.below(fields.len())),
            Value::Array(items) => random.choose(items),
            _ => None,
        };
        let Some(next) = next else { break };
        at = next;
    }
    at
}

fn pick_mut<'a>(value: &'a mut Value, random: &mut Random) -> &'a mut Value {
    let inside = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if !inside || random.one_in(STAY) {
        return value;
    }
    match value {
        Value::Object(fields) => {
            let at = random.below(fields.len());
            // There is one, as checked above.
            match fields.values_mut().nth(at) {
                Some(next) => pick_mut(next, random),
                None => unreachable!("the object has fields"),
            }
        }
        Value::Array(items) => {
            let at = random.below(items.len());
            match items.get_mut(at) {
                Some(next) => pick_mut(next, random),
                None => unreachable!("the list has items"),
            }
        }
        other => other,
    }
}

fn word(words: &[&str], random: &mut Random) -> String {
    random.choose(words).copied().unwrap_or("a").to_owned()
}

fn scalar(words: &[&str], random: &mut Random) -> Value {
    match random.below(16) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(i64::MAX),
        5 => json!(i64::MIN),
        6 => json!(u64::MAX),
        7 => json!(i64::from(i32::MAX) + 1),
        8 => json!(1e308),
        9 => json!(1.5),
        10 => json!(-0.0),
        11 => json!(""),
        12 => json!({}),
        13 => json!([]),
        14 => json!("é🙂\u{0}\u{2028}\n \"'\\#: - "),
        _ => Value::String(word(words, random)),
    }
}

fn remove(place: &mut Value, random: &mut Random) {
    match place {
        Value::Object(fields) => {
            if let Some(key) = fields.keys().nth(random.below(fields.len())).cloned() {
                fields.remove(&key);
            }
        }
        Value::Array(items) if !items.is_empty() => drop(items.remove(random.below(items.len()))),
        other => *other = Value::Null,
    }
}

fn add(place: &mut Value, key: &str, value: Value) {
    match place {
        Value::Object(fields) => drop(fields.insert(key.to_owned(), value)),
        Value::Array(items) => items.push(value),
        other => *other = Value::Object(Map::from_iter([(key.to_owned(), value)])),
    }
}

fn repeat(place: &mut Value, random: &mut Random) {
    let times = if random.one_in(12) { TIMES[2] } else { TIMES[random.below(2)] };
    match place {
        Value::Array(items) => {
            let Some(item) = random.choose(items).cloned() else { return };
            // Many large items would be rejected for their size.
            if item.to_string().len() * times < super::LENGTH_MAX {
                items.extend(std::iter::repeat_n(item, times));
            }
        }
        Value::String(text) if text.len() * times < super::LENGTH_MAX => {
            *text = text.repeat(times);
        }
        Value::Object(fields) => {
            for number in 0..times.min(300) {
                fields.insert(format!("x{number}"), Value::Bool(true));
            }
        }
        _ => {}
    }
}

fn nest(place: &mut Value, words: &[&str], random: &mut Random) {
    let depth = if random.one_in(8) { DEPTHS[2] } else { DEPTHS[random.below(2)] };
    let key = random.one_in(2).then(|| word(words, random));
    for _ in 0..depth {
        let inner = place.take();
        *place = match &key {
            Some(key) => Value::Object(Map::from_iter([(key.clone(), inner)])),
            None => Value::Array(vec![inner]),
        };
    }
}

fn rename(place: &mut Value, words: &[&str], random: &mut Random) {
    match place {
        Value::Object(fields) => {
            if let Some(key) = fields.keys().nth(random.below(fields.len())).cloned()
                && let Some(value) = fields.remove(&key)
            {
                fields.insert(word(words, random), value);
            }
        }
        Value::String(text) => text.push_str(&word(words, random)),
        Value::Number(number) => *place = Value::String(number.to_string()),
        Value::Array(items) => items.reverse(),
        Value::Bool(flag) => *flag = !*flag,
        Value::Null => *place = json!({}),
    }
}

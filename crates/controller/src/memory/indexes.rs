//! Sets of replica indices, written as ranges.

use std::fmt;

use mxjob_api::mxjob::MAX_REPLICAS;

/// A set of indices below [`MAX_REPLICAS`] that prints as `0-2,5`: short in the usual case that
/// nearly all replicas succeed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes {
    /// Inclusive ranges in ascending order with a gap between each two.
    ranges: Vec<(u32, u32)>,
}

impl Indexes {
    /// Reads the printed form; `None` for any other text, and for indices that no replica has: a
    /// client with access to the status may write any number.
    pub fn parse(text: &str) -> Option<Self> {
        let mut indexes = Self::default();
        for range in text.split(',').filter(|range| !range.is_empty()) {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            let (low, high) = (low.parse().ok()?, high.parse().ok()?);
            if low > high
                || high >= MAX_REPLICAS
                || indexes.ranges.last().is_some_and(|(_, last)| last.saturating_add(1) >= low)
            {
                return None;
            }
            indexes.ranges.push((low, high));
        }
        Some(indexes)
    }

    /// Adds an index. Returns whether it is new.
    pub fn insert(&mut self, index: u32) -> bool {
        if self.contains(index) {
            return false;
        }
        let place = self.ranges.partition_point(|(low, _)| *low < index);
        self.ranges.insert(place, (index, index));
        self.ranges.dedup_by(|next, previous| {
            let touches = previous.1.saturating_add(1) >= next.0;
            if touches {
                previous.1 = next.1;
            }
            touches
        });
        true
    }

    /// Whether the set has an index.
    pub fn contains(&self, index: u32) -> bool {
        let after = self.ranges.partition_point(|(low, _)| *low <= index);
        let range = after.checked_sub(1).and_then(|place| self.ranges.get(place));
        range.is_some_and(|(_, high)| index <= *high)
    }

    /// How many indices the set has.
    pub fn len(&self) -> u32 {
        self.ranges
            .iter()
            .fold(0, |count: u32, (low, high)| count.saturating_add((high - low).saturating_add(1)))
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (low, high)) in self.ranges.iter().enumerate() {
            if place > 0 {
                out.write_str(",")?;
            }
            if low == high { write!(out, "{low}")? } else { write!(out, "{low}-{high}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_become_one_range() {
        let mut indexes = Indexes::default();
        for (index, printed) in [
            (5, "5"),
            (0, "0,5"),
            (2, "0,2,5"),
            (1, "0-2,5"),
            (1, "0-2,5"),
            (4, "0-2,4-5"),
            (3, "0-5"),
        ] {
            indexes.insert(index);
            assert_eq!(indexes.to_string(), printed);
        }
        assert_eq!(indexes.len(), 6);
    }

    #[test]
    fn invalid_texts_are_rejected() {
        for text in ["x", "3-1", "0-2,1", "0,1", "-1", "1-", "10000", "0-2147483647", "4294967296"]
        {
            assert_eq!(Indexes::parse(text), None, "{text}");
        }
        assert_eq!(Indexes::parse(""), Some(Indexes::default()));
        assert_eq!(Indexes::parse("0-9999").map(|indexes| indexes.len()), Some(MAX_REPLICAS));
    }

    proptest! {
        #[test]
        fn it_is_a_set_that_survives_printing(given in proptest::collection::vec(0_u32..40, 0..60)) {
            let mut indexes = Indexes::default();
            for index in &given {
                indexes.insert(*index);
            }
            let model: BTreeSet<u32> = given.into_iter().collect();
            prop_assert_eq!(indexes.len() as usize, model.len());
            prop_assert!((0..40).all(|index| indexes.contains(index) == model.contains(&index)));
            prop_assert_eq!(Indexes::parse(&indexes.to_string()), Some(indexes));
        }
    }
}

//! Counts the answers of a probe against its thresholds. Pure.

/// The answers in a row, and the result so far.
#[derive(Debug)]
pub(super) struct Count {
    successes: u32,
    failures: u32,
    /// The result that holds; `None` before the first one.
    result: Option<bool>,
    last: Option<bool>,
    run: u32,
}

impl Count {
    /// A count with its thresholds and the result that holds at the beginning.
    pub(super) const fn new(successes: u32, failures: u32, result: Option<bool>) -> Self {
        Self { successes, failures, result, last: None, run: 0 }
    }

    /// Counts an answer. Returns the new result if it changes.
    pub(super) fn observe(&mut self, succeeded: bool) -> Option<bool> {
        self.run = if self.last == Some(succeeded) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(succeeded);
        let threshold = if succeeded { self.successes } else { self.failures };
        if self.run < threshold || self.result == Some(succeeded) {
            return None;
        }
        self.result = Some(succeeded);
        self.result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_changes_when_its_threshold_is_reached() {
        // `+` and `-` are answers; the result is that after each, or `.` without a change.
        for (thresholds, first, answers, expect) in [
            ((1, 3), Some(true), "--+---", ".....-"),
            ((1, 3), Some(true), "---+", "..-+"),
            ((1, 1), None, "-+", "-+"),
            ((1, 3), None, "+", "+"),
            ((1, 3), None, "---", "..-"),
            ((2, 2), Some(false), "+-++--", "...+.-"),
            ((3, 1), Some(false), "++-+++-", ".....+-"),
            ((1, 1), Some(true), "+++", "..."),
        ] {
            let (successes, failures) = thresholds;
            let mut count = Count::new(successes, failures, first);
            let found: String = answers
                .chars()
                .map(|answer| match count.observe(answer == '+') {
                    Some(true) => '+',
                    Some(false) => '-',
                    None => '.',
                })
                .collect();
            assert_eq!(found, expect, "{thresholds:?} {first:?} {answers}");
        }
    }
}

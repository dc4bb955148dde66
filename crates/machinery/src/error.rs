//! Errors as text for logs, messages and `Status` objects.

use std::error::Error;

/// An error and its causes, joined by colons. A cause whose text is already in the message is not
/// repeated.
///
/// ```
/// use mxjob_machinery::error::chain;
///
/// let cause = "a".parse::<u8>().unwrap_err();
/// assert_eq!(chain(&cause), "invalid digit found in string");
/// ```
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        next = cause.source();
    }
    text
}

/// The innermost cause alone, for errors whose outer layers only say which library failed.
pub fn root_cause(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Outer(&'static str, std::io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(out, "cannot open {}", self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn chain_names_each_cause_once() {
        let cause = || std::io::Error::other("no such disk");
        assert_eq!(chain(&cause()), "no such disk");
        assert_eq!(chain(&Outer("a", cause())), "cannot open a: no such disk");
        assert_eq!(chain(&Outer("a: no such disk", cause())), "cannot open a: no such disk");
    }

    #[test]
    fn root_cause_is_the_innermost_error() {
        let cause = || std::io::Error::other("no such disk");
        assert_eq!(root_cause(&cause()), "no such disk");
        assert_eq!(root_cause(&Outer("a", cause())), "no such disk");
    }
}

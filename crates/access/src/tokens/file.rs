//! One line of a token file.
//!
//! The format is upstream's (`--token-auth-file`): CSV with the token, the user's name, the user's
//! uid and, optionally, the groups, quoted if there are several. Where upstream ignores a likely
//! mistake (a fifth column, a duplicate token) the line is rejected.

use std::fmt;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Too few or too many columns.
    Columns(usize),
    /// The token is empty.
    NoToken,
    /// The user's name is empty.
    NoUser,
    /// The token has characters that a header cannot carry.
    Unsendable,
    /// A quoted column does not end on its line.
    OpenQuote,
    /// A quote in a position where none is allowed.
    StrayQuote,
    /// The list of groups has an empty name.
    EmptyGroup,
    /// The token already occurred in the file.
    Duplicate,
}

/// A valid line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) token: String,
    pub(crate) user: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
}

/// Reads a line; `None` if it is blank.
pub(crate) fn record(line: &str) -> Result<Option<Record>, Problem> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let mut columns = columns(line)?;
    let count = columns.len();
    let groups = if count == 4 { columns.pop().unwrap_or_default() } else { String::new() };
    let [token, user, uid] =
        <[String; 3]>::try_from(columns).map_err(|_| Problem::Columns(count))?;
    if token.is_empty() {
        return Err(Problem::NoToken);
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Problem::Unsendable);
    }
    if user.is_empty() {
        return Err(Problem::NoUser);
    }
    let groups = match groups.as_str() {
        "" => Vec::new(),
        list if list.split(',').any(str::is_empty) => return Err(Problem::EmptyGroup),
        list => list.split(',').map(str::to_owned).collect(),
    };
    Ok(Some(Record { token, user, uid, groups }))
}

/// Splits a line at its commas; a quoted column may contain commas and doubled quotes (RFC 4180).
fn columns(line: &str) -> Result<Vec<String>, Problem> {
    let mut columns = Vec::new();
    let mut rest = line;
    loop {
        let mut column = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            rest = loop {
                let (part, after) = quoted.split_once('"').ok_or(Problem::OpenQuote)?;
                column.push_str(part);
                match after.strip_prefix('"') {
                    Some(more) => {
                        column.push('"');
                        quoted = more;
                    }
                    None => break after,
                }
            };
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            if part.contains('"') {
                return Err(Problem::StrayQuote);
            }
            column.push_str(part);
            rest = after;
        }
        columns.push(column);
        if rest.is_empty() {
            return Ok(columns);
        }
        rest = rest.strip_prefix(',').ok_or(Problem::StrayQuote)?;
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns(count) if *count > 4 => {
                write!(f, "{count} columns; put several groups in quotes: \"group1,group2\"")
            }
            Self::Columns(count) => {
                let plural = if *count == 1 { "" } else { "s" };
                write!(f, "{count} column{plural}; expected token,user,uid and optional groups")
            }
            Self::NoToken => f.write_str("the token is empty"),
            Self::NoUser => f.write_str("the user's name is empty"),
            Self::Unsendable => f.write_str("the token has characters that a header cannot carry"),
            Self::OpenQuote => f.write_str("a quote is not closed"),
            Self::StrayQuote => f.write_str("a quote may only stand around a whole column"),
            Self::EmptyGroup => f.write_str("the list of groups has an empty name"),
            Self::Duplicate => f.write_str("the same token is on an earlier line"),
        }
    }
}

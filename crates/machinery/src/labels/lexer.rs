//! Cuts the text of a label selector into tokens.

use std::{iter::Peekable, str::CharIndices};

/// A token and what it was cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    End,
    ClosedParen,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    OpenParen,
    Error,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Scanned<'a> {
    pub(super) token: Token,
    pub(super) literal: &'a str,
}

/// All tokens of the text; the last is [`Token::End`] with an empty literal.
pub(super) fn scan(text: &str) -> Vec<Scanned<'_>> {
    let mut chars = text.char_indices().peekable();
    let mut out = Vec::new();
    while let Some(&(start, c)) = chars.peek() {
        if is_space(c) {
            chars.next();
        } else if is_special(c) {
            out.push(symbol(text, start, &mut chars));
        } else {
            out.push(word(text, start, &mut chars));
        }
    }
    out.push(Scanned { token: Token::End, literal: "" });
    out
}

/// The longest symbol that starts here.
fn symbol<'a>(text: &'a str, start: usize, chars: &mut Peekable<CharIndices<'a>>) -> Scanned<'a> {
    let rest = text.get(start..).unwrap_or_default();
    let (token, length) = match rest.as_bytes() {
        [b'=', b'=', ..] => (Token::DoubleEquals, 2),
        [b'!', b'=', ..] => (Token::NotEquals, 2),
        [b'=', ..] => (Token::Equals, 1),
        [b'!', ..] => (Token::Not, 1),
        [b'(', ..] => (Token::OpenParen, 1),
        [b')', ..] => (Token::ClosedParen, 1),
        [b',', ..] => (Token::Comma, 1),
        [b'>', ..] => (Token::Greater, 1),
        [b'<', ..] => (Token::Less, 1),
        _ => (Token::Error, 1),
    };
    for _ in 0..length {
        chars.next();
    }
    Scanned { token, literal: rest.get(..length).unwrap_or_default() }
}

fn word<'a>(text: &'a str, start: usize, chars: &mut Peekable<CharIndices<'a>>) -> Scanned<'a> {
    let mut end = start;
    while let Some(&(at, c)) = chars.peek() {
        if is_space(c) || is_special(c) {
            break;
        }
        end = at + c.len_utf8();
        chars.next();
    }
    let literal = text.get(start..end).unwrap_or_default();
    let token = match literal {
        "in" => Token::In,
        "notin" => Token::NotIn,
        _ => Token::Identifier,
    };
    Scanned { token, literal }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

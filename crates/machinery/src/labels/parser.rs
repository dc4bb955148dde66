//! Recursive-descent parser for label selectors. Its states and messages are upstream's; `in` and
//! `notin` are words of the grammar only right after a key, and plain identifiers elsewhere.

use std::collections::BTreeSet;

use super::{
    Operator, ParseError, Requirement, check_key, check_value,
    lexer::{Scanned, Token, scan},
};
use crate::field;

pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, ParseError> {
    let tokens = scan(text);
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let mut requirements = Vec::new();
    loop {
        let next = parser.peek();
        match next.token {
            Token::Identifier | Token::Not => {
                let requirement = parser.requirement().map_err(|ParseError(why)| {
                    ParseError(format!("unable to parse requirement: {why}"))
                })?;
                requirements.push(requirement);
                let after = parser.take();
                match after.token {
                    Token::End => return Ok(requirements),
                    Token::Comma => {
                        let next = parser.peek();
                        if !matches!(next.token, Token::Identifier | Token::Not) {
                            return found(next.literal, ", expected: identifier after ','");
                        }
                    }
                    _ => return found(after.literal, ", expected: ',' or 'end of string'"),
                }
            }
            Token::End => return Ok(requirements),
            _ => return found(next.literal, ", expected: !, identifier, or 'end of string'"),
        }
    }
}

struct Parser<'a> {
    tokens: &'a [Scanned<'a>],
    at: usize,
}

const END: Scanned<'static> = Scanned { token: Token::End, literal: "" };

impl<'a> Parser<'a> {
    /// The next token where keys and values are expected.
    fn peek(&self) -> Scanned<'a> {
        let mut scanned = self.tokens.get(self.at).copied().unwrap_or(END);
        if matches!(scanned.token, Token::In | Token::NotIn) {
            scanned.token = Token::Identifier;
        }
        scanned
    }

    fn take(&mut self) -> Scanned<'a> {
        let scanned = self.peek();
        self.at += 1;
        scanned
    }

    fn requirement(&mut self) -> Result<Requirement, ParseError> {
        let mut first = self.take();
        let negated = first.token == Token::Not;
        if negated {
            first = self.take();
        }
        if first.token != Token::Identifier {
            return found(first.literal, ", expected: identifier");
        }
        let key = first.literal.to_owned();
        check_key(&key)?;
        if negated {
            return Ok(Requirement { key, operator: Operator::DoesNotExist });
        }
        if matches!(self.peek().token, Token::End | Token::Comma) {
            return Ok(Requirement { key, operator: Operator::Exists });
        }
        let operator = self.operator(&key)?;
        Ok(Requirement { key, operator })
    }

    fn operator(&mut self, key: &str) -> Result<Operator, ParseError> {
        // Only here are `in` and `notin` words of the grammar.
        let scanned = self.tokens.get(self.at).copied().unwrap_or(END);
        self.at += 1;
        Ok(match scanned.token {
            Token::In => Operator::In(self.values(key)?),
            Token::NotIn => Operator::NotIn(self.values(key)?),
            Token::Equals | Token::DoubleEquals => Operator::Equals(self.value(key)?),
            Token::NotEquals => Operator::NotEquals(self.value(key)?),
            Token::Greater => Operator::GreaterThan(self.number(key)?),
            Token::Less => Operator::LessThan(self.number(key)?),
            _ => return found(scanned.literal, ", expected: in, notin, =, ==, !=, gt, lt"),
        })
    }

    fn values(&mut self, key: &str) -> Result<BTreeSet<String>, ParseError> {
        let open = self.take();
        if open.token != Token::OpenParen {
            return found(open.literal, " expected: '('");
        }
        let next = self.peek();
        let values = match next.token {
            Token::ClosedParen => BTreeSet::from([String::new()]),
            Token::Identifier | Token::Comma => self.identifiers()?,
            _ => return found(next.literal, ", expected: ',', ')' or identifier"),
        };
        self.take(); // the closing parenthesis both arms stopped at
        for (index, value) in values.iter().enumerate() {
            check_value(key, index, value)?;
        }
        Ok(values)
    }

    /// Comma-separated words up to the closing parenthesis; a missing word is the empty value.
    fn identifiers(&mut self) -> Result<BTreeSet<String>, ParseError> {
        let mut values = BTreeSet::new();
        loop {
            let scanned = self.take();
            match scanned.token {
                Token::Identifier => {
                    values.insert(scanned.literal.to_owned());
                    let next = self.peek();
                    match next.token {
                        Token::Comma => {}
                        Token::ClosedParen => return Ok(values),
                        _ => return found(next.literal, ", expected: ',' or ')'"),
                    }
                }
                Token::Comma => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek().token {
                        Token::ClosedParen => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Token::Comma => {
                            self.take();
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                _ => return found(scanned.literal, ", expected: ',', or identifier"),
            }
        }
    }

    fn value(&mut self, key: &str) -> Result<String, ParseError> {
        let next = self.peek();
        let value = match next.token {
            Token::End | Token::Comma => String::new(),
            Token::Identifier => {
                self.take();
                next.literal.to_owned()
            }
            _ => return found(next.literal, ", expected: identifier"),
        };
        check_value(key, 0, &value)?;
        Ok(value)
    }

    fn number(&mut self, key: &str) -> Result<i64, ParseError> {
        let value = self.value(key)?;
        value.parse().map_err(|_| {
            let path = field::Path::new("values").index(0);
            let rule = "for 'Gt', 'Lt' operators, the value must be an integer";
            ParseError(field::Error::invalid(&path, value, rule).to_string())
        })
    }
}

fn found<T>(literal: &str, expected: &str) -> Result<T, ParseError> {
    Err(ParseError(format!("found '{literal}'{expected}")))
}

//! Reads Redis' dialect of globs, by its own rules, into a list of what each key byte may be.

use super::class::Class;

/// What one step of a pattern stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// This byte.
    Byte(u8),
    /// Any one byte.
    Any,
    /// Any run of bytes, empty or not.
    Star,
    /// One byte of a set.
    Class(Box<Class>),
}

/// Reads a pattern. Every sequence of bytes is one.
pub(super) fn parse(mut rest: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        let token = match (first, behind.first()) {
            // Stars in a row are one.
            (b'*', Some(b'*')) => continue,
            (b'*', _) => Token::Star,
            (b'?', _) => Token::Any,
            (b'[', _) => {
                let (class, behind) = class(behind);
                rest = behind;
                class
            }
            (b'\\', Some(&byte)) => {
                rest = &behind[1..];
                Token::Byte(byte)
            }
            // A backslash at the very end stands for itself.
            _ => Token::Byte(first),
        };
        tokens.push(token);
    }
    tokens
}

/// Reads a class behind its `[`; returns it and what follows.
fn class(mut rest: &[u8]) -> (Token, &[u8]) {
    let negated = rest.first() == Some(&b'^');
    if negated {
        rest = &rest[1..];
    }
    let mut class = Class::default();
    loop {
        rest = match *rest {
            [b'\\', byte, ref behind @ ..] => {
                class.insert(byte);
                behind
            }
            [b']', ref behind @ ..] => {
                rest = behind;
                break;
            }
            // The second bound is taken as it is, even `]` and `\`.
            [from, b'-', to, ref behind @ ..] => {
                class.insert_range(from, to);
                behind
            }
            [byte, ref behind @ ..] => {
                class.insert(byte);
                behind
            }
            // A class that nothing closes ends with the pattern.
            [] => break,
        };
    }
    if negated {
        class.invert();
    }
    (class.into_token(), rest)
}

//! Writes a pattern anew, in the syntax of the `glob` crate.
//!
//! That crate matches characters where Redis matches bytes, so each byte becomes the character of the same number, in
//! the pattern as in the key.

use std::borrow::Cow;

use super::class::Class;
use super::parse::Token;

/// The pattern in the syntax of `glob`.
pub(super) fn translate(tokens: &[Token]) -> String {
    let mut out = String::new();
    for token in tokens {
        match token {
            Token::Byte(byte @ (b'?' | b'*' | b'[')) => out.extend(['[', char::from(*byte), ']']),
            Token::Byte(byte) => out.push(char::from(*byte)),
            Token::Any => out.push('?'),
            Token::Star => out.push('*'),
            Token::Class(class) => push_class(&mut out, class),
        }
    }
    out
}

/// Writes a class as the negation of its complement: behind `[!` no byte is special at the first place, so that only
/// `]` and `-` need places of their own.
fn push_class(out: &mut String, class: &Class) {
    let excluded = |byte: u8| !class.contains(byte);
    out.push_str("[!");
    if excluded(b']') {
        out.push(']');
    }
    let mut bytes = (0..=u8::MAX).peekable();
    while let Some(from) = bytes.next() {
        let in_run = |byte: u8| excluded(byte) && byte != b']' && byte != b'-';
        if in_run(from) {
            let mut to = from;
            while let Some(byte) = bytes.next_if(|&byte| in_run(byte)) {
                to = byte;
            }
            // Always three characters, so that none is taken for the bound of another range.
            out.extend([char::from(from), '-', char::from(to)]);
        }
    }
    if excluded(b'-') {
        out.push('-');
    }
    out.push(']');
}

/// The key in characters, each of the number of a byte. Free of cost where all are ASCII, as in most keys.
pub(super) fn characters(key: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(key) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(key.iter().copied().map(char::from).collect()),
    }
}

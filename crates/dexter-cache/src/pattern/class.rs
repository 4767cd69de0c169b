//! Sets of bytes.

use super::parse::Token;

/// The bytes that a class in brackets allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class([bool; 256]);

impl Default for Class {
    fn default() -> Self {
        Self([false; 256])
    }
}

impl Class {
    pub(super) fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte)] = true;
    }

    /// Adds a range, in either order. A server compares C's `char`, which is signed on x86-64: there 0x80 comes first
    /// of all, and a range across 0x7f and 0x80 holds what one would not expect.
    pub(super) fn insert_range(&mut self, one: u8, other: u8) {
        let (one, other) = (one.cast_signed(), other.cast_signed());
        for byte in one.min(other)..=one.max(other) {
            self.insert(byte.cast_unsigned());
        }
    }

    pub(super) fn invert(&mut self) {
        for allowed in &mut self.0 {
            *allowed = !*allowed;
        }
    }

    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }

    /// The simplest token that allows the same bytes.
    pub(super) fn into_token(self) -> Token {
        let mut bytes = (0..=u8::MAX).filter(|&byte| self.contains(byte));
        match (bytes.next(), bytes.next()) {
            (Some(byte), None) => Token::Byte(byte),
            _ if !self.0.contains(&false) => Token::Any,
            _ => Token::Class(Box::new(self)),
        }
    }
}

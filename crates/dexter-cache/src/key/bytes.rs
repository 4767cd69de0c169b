//! [`Bytes`]: the text of a key, where it is built as long as it is short.

use std::ops::Deref;

/// Texts up to this many bytes are not on the heap.
const INLINE: usize = 112;

/// A text that grows at its end.
///
/// A `SmallVec` would do the same. Here appending a text of known length is a comparison and a move, with no call.
#[derive(Clone)]
pub(super) struct Bytes {
    /// Of the text. Beyond [`INLINE`] all of it is in `long`.
    len: usize,
    short: [u8; INLINE],
    long: Vec<u8>,
}

impl Bytes {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            len: 0,
            short: [0; INLINE],
            long: Vec::new(),
        }
    }

    pub(super) fn from_slice(text: &[u8]) -> Self {
        let mut bytes = Self::new();
        bytes.extend(text);
        bytes
    }

    #[allow(
        clippy::inline_always,
        reason = "a text of known length is then copied without a call"
    )]
    #[inline(always)]
    pub(super) fn extend(&mut self, more: &[u8]) {
        let end = self.len + more.len();
        match self.short.get_mut(self.len..end) {
            Some(room) => room.copy_from_slice(more),
            None => self.extend_long(more),
        }
        self.len = end;
    }

    /// Appends several pieces, asking once whether there is room.
    #[allow(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(super) fn extend_all<const N: usize>(&mut self, pieces: [&[u8]; N]) {
        let end = self.len + pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let Some(mut room) = self.short.get_mut(self.len..end) else {
            return pieces.into_iter().for_each(|piece| self.extend(piece));
        };
        for piece in pieces {
            let (here, rest) = room.split_at_mut(piece.len());
            here.copy_from_slice(piece);
            room = rest;
        }
        self.len = end;
    }

    #[cold]
    fn extend_long(&mut self, more: &[u8]) {
        if let Some(short) = self.short.get(..self.len) {
            self.long.reserve(2 * INLINE + more.len());
            self.long.extend_from_slice(short);
        }
        self.long.extend_from_slice(more);
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.short.get(..self.len).unwrap_or(&self.long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_as_written_wherever_it_turns_long() {
        for step in [1, 7, 56, 111, 112, 113, 300] {
            let mut bytes = Bytes::new();
            let mut expected = Vec::new();
            for round in 0..5 {
                let more = vec![round; step];
                bytes.extend(&more);
                bytes.extend_all([b"", &more, b"="]);
                expected.extend_from_slice(&more.repeat(2));
                expected.push(b'=');
                assert_eq!(*bytes, *expected);
                assert_eq!(*bytes.clone(), *expected);
            }
        }
    }
}

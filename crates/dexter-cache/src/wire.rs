//! The envelope around every value in a shared backend: bytes to fields and back. Nobody else knows the layout.
//!
//! ```text
//!  0  2  magic DC 58
//!  2  1  version (1)
//!  3  1  kind: 0 lease without a value, 1 JSON, 2 a `None` that is remembered (no payload)
//!  4  2  flags: 1 = a lease is written over a value that can still be read, 2 = a load over this value has failed
//!  6  2  where the payload begins, so that later versions can add to the header
//!  8 16  token: names this very write; a lease's token while one is held
//! 24  8  created, milliseconds on the backend's clock
//! 32  8  fresh until, the same
//! 40  8  kept until, the same (later than "fresh until" where a stale value may be served)
//! 48  8  epoch of the namespace when the load began
//! 56  8  fingerprint of the value's type
//! 64  8  lease until, milliseconds on the backend's clock; after a failure, until when nobody tries again
//! 72  2  number of tags
//! 74  …  tags: 8 bytes of hash and 16 of token each
//!  …  …  the `ETag` that the loader gave, if any: 2 bytes of length, and the text
//! ```
//!
//! All numbers are little-endian. The first [`STAMP`] bytes are what a compare-and-set compares: they change with every
//! write, so "still the entry that I saw" is one comparison of 24 bytes, without sending the payload back.

use std::time::Duration;

use smallvec::SmallVec;

/// How many bytes at the front of an envelope name the write.
pub(crate) const STAMP: usize = 24;

const MAGIC: [u8; 2] = [0xDC, 0x58];
const VERSION: u8 = 1;
const HEADER: usize = 74;
/// What one tag takes behind the header.
const TAG: usize = 24;
const FLAG_LEASED: u16 = 1;
const FLAG_FAILED: u16 = 2;
const MARKS: u16 = FLAG_LEASED | FLAG_FAILED;
/// A longer `ETag` is not kept.
pub(crate) const MAX_ETAG: usize = 1_024;

/// What identifies one write: the first [`STAMP`] bytes of the envelope.
pub(crate) type Stamp = [u8; STAMP];

/// How the payload is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lease = 0,
    Json = 1,
    Nothing = 2,
}

/// What a header says about the load of a value that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Somebody is loading it anew, and will be until then if nothing is heard.
    Leased(u64),
    /// A load has failed; until then nobody tries again.
    Failed(u64),
}

/// The times of an entry, in milliseconds on the backend's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) created: u64,
    pub(crate) fresh_until: u64,
    pub(crate) kept_until: u64,
}

/// What an envelope says about its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) times: Times,
    pub(crate) fingerprint: u64,
    pub(crate) epoch: u64,
    pub(crate) tags: SmallVec<[TagToken; 2]>,
}

/// A tag of an entry, and the token that it had when the entry's load began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TagToken {
    pub(crate) tag: u64,
    pub(crate) token: u128,
}

/// More tags than this have no place in a header.
pub(crate) const MAX_TAGS: usize = 1_000;

/// A value, and what its envelope says about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) about: About,
    /// Names the write; the lease, where somebody holds one.
    pub(crate) token: u128,
    pub(crate) mark: Option<Mark>,
    pub(crate) etag: Option<&'a str>,
    /// A `None` that is remembered: there is no payload.
    pub(crate) nothing: bool,
    pub(crate) payload: &'a [u8],
}

impl Entry<'_> {
    /// Whether the value answers, at `now` on the backend's clock.
    ///
    /// One that the backend keeps no longer than it is fresh is, for as long as it is there: that needs no clock.
    pub(crate) fn is_fresh(&self, now: u64) -> bool {
        let times = &self.about.times;
        now < times.fresh_until || (self.mark.is_none() && times.kept_until <= times.fresh_until)
    }

    /// In how many milliseconds the value is due to be loaded anew, when `part` of the life is over that was drawn when it
    /// was stored.
    pub(crate) fn due_in(&self, part: f64, now: u64) -> u64 {
        let times = &self.about.times;
        let life = Duration::from_millis(times.fresh_until.saturating_sub(times.created));
        let due = Duration::try_from_secs_f64(life.as_secs_f64() * part).unwrap_or(life);
        let due = times
            .created
            .saturating_add(u64::try_from(due.as_millis()).unwrap_or(u64::MAX));
        due.saturating_sub(now)
    }

    /// The same, or when the next load may be tried, if that is later.
    pub(crate) fn attempt_in(&self, part: f64, now: u64) -> u64 {
        let marked = self.mark.map_or(0, |mark| match mark {
            Mark::Leased(until) | Mark::Failed(until) => until.saturating_sub(now),
        });
        self.due_in(part, now).max(marked)
    }
}

/// What lies under a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Somebody loads it.
    Lease { token: u128 },
    /// A value of the expected type.
    Value(Entry<'a>),
    /// Nothing that this build can use: garbage, another type's value, another version's envelope.
    Foreign,
}

/// Reads an envelope, expecting a value of the type with this `fingerprint`.
pub(crate) fn read(bytes: &[u8], fingerprint: u64) -> Found<'_> {
    parse(bytes, fingerprint).unwrap_or(Found::Foreign)
}

fn parse(bytes: &[u8], fingerprint: u64) -> Option<Found<'_>> {
    let header = bytes.get(..HEADER)?;
    if header[..2] != MAGIC || header[2] != VERSION {
        return None;
    }
    if header[3] == Kind::Lease as u8 {
        return Some(Found::Lease {
            token: wide(header, 8),
        });
    }
    let nothing = header[3] == Kind::Nothing as u8;
    if !(nothing || header[3] == Kind::Json as u8) || number(header, 56) != fingerprint {
        return None;
    }
    let payload_at = usize::from(short(header, 6)).max(HEADER);
    let payload = bytes.get(payload_at..)?;
    let times = Times {
        created: number(header, 24),
        fresh_until: number(header, 32),
        kept_until: number(header, 40),
    };
    let flags = short(header, 4);
    let mark = if flags & FLAG_FAILED != 0 {
        Some(Mark::Failed(number(header, 64)))
    } else {
        (flags & FLAG_LEASED != 0).then(|| Mark::Leased(number(header, 64)))
    };
    let tags_end = HEADER + usize::from(short(header, 72)) * TAG;
    let tags = bytes.get(HEADER..tags_end)?;
    let etag = bytes.get(tags_end..payload_at).and_then(etag);
    Some(Found::Value(Entry {
        about: About {
            times,
            fingerprint,
            epoch: number(header, 48),
            tags: tags.chunks_exact(TAG).map(tag_token).collect(),
        },
        token: wide(header, 8),
        mark,
        etag,
        nothing,
        payload,
    }))
}

/// The text of an `ETag` in what lies between the tags and the payload.
fn etag(bytes: &[u8]) -> Option<&str> {
    let (length, rest) = bytes.split_first_chunk()?;
    let text = rest.get(..usize::from(u16::from_le_bytes(*length)))?;
    std::str::from_utf8(text)
        .ok()
        .filter(|text| !text.is_empty())
}

fn tag_token(bytes: &[u8]) -> TagToken {
    TagToken {
        tag: number(bytes, 0),
        token: wide(bytes, 8),
    }
}

/// Whether this library wrote these bytes, in whatever version.
pub(crate) fn is_own(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER && bytes[..2] == MAGIC
}

/// What a compare-and-set on these bytes compares: less than a stamp where there is less.
pub(crate) fn stamp(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(STAMP)]
}

/// A lease where there is no value yet.
pub(crate) fn lease(token: u128, now: u64, until: u64) -> Vec<u8> {
    let mut out = header(Kind::Lease, token);
    put(&mut out, 24, now);
    put(&mut out, 64, until);
    out
}

/// The same entry with a lease written into its header; `None` if `bytes` is no envelope of this version.
pub(crate) fn leased(bytes: &[u8], token: u128, until: u64) -> Option<Vec<u8>> {
    marked(bytes, token, FLAG_LEASED, until)
}

/// The same entry, where a load has failed: nobody tries again before `until`.
pub(crate) fn failed(bytes: &[u8], token: u128, until: u64) -> Option<Vec<u8>> {
    marked(bytes, token, FLAG_FAILED, until)
}

/// The same entry with no lease in it.
fn unmarked(bytes: &[u8], token: u128) -> Option<Vec<u8>> {
    marked(bytes, token, 0, 0)
}

/// Where the lease that `token` names is written into this value: until when it is kept, and the same without the lease.
pub(crate) fn leased_by(bytes: &[u8], token: u128) -> Option<(u64, Vec<u8>)> {
    let is_leased = is_named(bytes, token) && short(bytes, 4) & MARKS == FLAG_LEASED;
    let unmarked = is_leased.then(|| unmarked(bytes, fastrand::u128(..)))??;
    Some((number(bytes, 40), unmarked))
}

/// Whether this is the write, or the lease, that `token` names.
pub(crate) fn is_named(bytes: &[u8], token: u128) -> bool {
    is_own(bytes) && wide(bytes, 8) == token
}

fn marked(bytes: &[u8], token: u128, mark: u16, until: u64) -> Option<Vec<u8>> {
    if bytes.len() < HEADER || bytes[..2] != MAGIC || bytes[2] != VERSION {
        return None;
    }
    let mut out = bytes.to_vec();
    let flags = short(&out, 4) & !MARKS | mark;
    out[4..6].copy_from_slice(&flags.to_le_bytes());
    out[8..24].copy_from_slice(&token.to_le_bytes());
    put(&mut out, 64, until);
    Some(out)
}

/// A value, with the payload to be appended by `write`.
///
/// Of more than [`MAX_TAGS`] tags the rest is left out: the caller sees to it that there are none.
pub(crate) fn value<E>(
    token: u128,
    about: &About,
    etag: Option<&str>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let mut out = filled(Kind::Json, token, about, etag);
    write(&mut out)?;
    Ok(out)
}

/// A `None` that is remembered.
pub(crate) fn nothing(token: u128, about: &About) -> Vec<u8> {
    filled(Kind::Nothing, token, about, None)
}

/// Everything in front of the payload.
fn filled(kind: Kind, token: u128, about: &About, etag: Option<&str>) -> Vec<u8> {
    let mut out = header(kind, token);
    put(&mut out, 24, about.times.created);
    put(&mut out, 32, about.times.fresh_until);
    put(&mut out, 40, about.times.kept_until);
    put(&mut out, 48, about.epoch);
    put(&mut out, 56, about.fingerprint);
    let tags = &about.tags[..about.tags.len().min(MAX_TAGS)];
    put_short(&mut out, 72, tags.len());
    for tag in tags {
        out.extend_from_slice(&tag.tag.to_le_bytes());
        out.extend_from_slice(&tag.token.to_le_bytes());
    }
    if let Some(etag) = etag.filter(|etag| etag.len() <= MAX_ETAG) {
        let at = out.len();
        out.extend_from_slice(&[0; 2]);
        put_short(&mut out, at, etag.len());
        out.extend_from_slice(etag.as_bytes());
    }
    let payload_at = out.len();
    put_short(&mut out, 6, payload_at);
    out
}

/// Writes tokens that became known later into an envelope that has places for them, behind the first `skip` ones.
pub(crate) fn write_tokens(envelope: &mut [u8], skip: usize, tokens: &[TagToken]) {
    let places = envelope[HEADER + skip * TAG..].chunks_exact_mut(TAG);
    for (place, token) in places.zip(tokens) {
        place[..8].copy_from_slice(&token.tag.to_le_bytes());
        place[8..].copy_from_slice(&token.token.to_le_bytes());
    }
}

/// What tells one type's values from another's: the name of the type and the version that the user gave it.
///
/// FNV-1a, because the number has to be the same in every process and after every update of a hashing crate.
pub(crate) fn fingerprint<V: ?Sized>(version: u32) -> u64 {
    let name = std::any::type_name::<V>().as_bytes();
    name.iter()
        .chain(&version.to_le_bytes())
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
        })
}

fn header(kind: Kind, token: u128) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.resize(HEADER, 0);
    out[..2].copy_from_slice(&MAGIC);
    out[2] = VERSION;
    out[3] = kind as u8;
    put_short(&mut out, 6, HEADER);
    out[8..24].copy_from_slice(&token.to_le_bytes());
    out
}

fn put(out: &mut [u8], at: usize, number: u64) {
    out[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// A number that fits into two bytes: [`MAX_TAGS`] sees to it.
fn put_short(out: &mut [u8], at: usize, number: usize) {
    let number = u16::try_from(number).unwrap_or(u16::MAX);
    out[at..at + 2].copy_from_slice(&number.to_le_bytes());
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn wide(bytes: &[u8], at: usize) -> u128 {
    let mut own = [0; 16];
    own.copy_from_slice(&bytes[at..at + 16]);
    u128::from_le_bytes(own)
}

fn number(header: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[at..at + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    const TIMES: Times = Times {
        created: 1,
        fresh_until: 2,
        kept_until: 3,
    };

    fn about() -> About {
        About {
            times: TIMES,
            fingerprint: 42,
            epoch: 9,
            tags: smallvec![TagToken { tag: 5, token: 6 }, TagToken { tag: 7, token: 8 }],
        }
    }

    fn sample() -> Vec<u8> {
        value(7, &about(), Some("W/\"1\""), |out| -> Result<(), ()> {
            out.extend_from_slice(b"{}");
            Ok(())
        })
        .unwrap()
    }

    fn entry() -> Entry<'static> {
        Entry {
            about: about(),
            token: 7,
            mark: None,
            etag: Some("W/\"1\""),
            nothing: false,
            payload: b"{}",
        }
    }

    #[test]
    fn a_value_comes_back_as_it_was() {
        assert_eq!(read(&sample(), 42), Found::Value(entry()));
    }

    #[test]
    fn a_remembered_none_has_no_payload() {
        let bytes = nothing(7, &about());
        let found = Entry {
            nothing: true,
            etag: None,
            payload: b"",
            ..entry()
        };
        assert_eq!(read(&bytes, 42), Found::Value(found));
        assert_eq!(read(&bytes, 43), Found::Foreign, "another type's");
    }

    #[test]
    fn an_etag_that_is_too_long_is_left_out() {
        let etag = "x".repeat(MAX_ETAG + 1);
        let bytes = value(7, &about(), Some(&etag), |_| Ok::<_, ()>(())).unwrap();
        let found = Entry {
            etag: None,
            payload: b"",
            ..entry()
        };
        assert_eq!(read(&bytes, 42), Found::Value(found));
    }

    #[test]
    fn only_what_outlives_its_freshness_goes_by_the_clock() {
        let mut kept = entry();
        assert!(kept.is_fresh(1) && !kept.is_fresh(2));
        kept.about.times.kept_until = 2;
        assert!(kept.is_fresh(1_000), "the backend lets go of it by itself");
        kept.mark = Some(Mark::Leased(9));
        assert!(!kept.is_fresh(2), "kept by the lease alone");
    }

    #[test]
    fn a_value_under_a_lease_can_still_be_read_and_has_another_stamp() {
        let plain = sample();
        let marked = [
            (leased(&plain, 8, 99).unwrap(), Some(Mark::Leased(99))),
            (failed(&plain, 8, 99).unwrap(), Some(Mark::Failed(99))),
        ];
        for (bytes, mark) in marked {
            let found = Entry {
                token: 8,
                mark,
                ..entry()
            };
            assert_eq!(read(&bytes, 42), Found::Value(found));
            assert_ne!(stamp(&plain), stamp(&bytes));
            assert_eq!(unmarked(&bytes, 7).unwrap(), plain);
        }
    }

    #[test]
    fn tokens_can_be_written_later() {
        let mut late = about();
        late.tags[1].token = 0;
        let mut bytes = value(7, &late, entry().etag, |out| -> Result<(), ()> {
            out.extend_from_slice(b"{}");
            Ok(())
        })
        .unwrap();
        assert_ne!(bytes, sample());
        write_tokens(&mut bytes, 1, &about().tags[1..]);
        assert_eq!(bytes, sample());
    }

    #[test]
    fn a_lease_is_not_a_value() {
        assert_eq!(read(&lease(7, 10, 20), 42), Found::Lease { token: 7 });
    }

    #[test]
    fn what_is_not_ours_is_foreign() {
        let mut newer = sample();
        newer[2] = 2;
        let cut = &sample()[..40];
        for bytes in [&b""[..], b"x", b"{\"json\":true}", cut, &newer] {
            assert_eq!(read(bytes, 42), Found::Foreign);
        }
        assert_eq!(read(&sample(), 43), Found::Foreign, "another type");
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        let mut bytes = sample();
        for at in 0..HEADER {
            for flip in [0x00, 0x7F, 0xFF] {
                let kept = std::mem::replace(&mut bytes[at], flip);
                let _ = read(&bytes, 42);
                let _ = leased(&bytes, 1, 1);
                bytes[at] = kept;
            }
        }
    }

    #[test]
    fn the_fingerprint_tells_types_and_versions_apart() {
        assert_ne!(fingerprint::<u32>(0), fingerprint::<u64>(0));
        assert_ne!(fingerprint::<u32>(0), fingerprint::<u32>(1));
        assert_eq!(fingerprint::<u32>(1), fingerprint::<u32>(1));
    }
}

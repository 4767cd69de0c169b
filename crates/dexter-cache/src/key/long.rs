//! Keys beyond the length limit.

use sha2::{Digest, Sha256};

use super::bytes::Bytes;

/// The longest key, in bytes.
pub(super) const LIMIT: usize = 1024;

/// `^` and 128 bits in hexadecimal.
const TAIL: usize = 1 + 2 * DIGEST;
const DIGEST: usize = 16;

/// Puts a digest of the whole text in place of what lies beyond the limit.
#[cold]
pub(super) fn shorten(text: &mut Bytes) {
    let digest = Sha256::digest(&**text);
    let head = cut(text);
    let mut short = Bytes::from_slice(&text[..head]);
    // No value holds a `^`, so no key of this form is the full text of another.
    short.extend(b"^");
    for byte in &digest[..DIGEST] {
        for digit in [byte >> 4, byte & 0xf] {
            short.extend(&[b"0123456789abcdef"[usize::from(digit)]]);
        }
    }
    *text = short;
}

/// Where to cut: not within a character, nor within a percent-encoded byte.
fn cut(text: &[u8]) -> usize {
    let mut at = LIMIT - TAIL;
    while text[at] & 0xc0 == 0x80 {
        at -= 1;
    }
    match text[at - 2..at] {
        [b'%', _] => at - 2,
        [_, b'%'] => at - 1,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortened(text: &str) -> String {
        let mut bytes = Bytes::from_slice(text.as_bytes());
        shorten(&mut bytes);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn the_head_stays_readable() {
        let long = format!("get_issue:path={}", "x".repeat(2000));
        let short = shortened(&long);
        assert_eq!(short.len(), LIMIT);
        assert_eq!(&short[..991], &long[..991]);
        assert_eq!(&short[991..992], "^");
        assert!(
            short[992..]
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        );
    }

    #[test]
    fn the_tail_tells_keys_apart() {
        let long = "x".repeat(2000);
        assert_ne!(
            shortened(&format!("{long}1")),
            shortened(&format!("{long}2"))
        );
        assert_eq!(shortened(&long), shortened(&long));
    }

    #[test]
    fn neither_characters_nor_escapes_are_cut() {
        for shift in 0..6 {
            let head = "x".repeat(985 + shift);
            for unit in ["漢", "%2C", "ü", "😀"] {
                let short = shortened(&format!("{head}{}", unit.repeat(100)));
                let (text, _) = short.split_once('^').unwrap();
                assert!(
                    text[head.len()..].replace(unit, "").is_empty(),
                    "{text} cuts {unit}"
                );
            }
        }
    }
}

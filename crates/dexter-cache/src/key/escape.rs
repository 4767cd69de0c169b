//! Percent-encoding: the one place that knows which bytes a key never holds as they are.

use super::builder::Text;

/// What has to be done with a byte of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Byte {
    Plain = 0,
    /// Reserved by keys or by patterns.
    Reserved,
    /// The first byte of a character beyond ASCII, some of which are white space or control characters.
    Lead,
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

static BYTES: [Byte; 256] = table();

const fn table() -> [Byte; 256] {
    let mut table = [Byte::Plain; 256];
    let mut byte = 0;
    while byte <= b' ' as usize {
        table[byte] = Byte::Reserved;
        byte += 1;
    }
    table[0x7f] = Byte::Reserved;
    // `^` also stands before the digest of a long key, and `%` before the marks of what is absent or empty.
    let reserved = b"%&=,*?[]\\^{}";
    let mut at = 0;
    while at < reserved.len() {
        table[reserved[at] as usize] = Byte::Reserved;
        at += 1;
    }
    // White space beyond ASCII lies in U+0085..=U+00A0, U+1680, U+2000..=U+205F and U+3000.
    table[0xc2] = Byte::Lead;
    table[0xe1] = Byte::Lead;
    table[0xe2] = Byte::Lead;
    table[0xe3] = Byte::Lead;
    table
}

/// Appends `text`, percent-encoded `times` times over: once for a value, once more for each value that it lies in.
pub(super) fn push_text(out: &mut Text, text: &str, times: usize) {
    let bytes = text.as_bytes();
    if is_plain(bytes) {
        out.push_bytes(bytes);
    } else {
        push_special(out, text, times);
    }
}

/// Whether no byte is special. All are looked at before the one branch: texts are short, and nearly all of them plain.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    let class = |byte: u8| BYTES[usize::from(byte)] as u8;
    let eight = |&[a, b, c, d, e, f, g, h]: &[u8; 8]| {
        (class(a) | class(b) | class(c) | class(d)) | (class(e) | class(f) | class(g) | class(h))
    };
    let special = match bytes.last_chunk() {
        // The last eight may overlap those before, which costs less than to look at the rest byte by byte.
        Some(last) => {
            let (eights, _) = bytes.as_chunks();
            eights
                .iter()
                .fold(eight(last), |all, next| all | eight(next))
        }
        None => bytes.iter().fold(0, |all, &byte| all | class(byte)),
    };
    special == Byte::Plain as u8
}

/// [`push_text`] for a text that may have to be encoded somewhere.
fn push_special(out: &mut Text, text: &str, times: usize) {
    let bytes = text.as_bytes();
    let mut done = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let width = match BYTES[usize::from(byte)] {
            Byte::Plain => 0,
            Byte::Reserved => 1,
            Byte::Lead => blank_width(&text[at..]),
        };
        if width == 0 {
            at += 1;
            continue;
        }
        out.push_bytes(&bytes[done..at]);
        for &byte in &bytes[at..at + width] {
            push_byte(out, byte, times);
        }
        at += width;
        done = at;
    }
    out.push_bytes(&bytes[done..]);
}

/// How many bytes the first character of `text` takes, if it is white space or a control character; else none.
fn blank_width(text: &str) -> usize {
    match text.chars().next() {
        Some(char) if char.is_whitespace() || char.is_control() => char.len_utf8(),
        _ => 0,
    }
}

/// Appends one byte, percent-encoded `times` times over; as it is where that is zero.
pub(super) fn push_byte(out: &mut Text, byte: u8, times: usize) {
    if times == 0 {
        out.push(byte);
        return;
    }
    push_percent(out, times - 1);
    out.push(HEX[usize::from(byte >> 4)]);
    out.push(HEX[usize::from(byte & 0xf)]);
}

/// Appends a mark: `%` and a character that no percent-encoded byte has there, so that no value reads like it.
pub(super) fn push_mark(out: &mut Text, mark: u8, times: usize) {
    push_percent(out, times);
    out.push(mark);
}

/// A `%` that has itself been encoded `times` times.
fn push_percent(out: &mut Text, times: usize) {
    out.push(b'%');
    for _ in 0..times {
        out.push_bytes(b"25");
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn escaped(text: &str, times: usize) -> String {
        let mut out = Text::new(b"");
        push_text(&mut out, text, times);
        String::from_utf8(out.bytes().to_vec()).unwrap()
    }

    #[test]
    fn what_paths_are_made_of_stays() {
        let plain = "/api/v1/issues/123:a.b-c_d~!@#$'()+;<>|`\"äöü漢字";
        assert_eq!(escaped(plain, 1), plain);
    }

    #[test]
    fn each_reserved_character_is_encoded() {
        for char in
            "%&=,*?[]\\^{} \t\n\r\0\x1b\x7f\u{85}\u{a0}\u{1680}\u{2003}\u{2028}\u{202f}\u{3000}"
                .chars()
        {
            let mut hex = String::new();
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                write!(hex, "%{byte:02X}").unwrap();
            }
            assert_eq!(escaped(&format!("a{char}ü"), 1), format!("a{hex}ü"));
        }
    }

    #[test]
    fn no_white_space_and_no_control_character_passes() {
        let all = ('\0'..=char::MAX).collect::<String>();
        assert!(!escaped(&all, 1).contains(|char: char| char.is_whitespace() || char.is_control()));
    }

    #[test]
    fn encoding_twice_is_encoding_what_was_encoded() {
        let text = "a=1&b=%2C \u{a0}ü";
        assert_eq!(escaped(text, 2), escaped(&escaped(text, 1), 1));
        assert_eq!(escaped(text, 3), escaped(&escaped(text, 2), 1));
    }
}

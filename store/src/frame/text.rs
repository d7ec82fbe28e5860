//! Whether bytes are a text, and one with the parts of a stream key: seen eight bytes at a time, since it is
//! asked for every frame that is read.

/// Whether bytes are a text.
#[inline(always)]
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let high = match bytes.last_chunk::<8>() {
        Some(last) => {
            let words = bytes.as_chunks::<8>().0.iter();
            let last = u64::from_le_bytes(*last);
            words.fold(last, |high, word| high | u64::from_le_bytes(*word))
        }
        None => few(bytes),
    };
    high & HIGH_BITS == 0 || std::str::from_utf8(bytes).is_ok()
}

/// Whether bytes are a text with the three parts of a stream key, of which only the tenant may be empty.
#[inline(always)]
pub(super) fn is_stream_key(key: &[u8]) -> bool {
    zeros(key) == 2 && are_separated(key) == Some(true) && is_text(key)
}

/// Whether the two zeros of a key stand neither side by side nor at its end.
#[inline(always)]
fn are_separated(key: &[u8]) -> Option<bool> {
    let tenant = key.iter().position(|byte| *byte == 0)?;
    Some(*key.get(tenant + 1)? != 0 && *key.last()? != 0)
}

/// How many bytes are zero.
#[inline(always)]
fn zeros(bytes: &[u8]) -> usize {
    if bytes.len() > COUNTED_BYTES_MAX {
        return bytes.iter().filter(|byte| **byte == 0).count();
    }
    let (words, rest) = bytes.as_chunks::<8>();
    let counts = match bytes.last_chunk::<8>() {
        // Those of the last eight that are in a word as well are pushed out.
        Some(last) => {
            let twice = 64 - 8 * rest.len() as u32;
            let last = zero_bytes(u64::from_le_bytes(*last));
            let add = |counts, word: &[u8; 8]| counts + zero_bytes(u64::from_le_bytes(*word));
            words.iter().fold(last.checked_shr(twice).unwrap_or(0), add)
        }
        None => zero_bytes(few(bytes)),
    };
    // The highest byte of the product is the sum of all eight.
    (counts.wrapping_mul(LOW_BITS) >> 56) as usize
}

/// At most seven bytes as a word, behind bytes that are plain and not zero.
#[inline(always)]
fn few(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(LOW_BITS, |word, byte| (word << 8) | u64::from(*byte))
}

/// As many as can be counted in a byte.
const COUNTED_BYTES_MAX: usize = 240;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;

/// For each byte 1 if it is zero, else 0.
#[inline(always)]
fn zero_bytes(word: u64) -> u64 {
    // The sum carries into a byte's high bit if any of its low bits is set, and never beyond.
    (!(((word & !HIGH_BITS) + !HIGH_BITS) | word) & HIGH_BITS) >> 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_by_words_gives_what_looking_at_each_byte_gives() {
        for length in (0..40).chain(230..260) {
            for at in 0..length.max(1) {
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut bytes: Vec<u8> = (0..length).map(|n| (n % 5) as u8 * 30).collect();
                    if let Some(place) = bytes.get_mut(at) {
                        *place = byte;
                    }
                    assert_eq!(
                        zeros(&bytes),
                        bytes.iter().filter(|byte| **byte == 0).count()
                    );
                    assert_eq!(is_text(&bytes), std::str::from_utf8(&bytes).is_ok());
                }
            }
        }
        assert_eq!(zeros(&[0; 258]), 258);
    }

    #[test]
    fn text_is_utf_8_of_any_kind() {
        assert!(is_text(b"") && is_text(b"Deposited") && is_text("Überwiesen".as_bytes()));
        assert!(!is_text(b"\xff") && !is_text(b"Deposited\xc3"));
    }

    #[test]
    fn a_stream_key_has_three_parts_of_which_only_the_tenant_may_be_empty() {
        for right in ["\0account\0a", "tenant\0account\0a", "\0konto\0\u{fc}"] {
            assert!(is_stream_key(right.as_bytes()), "{right:?}");
        }
        for wrong in [
            "",
            "account",
            "account\0a",
            "\0account",
            "\0account\0",
            "\0\0a",
            "t\0\0a",
            "\0\0",
            "t\0account\0a\0",
            "t\0account\0a\0b",
        ] {
            assert!(!is_stream_key(wrong.as_bytes()), "{wrong:?}");
        }
        assert!(!is_stream_key(b"\0account\0\xff"));
    }
}

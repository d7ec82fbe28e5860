//! Bytes as hexadecimal digits, and back.

/// Two digits a byte, in small letters.
///
/// # Examples
/// ```
/// use chronicler_store::hex;
///
/// assert_eq!(hex::encode(&[0, 0xaf]), "00af");
/// assert_eq!(hex::decode("00af"), Ok(vec![0, 0xaf]));
/// ```
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(*DIGITS.get(usize::from(value)).unwrap_or(&b'?'));
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// The bytes that the digits stand for.
///
/// # Errors
/// In words: an odd number of digits, or something that [`encode`] does not write.
pub fn decode(digits: &str) -> Result<Vec<u8>, String> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err("the number of hexadecimal digits is odd".to_owned());
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(format!("{:?} is no hexadecimal digit", char::from(digit))),
    };
    let byte = |[high, low]: &[u8; 2]| Ok(value(*high)? << 4 | value(*low)?);
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is_read() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Ok(all));
        for wrong in ["0", "0g", "0A", "é"] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }
}

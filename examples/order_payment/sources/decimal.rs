//! Decimal money as exact integers: no float is ever made of it.

use order_payment::domain::{AMOUNT_MAX, Amount};

/// Reads `128.45`, `99.9` or `144` as centavos.
pub(crate) fn parse_centavos(text: &str) -> Result<Amount, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let centavos = (fraction.len() <= 2)
        .then(|| Some((parse_digits(whole)?, parse_digits(fraction)?)))
        .flatten()
        .map(|(whole, part)| {
            let part = if fraction.len() == 1 { part * 10 } else { part };
            whole.saturating_mul(100).saturating_add(part)
        });
    match centavos {
        Some(amount) if amount <= AMOUNT_MAX => Ok(sign * amount),
        Some(_) => Err(format!("{text:?} is more than {AMOUNT_MAX} centavos")),
        None => Err(format!("{text:?} is no amount with at most two decimals")),
    }
}

fn parse_digits(text: &str) -> Option<Amount> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(parse_centavos("128.45"), Ok(12_845));
        assert_eq!(parse_centavos("99.9"), Ok(9_990));
        assert_eq!(parse_centavos("144"), Ok(14_400));
        assert_eq!(parse_centavos("144.0"), Ok(14_400));
        assert_eq!(parse_centavos("0.07"), Ok(7));
        assert_eq!(parse_centavos("-1.50"), Ok(-150));
    }

    #[test]
    fn what_is_not_exact_is_refused() {
        for text in [
            "", ".5", "5.", "1.234", "1e3", "1,5", "+1", "--1", "NaN", " 1",
        ] {
            assert!(parse_centavos(text).is_err(), "{text:?} was taken");
        }
        assert!(parse_centavos("99999999999999999999").is_err());
        assert!(parse_centavos("9999999999999999").is_err());
    }
}

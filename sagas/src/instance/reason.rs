//! The reasons of failures, as they are kept: at most so long.

/// Bytes that are kept of what a service, a panic or the machinery says of a failure. What is longer is cut.
pub(crate) const REASON_MAX: usize = 1_024;

/// The beginning of a reason, at most [`REASON_MAX`] bytes of it.
pub(crate) fn cut(reason: String) -> String {
    let mut end = reason.len().min(REASON_MAX);
    if end == reason.len() {
        return reason;
    }
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_two_characters() {
        assert_eq!(cut("away".to_owned()), "away");
        let long = cut(format!("a{}", "\u{e4}".repeat(REASON_MAX)));
        assert_eq!(long.len(), REASON_MAX - 1);
    }
}

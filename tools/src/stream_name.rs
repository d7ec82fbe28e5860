//! Streams as an operator writes them: `account/alice`, or `acme:account/alice` under a named tenant. Names and texts as a
//! terminal shows them.

use chronicler_domain::StreamId;

/// A stream key as it is shown.
pub(crate) fn show(key: &str) -> String {
    StreamId::from_key(key).map_or_else(|| key.replace('\0', "/"), |stream| stream.to_string())
}

/// A name as it is shown on a terminal, of a stream, a key, a subscription: as it is, so that it can be copied into the next
/// command, but for characters that would control the terminal.
pub(crate) fn printable(name: &str) -> String {
    escaped(name, |character| character.is_control())
}

/// A text as it is shown on a terminal, on one line, with its quotation marks as they are: what controls the terminal, or
/// changes the order in which text is read, is escaped.
pub(crate) fn on_a_line(text: &str) -> String {
    escaped(text, |character| !matches!(character, '"' | '\'' | '\\'))
}

fn escaped(text: &str, is_suspect: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match is_suspect(character) {
            true => shown.extend(character.escape_debug()),
            false => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c1_a_name_stays_as_it_is_written_but_for_what_controls_a_terminal() {
        for name in ["account/o'neil", "a:b/\"c\"", "d/e\\f", "g/h\u{200d}i"] {
            assert_eq!(printable(name), name);
        }
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }

    #[test]
    fn a_text_stays_on_its_line_with_its_quotation_marks() {
        assert_eq!(on_a_line("it's \"so\""), "it's \"so\"");
        assert_eq!(on_a_line("a\nb\u{202e}c"), "a\\nb\\u{202e}c");
    }
}

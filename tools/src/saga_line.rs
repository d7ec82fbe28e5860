//! Sagas in words.

use std::fmt;

use chronicler::operator::{EffectLine, SagaDetail, SagaLine};

use crate::stream_name::{on_a_line, printable};

/// Characters of what an effect sends that are shown.
const SHOWN_MAX: usize = 1_000;

/// A line about an open saga.
pub(crate) struct Line<'a>(pub(crate) &'a SagaLine);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let saga = self.0;
        let (stream, status) = (printable(&saga.stream), &saga.status);
        write!(f, "{stream}: {status}, began {}", saga.since)?;
        write!(f, ", version {}", saga.version)?;
        if !saga.waits_for.is_empty() {
            write!(f, ", waits for {}", printable(&saga.waits_for.join(", ")))?;
        }
        if let Some(until) = saga.until {
            write!(f, " until {until}")?;
        }
        if let Some(why) = &saga.escalated {
            write!(f, ", LOOK AT IT: {}", on_a_line(why))?;
        }
        if !saga.registered {
            write!(f, ", NOT REGISTERED: it does not go on")?;
        }
        Ok(())
    }
}

/// Everything about one saga.
pub(crate) struct Whole<'a>(pub(crate) &'a SagaDetail);

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let saga = self.0;
        let version = saga.version.map(|version| format!(", version {version}"));
        write!(
            f,
            "{}{}",
            printable(&saga.stream),
            version.unwrap_or_default()
        )?;
        write!(f, "\n  {}", saga.status)?;
        if !saga.detail.is_empty() {
            write!(f, ": {}", on_a_line(&saga.detail))?;
        }
        write!(f, "\n  began {}, last moved {}", saga.since, saga.moved)?;
        if saga.pivoted {
            write!(f, "\n  it has passed its pivot, and only goes forward")?;
        }
        if let Some(why) = &saga.escalated {
            write!(f, "\n  LOOK AT IT: {}", on_a_line(why))?;
        }
        if let Some(parent) = &saga.parent {
            write!(f, "\n  begun by {}", printable(parent))?;
        }
        if saga.stalled > 0 {
            write!(
                f,
                "\n  {} inputs wait until it is released or resumed",
                saga.stalled
            )?;
        }
        write!(f, "\neffects")?;
        for (number, effect) in saga.effects.iter().enumerate() {
            write!(f, "\n  {number:>3} {}", Effect(effect))?;
        }
        for (key, due) in &saga.timers {
            write!(f, "\ntimer {} due {due}", printable(key))?;
        }
        if !saga.remaining.is_empty() {
            write!(f, "\nremains {}", printable(&saga.remaining.join(", ")))?;
        }
        write!(f, "\nhistory")?;
        for line in &saga.history {
            let (what, says) = (on_a_line(&line.what), on_a_line(&line.says));
            write!(f, "\n  {} {:>8} {what} {says}", line.at, line.position)?;
        }
        Ok(())
    }
}

/// One effect, and what is sent for it while somebody might want to know.
struct Effect<'a>(&'a EffectLine);

impl fmt::Display for Effect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = self.0;
        let (key, target) = (printable(&effect.key), printable(&effect.target));
        write!(f, "{key} to {target}: {}", on_a_line(&effect.state))?;
        if !effect.undo.is_empty() {
            write!(f, "; its undo: {}", on_a_line(&effect.undo))?;
        }
        let is_over = matches!(effect.state.as_str(), "done" | "rejected" | "skipped");
        if let Some(sends) = effect.sends.as_ref().filter(|_| !is_over) {
            write!(f, "\n      sends {}", beginning(sends))?;
        }
        let is_over = matches!(effect.undo.as_str(), "" | "undone" | "given up");
        if let Some(sends) = effect.undo_sends.as_ref().filter(|_| !is_over) {
            write!(f, "\n      its undo sends {}", beginning(sends))?;
        }
        Ok(())
    }
}

/// A text on a line, with its quotation marks as they are; a long one cut, with how long it is.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((cut, _)) => {
            let (begins, all) = (on_a_line(&text[..cut]), text.len());
            format!("{begins}… ({all} bytes; whole with --json)")
        }
        None => on_a_line(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_stays_as_it_is_on_one_line_and_is_cut() {
        assert_eq!(beginning(r#"{"a":"\n"}"#), r#"{"a":"\n"}"#);
        assert_eq!(beginning("a\nb\u{202e}"), "a\\nb\\u{202e}");
        let long = beginning(&"ä".repeat(1_001));
        assert!(
            long.ends_with("ä… (2002 bytes; whole with --json)"),
            "{long}"
        );
    }
}

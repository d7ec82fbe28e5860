//! The rules that an append is held to before anything else is looked at.

use std::collections::HashSet;

use crate::append::{Append, StreamAppend};
use crate::error::AppendError;
use crate::frame::SideRecord;

/// The longest event or outcome type name: what one length byte of a foreign format can hold.
const TYPE_NAME_BYTES_MAX: usize = 255;
/// The longest principal, as the domain documents it.
const PRINCIPAL_BYTES_MAX: usize = 255;
/// The most extra entries of metadata, as the domain documents it.
const EXTRA_ENTRIES_MAX: usize = 16;
/// The longest name or value of an extra entry, as the domain documents it.
const EXTRA_BYTES_MAX: usize = 1_024;
/// The longest key of a fact: it must fit into one row of an index.
const FACT_KEY_BYTES_MAX: usize = 1_024;
/// Up to so many parts are compared pairwise; a hash set costs more than it saves below.
const PARTS_COMPARED_PAIRWISE_MAX: usize = 8;

/// Checks what can be checked without looking at a stream.
///
/// # Errors
/// [`AppendError::Invalid`], which names the rule.
pub(crate) fn check(append: &Append) -> Result<(), AppendError> {
    if append.parts.is_empty() && append.owns_records() {
        return Err(invalid(
            "an outcome or effect belongs to a stream, and the commit has none".to_owned(),
        ));
    }
    check_streams_differ(&append.parts)?;
    for part in &append.parts {
        for event in &part.events {
            let bytes = event.event_type.len();
            if bytes == 0 || bytes > TYPE_NAME_BYTES_MAX {
                return Err(invalid(format!(
                    "an event type of stream {} has {bytes} bytes: 1 to {TYPE_NAME_BYTES_MAX} are allowed",
                    part.stream
                )));
            }
        }
    }
    check_metadata(append)?;
    append.records.iter().try_for_each(check_record)
}

/// The bytes that an append holds for its caller: a lower bound of its frame.
pub(crate) fn payload_bytes(append: &Append) -> usize {
    let events = append.parts.iter().flat_map(|part| &part.events);
    let events: usize = events
        .map(|event| event.payload.len() + event.metadata.len() + event.event_type.len())
        .sum();
    let records = append.records.iter().map(|record| match record {
        SideRecord::Outcome(outcome) => outcome.payload.len(),
        SideRecord::Effect(body) => body.len(),
        SideRecord::Fact { key, value, .. } => key.len() + value.as_ref().map_or(0, |v| v.len()),
    });
    events + records.sum::<usize>()
}

fn check_streams_differ(parts: &[StreamAppend]) -> Result<(), AppendError> {
    let repeated = if parts.len() <= PARTS_COMPARED_PAIRWISE_MAX {
        let before = |(at, part): &(usize, &StreamAppend)| {
            parts.iter().take(*at).any(|p| p.stream == part.stream)
        };
        parts.iter().enumerate().find(before).map(|(_, part)| part)
    } else {
        let mut seen = HashSet::new();
        parts.iter().find(|part| !seen.insert(part.stream.key()))
    };
    match repeated {
        Some(part) => Err(invalid(format!(
            "stream {} stands in the commit twice: put its events into one part",
            part.stream
        ))),
        None => Ok(()),
    }
}

fn check_metadata(append: &Append) -> Result<(), AppendError> {
    let metadata = &append.metadata;
    let principal = metadata.principal.as_ref().map_or(0, |text| text.len());
    if principal > PRINCIPAL_BYTES_MAX {
        return Err(invalid(format!(
            "the principal has {principal} bytes: at most {PRINCIPAL_BYTES_MAX} are allowed"
        )));
    }
    let entries = metadata.extra.len();
    if entries > EXTRA_ENTRIES_MAX {
        return Err(invalid(format!(
            "the metadata has {entries} extra entries: at most {EXTRA_ENTRIES_MAX} are allowed"
        )));
    }
    let long = |(name, value): &(&String, &String)| {
        name.len() > EXTRA_BYTES_MAX || value.len() > EXTRA_BYTES_MAX
    };
    match metadata.extra.iter().find(long) {
        Some((name, value)) => Err(invalid(format!(
            "the extra metadata {:?}… has a name of {} and a value of {} bytes: at most {EXTRA_BYTES_MAX} are allowed",
            name.chars().take(24).collect::<String>(),
            name.len(),
            value.len()
        ))),
        None => Ok(()),
    }
}

fn check_record(record: &SideRecord) -> Result<(), AppendError> {
    match record {
        SideRecord::Fact { key, .. } if key.len() > FACT_KEY_BYTES_MAX => Err(invalid(format!(
            "the key of a fact has {} bytes: at most {FACT_KEY_BYTES_MAX} are allowed",
            key.len()
        ))),
        SideRecord::Outcome(outcome) if outcome.type_name.len() > TYPE_NAME_BYTES_MAX => {
            Err(invalid(format!(
                "the type name of an outcome has {} bytes: at most {TYPE_NAME_BYTES_MAX} are allowed",
                outcome.type_name.len()
            )))
        }
        _ => Ok(()),
    }
}

fn invalid(reason: String) -> AppendError {
    AppendError::Invalid { reason }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chronicler_domain::{StreamId, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::append::Expected;
    use crate::frame::FactKind;

    fn empty() -> Append {
        Append::new(Uuid::from_u128(1), Timestamp::EPOCH)
    }

    fn refused(append: &Append, part_of_reason: &str) {
        let error = check(append).unwrap_err().to_string();
        assert!(error.contains(part_of_reason), "{error}");
    }

    #[test]
    fn a_stream_twice_is_refused_in_short_and_long_commits() {
        let stream = |n: usize| StreamId::of("account", &format!("a{n}")).unwrap();
        for parts in [2, 40] {
            let mut append = empty();
            for n in 0..parts {
                append = append.stream(stream(n), Expected::Any, Vec::new());
            }
            assert!(check(&append).is_ok());
            refused(
                &append.stream(stream(1), Expected::Any, Vec::new()),
                "account/a1 stands",
            );
        }
    }

    #[test]
    fn an_effect_without_a_stream_and_long_names_are_refused() {
        refused(
            &empty().record(SideRecord::Effect(Bytes::new())),
            "belongs to a stream",
        );
        let mut append = empty();
        append.metadata.principal = Some("p".repeat(256).into());
        refused(&append, "principal has 256 bytes");
        let mut append = empty();
        append.metadata.extra.insert("n".into(), "v".repeat(1_025));
        refused(&append, "1025 bytes");
        let mut append = empty();
        for n in 0..17 {
            append.metadata.extra.insert(n.to_string(), String::new());
        }
        refused(&append, "17 extra entries");
        let fact = SideRecord::Fact {
            kind: FactKind::CURSOR,
            key: Bytes::from(vec![0; 1_025]),
            value: None,
        };
        refused(&empty().record(fact), "1025 bytes");
    }
}

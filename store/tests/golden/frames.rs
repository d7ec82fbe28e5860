//! Golden frames: today's encoder writes them, today's decoder reads them, and damage to them is noticed.

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, LogSequence, StreamVersion, Timestamp};
use chronicler_store::frame::{FramePlace, HEADER_BYTES, encode};
use chronicler_store::{Append, NewEvent, RecordRef, RecordedCommit, SideRecord, hex};

use super::file;
use super::history::{Written, history};

/// A commit and its golden bytes.
struct Golden {
    written: Written,
    frame: Bytes,
    log_offset: u64,
}

#[test]
fn the_encoder_writes_the_golden_frames() {
    for (golden, encoded) in golden().iter().zip(encoded()) {
        let name = golden.written.name;
        assert_eq!(hex::encode(&encoded), hex::encode(&golden.frame), "{name}");
    }
}

#[test]
fn the_decoder_reads_the_golden_frames() {
    let mut sequence = LogSequence::ZERO;
    let mut previous_checksum = 0;
    for golden in golden() {
        sequence = sequence.next();
        let read = RecordedCommit::parse(&golden.frame, golden.log_offset).unwrap();
        assert_eq!(read.sequence(), sequence);
        assert_eq!(read.header().previous_checksum, previous_checksum);
        previous_checksum = read.header().checksum;
        assert_reads(&read, &golden.written);
    }
}

#[test]
fn a_golden_frame_with_a_flipped_bit_or_cut_anywhere_is_an_error() {
    for golden in golden() {
        let name = golden.written.name;
        for at in 0..golden.frame.len() {
            let cut = golden.frame.slice(..at);
            let read = RecordedCommit::parse(&cut, golden.log_offset);
            assert!(read.is_err(), "{name} cut at {at}");
            for bit in 0..8 {
                let flipped = flipped(&golden.frame, at, bit);
                let read = RecordedCommit::parse(&flipped, golden.log_offset);
                assert!(read.is_err(), "{name}, bit {bit} of byte {at}");
            }
        }
    }
}

/// What faulty code could write: any bytes under a right checksum.
#[test]
fn a_golden_frame_with_a_flipped_bit_under_a_right_checksum_never_panics() {
    let (mut read_on, mut refused) = (0, 0);
    for golden in golden() {
        for at in 8..golden.frame.len() {
            for bit in 0..8 {
                let resealed = resealed(flipped(&golden.frame, at, bit));
                match RecordedCommit::parse(&resealed, golden.log_offset) {
                    Ok(commit) => {
                        look_at_everything(&commit);
                        read_on += 1;
                    }
                    Err(error) => {
                        assert!(!error.can_be_torn(), "{error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(read_on > 1_000 && refused > 1_000, "{read_on}, {refused}");
}

#[test]
fn a_frame_of_a_newer_release_is_told_from_a_torn_one() {
    let golden = golden().swap_remove(0);
    for (byte, refused) in [(12, true), (13, true), (14, false), (15, true)] {
        for bit in 0..8 {
            let newer = resealed(flipped(&golden.frame, byte, bit));
            let read = RecordedCommit::parse(&newer, golden.log_offset);
            assert_eq!(read.is_err(), refused, "bit {bit} of byte {byte}");
            assert!(read.err().is_none_or(|error| !error.can_be_torn()));
        }
    }
}

#[test]
fn the_example_of_the_format_page_is_the_first_golden_frame() {
    let page = file::folder().join("../../../docs/FORMAT.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, example) = page.split_once("```hex\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let bytes: Vec<u8> = example.lines().flat_map(file::bytes_of).collect();
    assert_eq!(hex::encode(&bytes), hex::encode(&golden()[0].frame));
}

#[test]
#[ignore = "writes the golden frames anew: only together with a new format"]
fn write_golden_frames() {
    let names = history().into_iter().map(|written| written.name);
    let frames: Vec<_> = names.zip(encoded()).collect();
    file::write(&frames);
}

/// The golden frames, in order.
pub(crate) fn golden_bytes() -> Vec<Bytes> {
    golden().into_iter().map(|golden| golden.frame).collect()
}

fn golden() -> Vec<Golden> {
    let (frames, history) = (file::read(), history());
    assert_eq!(frames.len(), history.len());
    let mut log_offset = 0;
    let mut golden = Vec::new();
    for ((name, frame), written) in frames.into_iter().zip(history) {
        assert_eq!(name, written.name);
        let length = frame.len() as u64;
        golden.push(Golden {
            written,
            frame: Bytes::from(frame),
            log_offset,
        });
        log_offset += length;
    }
    golden
}

/// The history as today's encoder writes it.
fn encoded() -> Vec<Vec<u8>> {
    let mut log = Vec::new();
    let (mut starts, mut checksum, mut sequence) = (Vec::new(), 0, LogSequence::ZERO);
    for written in history() {
        sequence = sequence.next();
        let start = log.len();
        let placed = |part: &Option<(u64, Option<usize>)>| {
            let (version, previous) = (*part)?;
            let previous = previous.map(|number| starts[number]);
            Some((StreamVersion::new(version), previous))
        };
        let parts: Vec<_> = written.parts.iter().map(placed).collect();
        let place = FramePlace {
            previous_checksum: checksum,
            sequence,
            first_position: GlobalPosition::new(written.first_position),
            timestamp: Timestamp::from_micros(written.timestamp),
            log_offset: start as u64,
            parts: &parts,
        };
        checksum = encode(&written.append, &place, &mut log).unwrap();
        starts.push(start as u64);
    }
    let ends = starts.iter().skip(1).copied().chain([log.len() as u64]);
    let frame = |(start, end): (&u64, u64)| log[*start as usize..end as usize].to_vec();
    starts.iter().zip(ends).map(frame).collect()
}

/// Compares everything that a commit says with what was written.
pub(crate) fn assert_reads(read: &RecordedCommit, written: &Written) {
    let (name, append) = (written.name, &written.append);
    assert_eq!(read.commit_id(), append.commit_id, "{name}");
    assert_eq!(read.timestamp().as_micros(), written.timestamp, "{name}");
    assert_eq!(read.first_position().get(), written.first_position);
    assert_eq!(read.metadata(), append.metadata, "{name}");
    assert_parts(read, written);
    let records: Vec<_> = read.records().collect();
    assert_eq!(records.len(), append.records.len(), "{name}");
    for (read, written) in records.iter().zip(&append.records) {
        assert!(
            is_same(read, written),
            "{name}: {read:?} is not {written:?}"
        );
    }
}

fn assert_parts(read: &RecordedCommit, written: &Written) {
    let Written { name, append, .. } = written;
    let recorded: Vec<_> = recorded_parts(append, written.parts).collect();
    assert_eq!(read.parts().count(), recorded.len(), "{name}");
    let mut position = read.first_position();
    for (part, (stream, version, events)) in read.parts().zip(recorded) {
        assert_eq!(part.stream_key(), stream, "{name}");
        assert_eq!(part.first_version().get(), version, "{name}");
        assert_eq!(part.events().count(), events.len(), "{name}");
        for (at, (read, new)) in part.events().zip(events).enumerate() {
            let as_read = NewEvent {
                id: read.explicit_id(),
                event_type: read.event_type().to_owned().into(),
                schema_version: read.schema_version(),
                codec: read.codec(),
                payload: Bytes::copy_from_slice(read.payload()),
                metadata: Bytes::copy_from_slice(read.metadata()),
            };
            assert_eq!(&as_read, new, "{name}");
            assert_eq!(read.version().get(), version + at as u64, "{name}");
            assert_eq!(read.position(), position, "{name}");
            position = position.next();
        }
    }
}

fn recorded_parts<'a>(
    append: &'a Append,
    places: &'a [Option<(u64, Option<usize>)>],
) -> impl Iterator<Item = (&'a str, u64, &'a [NewEvent])> {
    let parts = append.parts.iter().zip(places);
    parts.filter_map(|(part, place)| {
        place.map(|(version, _)| (part.stream.key(), version, part.events.as_slice()))
    })
}

fn is_same(read: &RecordRef<'_>, written: &SideRecord) -> bool {
    match (*read, written) {
        (RecordRef::Effect(body), SideRecord::Effect(new)) => body == new.as_ref(),
        (
            RecordRef::Fact { kind, key, value },
            SideRecord::Fact {
                kind: new_kind,
                key: new_key,
                value: new_value,
            },
        ) => kind == *new_kind && key == new_key.as_ref() && value == new_value.as_deref(),
        (
            RecordRef::Outcome {
                result,
                decided_at,
                command_hash,
                type_name,
                schema_version,
                codec,
                payload,
            },
            SideRecord::Outcome(new),
        ) => {
            result == new.result
                && decided_at == new.decided_at
                && command_hash == new.command_hash
                && type_name == new.type_name
                && schema_version == new.schema_version
                && codec == new.codec
                && payload == new.payload.as_ref()
        }
        _ => false,
    }
}

/// Calls every accessor: the promise is that none can fail once a frame was parsed.
fn look_at_everything(commit: &RecordedCommit) {
    let mut seen = commit.metadata().extra.len() + commit.records().count();
    for part in commit.parts() {
        seen += part.tenant().len() + part.category().len() + part.id().len();
        seen += usize::from(part.stream().is_some() && part.previous_offset().is_some());
        assert!(part.last_version().next() >= part.first_version());
    }
    for event in commit.events() {
        seen += event.payload().len() + event.metadata().len() + event.event_type().len();
        assert_eq!(event.id(), event.explicit_id().unwrap_or(event.id()));
        assert!(event.position() <= commit.last_position());
    }
    assert!(seen < commit.as_bytes().len() * 2);
}

fn flipped(frame: &[u8], at: usize, bit: u32) -> Bytes {
    let mut flipped = frame.to_vec();
    flipped[at] ^= 1 << bit;
    flipped.into()
}

/// The same bytes under the checksum that they give.
fn resealed(frame: Bytes) -> Bytes {
    let mut frame = frame.to_vec();
    assert!(frame.len() >= HEADER_BYTES);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..]);
    frame[4..8].copy_from_slice(&checksum.to_le_bytes());
    frame.into()
}

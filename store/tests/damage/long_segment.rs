//! A segment long enough to be verified in pieces: what is wrong is named as if it were read frame by frame.

use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use chronicler_domain::{SchemaVersion, StreamId, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::journal::{JournalOptions, JournalReader, Verification};
use chronicler_store::{Append, EventLog, Expected, JournalStore, NewEvent};
use futures::future::join_all;
use tempfile::TempDir;
use uuid::Uuid;

use crate::outcome::on_a_runtime;

const COMMITS: u64 = 1_800;
const SEGMENT_HEADER_BYTES: u64 = 4_096;

struct LongSegment {
    folder: TempDir,
    /// Where each frame lies in the file. All are equally long.
    frames: Vec<Range<u64>>,
}

impl LongSegment {
    /// With events that hold this byte.
    fn of(byte: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        on_a_runtime(|runtime| {
            let store = JournalStore::open(folder.path(), JournalOptions::default()).unwrap();
            runtime.block_on(async {
                for appended in join_all((1..=COMMITS).map(|n| store.append(commit(n, byte)))).await
                {
                    appended.unwrap();
                }
                store.close().await;
            });
        });
        let mut segment = Self {
            folder,
            frames: Vec::new(),
        };
        let mut at = SEGMENT_HEADER_BYTES;
        for _ in 0..COMMITS {
            let length = u64::from(u32::from_le_bytes(segment.read(at)));
            segment.frames.push(at..at + length);
            at += length;
        }
        segment
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal/00000000000000000001.seg")
    }

    fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        let file = OpenOptions::new().read(true).open(self.path()).unwrap();
        file.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    fn read_all(&self, end: u64) -> Vec<u8> {
        let mut bytes = fs::read(self.path()).unwrap();
        bytes.truncate(end as usize);
        bytes
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(self.path()).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    fn verify(&self) -> Verification {
        JournalReader::open(self.folder.path())
            .unwrap()
            .verify(&|_| {})
    }

    /// The first frame whose damage is named is the one at this index.
    fn assert_named(&self, index: usize) {
        let found = self.verify();
        let damage = found.damage.first().expect("it goes unnoticed");
        assert_eq!(damage.offset, self.frames[index].start, "{damage:?}");
        assert_eq!(damage.sequence.get(), index as u64, "{damage:?}");
        assert_eq!(found.commits, index as u64);
    }
}

fn commit(number: u64, byte: u8) -> Append {
    // Each in a stream of its own, and all numbers of five digits: so the frames are equally long.
    let stream = StreamId::of("account", &format!("a{}", 10_000 + number)).unwrap();
    let event = NewEvent {
        id: None,
        event_type: "Deposited".into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: Bytes::from(vec![byte; 2_000]),
        metadata: Bytes::new(),
    };
    let at = Timestamp::from_micros(number);
    Append::new(Uuid::from_u128(u128::from(number)), at).stream(stream, Expected::Any, vec![event])
}

#[test]
fn k4_damage_in_a_long_segment_is_named_where_it_is() {
    let segment = LongSegment::of(1);
    let whole = segment.verify();
    assert!(whole.is_whole(), "{whole:?}");
    assert_eq!((whole.commits, whole.events), (COMMITS, COMMITS));
    // A bit anywhere.
    for index in (0..segment.frames.len()).step_by(89) {
        let at = segment.frames[index].start + 4 + (index as u64 * 37) % 2_000;
        let [byte] = segment.read(at);
        segment.write(at, &[byte ^ 16]);
        segment.assert_named(index);
        segment.write(at, &[byte]);
    }
    // Frames of another log from one on, each whole and behind the one before: around where a piece ends, which is
    // after one MiB and an entry of the sparse index.
    let other = LongSegment::of(2);
    assert_eq!(segment.frames, other.frames);
    let near = |at: u64| {
        let front = |frame: &Range<u64>| frame.start < SEGMENT_HEADER_BYTES + at;
        segment.frames.partition_point(front)
    };
    let end = segment.frames.last().unwrap().end;
    let (own, foreign) = (segment.read_all(end), other.read_all(end));
    for index in near(1 << 20) - 2..near((1 << 20) + (64 << 10)) + 3 {
        let start = segment.frames[index].start;
        segment.write(start, &foreign[start as usize..]);
        segment.assert_named(index);
        segment.write(start, &own[start as usize..]);
    }
    assert!(segment.verify().is_whole());
}

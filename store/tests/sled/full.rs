//! A disk that has no more room: writes stop with an error, and reads go on.

use crate::commits::{numbers, open};
use crate::process::Process;

#[tokio::test]
async fn k6_without_room_a_log_in_sled_takes_no_more_writes_and_keeps_what_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    // A file may have 8 MiB; what goes beyond is an error of the write, as on a full disk.
    let mut process = Process::start(folder.path(), 400, "trap '' XFSZ; ulimit -f 16384;");
    let mut answered = Vec::new();
    let failed = loop {
        let line = process.next("").unwrap();
        if let Some(number) = line.strip_prefix("answered ") {
            answered.push(number.parse::<u64>().unwrap());
        } else if let Some(error) = line.strip_prefix("failed ") {
            break error.to_owned();
        }
    };
    assert!(failed.contains("until it is opened again"), "{failed}");
    let read = loop {
        let line = process.next("").unwrap();
        if let Some(number) = line.strip_prefix("answered ") {
            answered.push(number.parse().unwrap());
        } else if let Some(read) = line.strip_prefix("read ") {
            break Ok(read.parse::<usize>().unwrap());
        } else if let Some(error) = line.strip_prefix("unreadable ") {
            break Err(error.to_owned());
        }
    };
    process.end();
    assert!(answered.len() > 1_000);
    match read {
        Ok(read) => assert!(read >= answered.len(), "{read} of {}", answered.len()),
        // sled refuses to read a page that it was about to write, and what was written of it before.
        Err(error) => assert!(error.contains("File too large"), "{error}"),
    }
    // With room again everything answered is there, and it goes on.
    let store = open(folder.path()).unwrap();
    let found = numbers(&store).await.unwrap();
    for number in answered {
        assert_eq!(found[number as usize - 1], number);
    }
    let next = found.len() as u64 + 1;
    let appended = chronicler_store::EventLog::append(&store, crate::commits::commit(next, 400));
    assert_eq!(appended.await.unwrap().sequence.get(), next);
}

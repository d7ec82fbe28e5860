//! What becomes of an index that broke: another one is built, and that one stays.

use crate::index::Index;
use crate::sled::index_tests::{head, heads, open, stream, watermark};
use crate::sled::row::TreeId;

#[test]
fn x2_the_index_that_was_built_in_place_of_a_broken_one_stays() {
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    index.apply(&heads(0..10, 1)).unwrap();
    // As damage does that a read comes upon.
    index
        .with(|db, _| db.get(TreeId::Views, b""))
        .expect_err("there is no such tree");
    assert!(index.head(&stream(1)).is_err());
    index
        .rebuild(&mut |fresh| fresh.apply(&heads(0..10, 2)))
        .unwrap();
    index.apply(&heads(0..10, 3)).unwrap();
    index.close();
    let (index, report) = open(data.path());
    assert_eq!(report.set_aside, None);
    assert_eq!(report.watermark, Some(watermark(3)));
    assert_eq!(index.head(&stream(1)).unwrap(), Some(head(3, 3)));
}

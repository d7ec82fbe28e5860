//! The checked index, snapshots and views in sled: what we remember about the journal. And, for a store in
//! sled alone, the pages of the log itself ([`pages`]). The only place that names sled.
//!
//! # Two databases
//! `<data>/sled/index` holds stream heads and facts, `<data>/sled/derived` snapshots and views. They are two
//! because sled's open time and memory grow with its rows, and the index alone decides how soon the store
//! answers; and because a damaged snapshot must not cost a rebuild of the index, nor the other way round.
//!
//! # What is trusted
//! Nothing, until it was checked. Every row carries a CRC over its tree, key and value. The index's watermark
//! row holds the count and an order-independent hash of all rows of heads and facts, verified by one scan at
//! open; a view's checkpoint row holds the same of the view's rows, verified before its first use. A database
//! that fails is set aside ([`folder`]) and a fresh one begun; a view that fails is dropped; a snapshot that
//! fails is passed over. sled panics on damage and may hang, so it is entered only through [`guard`].
//!
//! # A change of rows is atomic
//! A hash over all rows is only true before the first and after the last row of a batch. A crash between
//! would make every such batch end in a rebuild, so the batch is first written to a plain file beside the
//! database, the intent ([`intent`]), with a CRC and a number, and synced; then the rows are written and
//! synced; then the rows that seal it (watermark or checkpoints, and the batch's number) are written and
//! synced. Opening a database whose seal is one number behind a whole intent writes the intent's rows again;
//! one that is further behind has lost what it had synced, and is set aside.
//!
//! The alternatives cost more. Keeping the previous value (or its hash) inside each row makes every row
//! longer, and sled writes each row about seven times (once as a change, and again with its leaf of up to 16
//! rows on every tenth change of it), while the intent is written once. An intent inside sled would pay that
//! factor, too, and be as breakable as sled.
//!
//! # What sled is asked for
//! Plain inserts and removals of rows under 6 KiB (longer values are cut into [`cell`]s), and `flush`, which
//! on Linux is not a sync: an fdatasync through our own descriptor follows it. Never `flush_async`, batches
//! or transactions.

mod cell;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod damage_tests;
mod database;
mod derived;
mod folder;
mod guard;
mod handles;
mod index;
mod index_row;
#[cfg(test)]
mod index_tests;
mod intent;
mod pages;
mod row;

#[cfg(feature = "test-points")]
pub(crate) use derived::decode_snapshot;
pub(crate) use derived::{DerivedStore, DurableEnd};
pub(crate) use folder::{set_aside, set_index_aside};
pub(crate) use index::{Expectation, SledIndex};
pub(crate) use pages::{PagedFile, PagedFiles};

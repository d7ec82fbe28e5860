//! Files in rows of sled: what the log of [`SledStore`](crate::SledStore) lies in.
//!
//! A file is a row with its name and length, and any number of pages: rows under 6 KiB, keyed by file and
//! offset, that never overlap. What no page covers reads as zeros. An append becomes new pages and changes
//! none, so a commit that comes alone costs a row of its own length and not a page written over and over.
//! Pages carry no checksum of their own: frames, headers, footers and markers have theirs.

mod catalogue;
mod file;
mod files;
mod name_row;
mod page;
#[cfg(test)]
mod tests;

pub(crate) use file::PagedFile;
pub(crate) use files::PagedFiles;

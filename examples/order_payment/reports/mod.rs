//! What is said at the end: a report to compare, or a table to read.

mod json_file;
mod neutral;
mod olist;
mod overview;

pub(crate) use json_file::write_report;
pub(crate) use neutral::neutral_report;
pub(crate) use olist::olist_report;
pub(crate) use overview::{Effort, in_trouble, print_generated, print_status};

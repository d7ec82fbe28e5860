//! The journal tried as a whole, on real files and on files that fail.

mod basic;
mod failing;
mod far_back;
mod full_queue;
mod held;
mod index_fails;
mod power;
mod read_memory;
mod refusals;
mod session;
mod slow_reads;
mod support;
mod wakers;
mod workload;

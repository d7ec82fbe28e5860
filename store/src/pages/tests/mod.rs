//! Power cuts on the store in sled: what was not synced is dropped, kept or torn.

mod power;
mod recording;

//! The number that every payload carries, so that a log can outlive its codec.

/// How a payload is encoded. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodecId(u8);

impl CodecId {
    /// Bytes that are nobody's business.
    pub const RAW: Self = Self(0);
    /// bincode 1.3, little-endian, variable-length integers.
    pub const BINCODE: Self = Self(1);
    /// JSON, as serde_json writes it.
    pub const JSON: Self = Self(2);
    /// Fields and variants by name, every value with what it is.
    pub const BY_NAME: Self = Self(3);

    /// A codec by its number; any number is taken, since a reader may only pass it on.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// Its number on disk.
    pub const fn number(self) -> u8 {
        self.0
    }
}

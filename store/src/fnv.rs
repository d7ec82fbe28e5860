//! The hash of what lies on disk: 64-bit FNV-1a, which is the same in every build.

/// A 64-bit FNV-1a, fed piece by piece. Small and stable; nothing that anybody could have to keep secret.
///
/// # Examples
/// ```
/// use chronicler_store::Fnv;
///
/// assert_eq!(Fnv::new().with(b"foobar").value(), 0x8594_4171_f739_67e8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Fnv(u64);

impl Fnv {
    /// Of nothing.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// With these bytes, in order.
    pub fn with(self, bytes: &[u8]) -> Self {
        let mix = |hash: Self, byte: &u8| hash.with_number(u64::from(*byte));
        bytes.iter().fold(self, mix)
    }

    /// With a number as one piece, as wide as it is.
    pub const fn with_number(self, number: u64) -> Self {
        Self((self.0 ^ number).wrapping_mul(0x0000_0100_0000_01b3))
    }

    /// The hash of all pieces so far.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self::new()
    }
}

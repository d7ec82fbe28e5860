//! Why bytes are not a frame.

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length field is zero: nothing was ever written here.
    #[error("there is no frame here: the length is zero")]
    Absent,
    /// Fewer bytes than the frame's own length.
    #[error("the frame wants {wanted} bytes and {present} are there")]
    Short {
        /// What the length field says.
        wanted: u64,
        /// What is there.
        present: u64,
    },
    /// The length field cannot be right.
    #[error("the length {length} is below that of a header")]
    Length {
        /// What the length field says.
        length: u32,
    },
    /// The bytes are not those that were written.
    #[error("the checksum is {stored:#010x}, and the bytes give {computed:#010x}")]
    Checksum {
        /// What the frame says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// A version or feature that this release does not know: a newer release wrote the frame.
    #[error("the frame has version {version} and features {features:#04x}; this release reads version {known} without features", known = super::FRAME_VERSION)]
    Newer {
        /// What the frame says.
        version: u8,
        /// Its features that a reader must know.
        features: u8,
    },
    /// The checksum is right and the structure is not: written by faulty code.
    #[error("the structure of {what} is wrong")]
    Structure {
        /// Which part of the frame.
        what: &'static str,
    },
}

impl FrameError {
    /// Whether the bytes can be what a write that was cut short leaves behind. If not, the frame was
    /// written whole, by a newer or a faulty release, and must never be cut off as a torn tail.
    pub fn can_be_torn(&self) -> bool {
        !matches!(self, Self::Newer { .. } | Self::Structure { .. })
    }
}

//! The first byte of a value: what it is. The numbers are on disk.

pub(super) const UNIT: u8 = 0x00;
pub(super) const NONE: u8 = 0x01;
pub(super) const SOME: u8 = 0x02;
pub(super) const FALSE: u8 = 0x03;
pub(super) const TRUE: u8 = 0x04;
/// A varint.
pub(super) const UNSIGNED: u8 = 0x05;
/// A varint of the bitwise complement of a negative number.
pub(super) const NEGATIVE: u8 = 0x06;
/// 16 bytes, little-endian: a number that takes more than 64 bits.
pub(super) const UNSIGNED_128: u8 = 0x07;
/// 16 bytes, little-endian: a negative number that takes more than 64 bits.
pub(super) const SIGNED_128: u8 = 0x08;
pub(super) const FLOAT_32: u8 = 0x09;
pub(super) const FLOAT_64: u8 = 0x0a;
pub(super) const CHAR: u8 = 0x0b;
pub(super) const TEXT: u8 = 0x0c;
pub(super) const BYTES: u8 = 0x0d;
/// A count, and so many values.
pub(super) const SEQUENCE: u8 = 0x0e;
/// Values up to [`END`].
pub(super) const OPEN_SEQUENCE: u8 = 0x0f;
/// A count, and so many values: tuples, arrays and tuple structs.
pub(super) const TUPLE: u8 = 0x10;
/// A count, and so many pairs of values.
pub(super) const MAP: u8 = 0x11;
/// Pairs of values up to [`END`].
pub(super) const OPEN_MAP: u8 = 0x12;
/// A count, and so many pairs of a name and a value.
pub(super) const STRUCT: u8 = 0x13;
/// A name.
pub(super) const UNIT_VARIANT: u8 = 0x14;
/// A name and a value.
pub(super) const NEWTYPE_VARIANT: u8 = 0x15;
/// A name, a count, and so many values.
pub(super) const TUPLE_VARIANT: u8 = 0x16;
/// A name, a count, and so many pairs of a name and a value.
pub(super) const STRUCT_VARIANT: u8 = 0x17;
/// In place of a field's value: the field was left out (`skip_serializing_if`).
pub(super) const LEFT_OUT: u8 = 0x18;
/// Ends what has no count.
pub(super) const END: u8 = 0x19;
/// From here on the tag is the number itself: 0 to 191.
pub(super) const SMALL: u8 = 0x40;
/// The greatest number that its tag holds.
pub(super) const SMALL_MAX: u64 = (u8::MAX - SMALL) as u64;

/// What a tag says, in words.
pub(super) fn describe(tag: u8) -> &'static str {
    match tag {
        UNIT => "nothing",
        NONE | SOME => "an option",
        FALSE | TRUE => "a truth value",
        UNSIGNED | NEGATIVE | UNSIGNED_128 | SIGNED_128 | SMALL.. => "a whole number",
        FLOAT_32 | FLOAT_64 => "a floating-point number",
        CHAR => "a character",
        TEXT => "a text",
        BYTES => "bytes",
        SEQUENCE | OPEN_SEQUENCE => "a sequence",
        TUPLE => "a tuple",
        MAP | OPEN_MAP => "a map",
        STRUCT => "a struct",
        UNIT_VARIANT | NEWTYPE_VARIANT | TUPLE_VARIANT | STRUCT_VARIANT => "a variant",
        LEFT_OUT => "a field that was left out",
        _ => "something unknown",
    }
}

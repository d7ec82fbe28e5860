//! What a command says, as one number: the same for equal commands, however their maps and sets lie in memory.
//!
//! The number is kept in the log, so its rule never changes: a later one would have to be compared beside it, as
//! [`older`] is.

use std::fmt;

use chronicler_store::Fnv;
use chronicler_store::codec::{CodecError, PayloadCodec, encode};
use serde::Serialize;
use serde::ser::{
    self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// The fingerprint of a command.
///
/// - Maps, sets and lists count by what is in them, in any order. Serde does not tell a set from a list, and a set lies in
///   another order each time: with the order counted, a command with a set would be refused when it is sent again. So two
///   commands that differ only in the order of a list count as the same. Tuples and arrays count in their order.
/// - Fields count by name, in any order, and one that is `None` counts as absent: a field that a later release adds
///   as `None` changes nothing.
/// - Variants count by name; integers by value, whatever their width.
///
/// # Errors
/// What the command's own `Serialize` says.
pub(crate) fn fingerprint<T: Serialize>(command: &T) -> Result<u64, CodecError> {
    let mut digest = Digest::new();
    match command.serialize(&mut digest) {
        Ok(()) => Ok(digest.finish()),
        Err(Unwritable(reason)) => Err(CodecError::Unencodable {
            type_name: std::any::type_name::<T>(),
            reason,
        }),
    }
}

/// The fingerprint that earlier releases kept: FNV-1a over the command's bytes as bincode writes them. `None` if bincode
/// cannot write the command.
pub(crate) fn older<T: Serialize>(command: &T) -> Option<u64> {
    let bytes = encode(PayloadCodec::Bincode, command).ok()?;
    Some(Fnv::new().with(&bytes).value())
}

/// What a word stands for: values of different kinds never count as the same.
#[derive(Clone, Copy)]
enum Kind {
    Bool = 1,
    Natural,
    Negative,
    Wide,
    Float,
    Char,
    Text,
    Bytes,
    Absent,
    Present,
    Unit,
    Variant,
    List,
    Map,
    Fields,
    Tuple,
}

/// The state of a hash.
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0x243f_6a88_85a3_08d3)
    }

    /// Takes one word in: the two halves of a product, folded, so that each bit reaches all others.
    #[inline]
    fn word(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0xf39c_c060_5ced_c835;
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(32);
    }

    #[inline]
    fn kind(&mut self, kind: Kind) {
        self.word(kind as u64);
    }

    fn text(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (chunks, rest) = bytes.as_chunks::<8>();
        for chunk in chunks {
            self.word(u64::from_le_bytes(*chunk));
        }
        let last = rest.iter().rev();
        self.word(last.fold(0, |word, byte| (word << 8) | u64::from(*byte)));
    }

    #[inline]
    fn integer(&mut self, value: i128) {
        match (u64::try_from(value), u64::try_from(!value)) {
            (Ok(value), _) => {
                self.kind(Kind::Natural);
                self.word(value);
            }
            (_, Ok(below)) => {
                self.kind(Kind::Negative);
                self.word(below);
            }
            _ => self.wide(value as u128),
        }
    }

    fn wide(&mut self, value: u128) {
        self.kind(Kind::Wide);
        self.word(value as u64);
        self.word((value >> 64) as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        // The last word has been through one product only.
        let mut last = Self(self.0);
        last.word(0xa409_3822_299f_31d0);
        last.0
    }
}

/// What a command's own `Serialize` said.
#[derive(Debug)]
struct Unwritable(String);

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unwritable {}

impl ser::Error for Unwritable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Written = Result<(), Unwritable>;

macro_rules! integers {
    ($($method:ident($type:ty),)*) => {
        $(#[inline]
        fn $method(self, value: $type) -> Written {
            self.integer(i128::from(value));
            Ok(())
        })*
    };
}

impl<'a> Serializer for &'a mut Digest {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = Unordered<'a>;
    type SerializeTuple = InOrder<'a>;
    type SerializeTupleStruct = InOrder<'a>;
    type SerializeTupleVariant = InOrder<'a>;
    type SerializeMap = Unordered<'a>;
    type SerializeStruct = Unordered<'a>;
    type SerializeStructVariant = Unordered<'a>;

    integers! {
        serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64), serialize_i128(i128),
        serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64),
    }

    fn serialize_u128(self, value: u128) -> Written {
        match i128::try_from(value) {
            Ok(value) => self.integer(value),
            Err(_) => {
                self.wide(value);
                // Not the negative number with the same bits.
                self.kind(Kind::Natural);
            }
        }
        Ok(())
    }

    fn serialize_bool(self, value: bool) -> Written {
        self.kind(Kind::Bool);
        self.word(u64::from(value));
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Written {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Written {
        self.kind(Kind::Float);
        self.word(value.to_bits());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Written {
        self.kind(Kind::Char);
        self.word(u64::from(u32::from(value)));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Written {
        self.kind(Kind::Text);
        self.text(value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Written {
        self.kind(Kind::Bytes);
        self.text(value);
        Ok(())
    }

    fn serialize_none(self) -> Written {
        self.kind(Kind::Absent);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        self.kind(Kind::Present);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        self.kind(Kind::Unit);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        self.kind(Kind::Variant);
        self.text(variant.as_bytes());
        self.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Written {
        self.kind(Kind::Variant);
        self.text(variant.as_bytes());
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Unordered<'a>, Unwritable> {
        Ok(Unordered::of(self, Kind::List))
    }

    fn serialize_tuple(self, length: usize) -> Result<InOrder<'a>, Unwritable> {
        self.kind(Kind::Tuple);
        self.word(length as u64);
        Ok(InOrder(self))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        length: usize,
    ) -> Result<InOrder<'a>, Unwritable> {
        self.serialize_tuple(length)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<InOrder<'a>, Unwritable> {
        self.kind(Kind::Variant);
        self.text(variant.as_bytes());
        self.serialize_tuple(length)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Unordered<'a>, Unwritable> {
        Ok(Unordered::of(self, Kind::Map))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Unordered<'a>, Unwritable> {
        Ok(Unordered::of(self, Kind::Fields))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Unordered<'a>, Unwritable> {
        self.kind(Kind::Variant);
        self.text(variant.as_bytes());
        Ok(Unordered::of(self, Kind::Fields))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Elements whose order counts.
struct InOrder<'a>(&'a mut Digest);

macro_rules! in_order {
    ($($part:ident::$method:ident,)*) => {
        $(impl $part for InOrder<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
                value.serialize(&mut *self.0)
            }

            fn end(self) -> Written {
                Ok(())
            }
        })*
    };
}

in_order! {
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

/// Elements whose order does not count: each is hashed by itself, and the sum of the hashes is taken in.
struct Unordered<'a> {
    into: &'a mut Digest,
    kind: Kind,
    sum: u64,
    count: u64,
    /// The key of a map's entry whose value comes next.
    entry: Digest,
}

impl<'a> Unordered<'a> {
    fn of(into: &'a mut Digest, kind: Kind) -> Self {
        let entry = Digest::new();
        Self {
            into,
            kind,
            sum: 0,
            count: 0,
            entry,
        }
    }

    #[inline]
    fn add(&mut self, element: &Digest) {
        self.sum = self.sum.wrapping_add(element.finish());
        self.count += 1;
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Written {
        let mut field = Digest::new();
        field.text(name.as_bytes());
        let named = field.0;
        value.serialize(&mut field)?;
        let mut absent = Digest(named);
        absent.kind(Kind::Absent);
        if field.0 != absent.0 {
            self.add(&field);
        }
        Ok(())
    }

    fn end(self) -> Written {
        self.into.kind(self.kind);
        self.into.word(self.count);
        self.into.word(self.sum);
        Ok(())
    }
}

impl SerializeSeq for Unordered<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        let mut element = Digest::new();
        value.serialize(&mut element)?;
        self.add(&element);
        Ok(())
    }

    fn end(self) -> Written {
        self.end()
    }
}

impl SerializeMap for Unordered<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        self.entry = Digest::new();
        key.serialize(&mut self.entry)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        let mut entry = Digest(self.entry.0);
        value.serialize(&mut entry)?;
        self.add(&entry);
        Ok(())
    }

    fn end(self) -> Written {
        self.end()
    }
}

impl SerializeStruct for Unordered<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Written {
        self.field(name, value)
    }

    fn end(self) -> Written {
        self.end()
    }
}

impl SerializeStructVariant for Unordered<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Written {
        self.field(name, value)
    }

    fn end(self) -> Written {
        self.end()
    }
}

#[cfg(test)]
#[path = "fingerprint_tests.rs"]
mod tests;

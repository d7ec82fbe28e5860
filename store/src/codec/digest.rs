//! A number for a value as serde sees it, in which the order of maps and sequences does not count.
//!
//! Two values of one type with different digests are different. A sequence counts as a bag, because serde cannot tell a
//! list from a hash set, whose order is another one each time.

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// The digest of a value; `None` if it cannot be serialized.
pub(super) fn digest<T: Serialize + ?Sized>(value: &T, is_human_readable: bool) -> Option<u64> {
    value.serialize(Digest { is_human_readable }).ok()
}

#[derive(Clone, Copy)]
struct Digest {
    is_human_readable: bool,
}

type Number = Result<u64, serde::de::value::Error>;

const START: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(hash: u64, next: u64) -> u64 {
    let mixed = (hash ^ next).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 32)
}

fn bytes(kind: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(mix(START, kind), bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word.iter_mut()
            .zip(chunk)
            .for_each(|(to, from)| *to = *from);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    hash
}

fn word(kind: u64, value: u64) -> Number {
    Ok(mix(mix(START, kind), value))
}

macro_rules! numbers {
    ($($method:ident($kind:ty) = $number:literal,)*) => {$(
        fn $method(self, value: $kind) -> Number {
            Ok(bytes($number, &value.to_le_bytes()))
        }
    )*};
}

impl Serializer for Digest {
    type Ok = u64;
    type Error = serde::de::value::Error;
    type SerializeSeq = Bag;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = List;
    type SerializeMap = Bag;
    type SerializeStruct = List;
    type SerializeStructVariant = List;

    numbers! {
        serialize_i8(i8) = 1, serialize_i16(i16) = 2, serialize_i32(i32) = 3, serialize_i64(i64) = 4,
        serialize_i128(i128) = 5, serialize_u8(u8) = 6, serialize_u16(u16) = 7, serialize_u32(u32) = 8,
        serialize_u64(u64) = 9, serialize_u128(u128) = 10, serialize_f32(f32) = 11, serialize_f64(f64) = 12,
    }

    fn serialize_bool(self, value: bool) -> Number {
        word(13, value.into())
    }

    fn serialize_char(self, value: char) -> Number {
        word(14, u32::from(value).into())
    }

    fn serialize_str(self, value: &str) -> Number {
        Ok(bytes(15, value.as_bytes()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Number {
        Ok(bytes(16, value))
    }

    fn serialize_none(self) -> Number {
        word(17, 0)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Number {
        word(18, value.serialize(self)?)
    }

    fn serialize_unit(self) -> Number {
        word(19, 0)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Number {
        word(19, 0)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Number {
        Ok(bytes(20, variant.as_bytes()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Number {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Number {
        Ok(mix(bytes(21, variant.as_bytes()), value.serialize(self)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Bag, Self::Error> {
        Ok(Bag::of(self))
    }

    fn serialize_tuple(self, _: usize) -> Result<List, Self::Error> {
        Ok(List::of(self, ""))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List, Self::Error> {
        Ok(List::of(self, ""))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List, Self::Error> {
        Ok(List::of(self, variant))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Bag, Self::Error> {
        Ok(Bag::of(self))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<List, Self::Error> {
        Ok(List::of(self, ""))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List, Self::Error> {
        Ok(List::of(self, variant))
    }

    fn is_human_readable(&self) -> bool {
        self.is_human_readable
    }
}

/// Things whose order counts.
struct List {
    of: Digest,
    hash: u64,
}

impl List {
    fn of(of: Digest, variant: &str) -> Self {
        let hash = bytes(22, variant.as_bytes());
        Self { of, hash }
    }

    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), serde::de::value::Error> {
        self.hash = mix(self.hash, value.serialize(self.of)?);
        Ok(())
    }
}

macro_rules! list {
    ($($kind:ident::$method:ident($($name:ty)?),)*) => {$(
        impl $kind for List {
            type Ok = u64;
            type Error = serde::de::value::Error;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $(_: $name,)?
                value: &T,
            ) -> Result<(), Self::Error> {
                self.add(value)
            }

            fn end(self) -> Number {
                Ok(self.hash)
            }
        }
    )*};
}

list! {
    SerializeTuple::serialize_element(),
    SerializeTupleStruct::serialize_field(),
    SerializeTupleVariant::serialize_field(),
    SerializeStruct::serialize_field(&'static str),
    SerializeStructVariant::serialize_field(&'static str),
}

/// Things whose order does not count.
struct Bag {
    of: Digest,
    sum: u64,
    count: u64,
    key: Option<u64>,
}

impl Bag {
    fn of(of: Digest) -> Self {
        Self {
            of,
            sum: 0,
            count: 0,
            key: None,
        }
    }

    fn add(&mut self, digest: u64) {
        self.sum = self.sum.wrapping_add(mix(START, digest));
        self.count += 1;
    }

    fn total(&self) -> u64 {
        mix(mix(START, self.count), self.sum)
    }
}

impl SerializeSeq for Bag {
    type Ok = u64;
    type Error = serde::de::value::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
        let digest = value.serialize(self.of)?;
        self.add(digest);
        Ok(())
    }

    fn end(self) -> Number {
        Ok(self.total())
    }
}

impl SerializeMap for Bag {
    type Ok = u64;
    type Error = serde::de::value::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Self::Error> {
        self.key = Some(key.serialize(self.of)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
        let key = self.key.take();
        let key = key.ok_or_else(|| Self::Error::custom("a value came before its key"))?;
        let value = value.serialize(self.of)?;
        self.add(mix(mix(START, key), value));
        Ok(())
    }

    fn end(self) -> Number {
        Ok(self.total())
    }
}

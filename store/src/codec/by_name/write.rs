//! Writes values: each with what it is, fields and variants with their names, each name in full once.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::DEPTH_MAX;
use super::error::ByNameError;
use super::tag;
use crate::frame::varint;

/// What one value is written to.
pub(in crate::codec) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// The names that were written, in order.
    names: Vec<&'static str>,
    /// Where the next name most likely stands: fields come in the same order each time.
    likely: usize,
    depth: usize,
    /// Whether what cannot be checked when it is read is refused.
    is_strict: bool,
}

type Written = Result<(), ByNameError>;

impl<'a> Writer<'a> {
    pub(in crate::codec) fn new(out: &'a mut Vec<u8>, is_strict: bool) -> Self {
        Self {
            out,
            names: Vec::new(),
            likely: 0,
            depth: 0,
            is_strict,
        }
    }

    fn tag(&mut self, tag: u8) {
        self.out.push(tag);
    }

    fn count(&mut self, count: usize) {
        varint::put(self.out, count as u64);
    }

    /// A number from 1 for a name that was written before, or 0 and the name.
    fn name(&mut self, name: &'static str) {
        let is_it = |known: &&'static str| std::ptr::eq(*known, name) || **known == *name;
        let at = match self.names.get(self.likely) {
            Some(likely) if is_it(likely) => Some(self.likely),
            _ => self.names.iter().position(is_it),
        };
        match at {
            Some(at) => {
                self.likely = at + 1;
                self.count(at + 1);
            }
            None => {
                self.names.push(name);
                self.likely = self.names.len();
                self.count(0);
                varint::put_bytes(self.out, name.as_bytes());
            }
        }
    }

    fn enter(&mut self) -> Written {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ByNameError::new(format!(
                "it is nested more than {DEPTH_MAX} deep"
            )));
        }
        Ok(())
    }

    fn unsigned(&mut self, value: u64) {
        if value <= tag::SMALL_MAX {
            self.tag(tag::SMALL + value as u8);
        } else {
            self.tag(tag::UNSIGNED);
            varint::put(self.out, value);
        }
    }

    fn counted(&mut self, tag: u8, count: usize) -> Written {
        self.enter()?;
        self.tag(tag);
        self.count(count);
        Ok(())
    }
}

impl<'w, 'a> Serializer for &'w mut Writer<'a> {
    type Ok = ();
    type Error = ByNameError;
    type SerializeSeq = Parts<'w, 'a>;
    type SerializeTuple = Parts<'w, 'a>;
    type SerializeTupleStruct = Parts<'w, 'a>;
    type SerializeTupleVariant = Parts<'w, 'a>;
    type SerializeMap = Parts<'w, 'a>;
    type SerializeStruct = Fields<'w, 'a>;
    type SerializeStructVariant = Fields<'w, 'a>;

    fn serialize_bool(self, value: bool) -> Written {
        self.tag(if value { tag::TRUE } else { tag::FALSE });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Written {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Written {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Written {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Written {
        match u64::try_from(value) {
            Ok(value) => self.unsigned(value),
            Err(_) => {
                self.tag(tag::NEGATIVE);
                varint::put(self.out, !value as u64);
            }
        }
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Written {
        if let Ok(value) = i64::try_from(value) {
            return self.serialize_i64(value);
        }
        if let Ok(value) = u128::try_from(value) {
            return self.serialize_u128(value);
        }
        self.tag(tag::SIGNED_128);
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Written {
        self.unsigned(value.into());
        Ok(())
    }

    fn serialize_u16(self, value: u16) -> Written {
        self.unsigned(value.into());
        Ok(())
    }

    fn serialize_u32(self, value: u32) -> Written {
        self.unsigned(value.into());
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Written {
        self.unsigned(value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Written {
        match u64::try_from(value) {
            Ok(value) => self.unsigned(value),
            Err(_) => {
                self.tag(tag::UNSIGNED_128);
                self.out.extend_from_slice(&value.to_le_bytes());
            }
        }
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Written {
        self.tag(tag::FLOAT_32);
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Written {
        self.tag(tag::FLOAT_64);
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Written {
        self.tag(tag::CHAR);
        varint::put(self.out, u32::from(value).into());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Written {
        self.tag(tag::TEXT);
        varint::put_bytes(self.out, value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Written {
        self.tag(tag::BYTES);
        varint::put_bytes(self.out, value);
        Ok(())
    }

    fn serialize_none(self) -> Written {
        self.tag(tag::NONE);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        self.enter()?;
        self.tag(tag::SOME);
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }

    fn serialize_unit(self) -> Written {
        self.tag(tag::UNIT);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        self.tag(tag::UNIT_VARIANT);
        self.name(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Written {
        self.enter()?;
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Written {
        self.enter()?;
        self.tag(tag::NEWTYPE_VARIANT);
        self.name(variant);
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Parts<'w, 'a>, ByNameError> {
        match length {
            Some(length) => self.counted(tag::SEQUENCE, length)?,
            None => {
                self.enter()?;
                self.tag(tag::OPEN_SEQUENCE);
            }
        }
        Ok(Parts::of(self, length))
    }

    fn serialize_tuple(self, length: usize) -> Result<Parts<'w, 'a>, ByNameError> {
        self.counted(tag::TUPLE, length)?;
        Ok(Parts::of(self, Some(length)))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        length: usize,
    ) -> Result<Parts<'w, 'a>, ByNameError> {
        self.serialize_tuple(length)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Parts<'w, 'a>, ByNameError> {
        self.enter()?;
        self.tag(tag::TUPLE_VARIANT);
        self.name(variant);
        self.count(length);
        Ok(Parts::of(self, Some(length)))
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Parts<'w, 'a>, ByNameError> {
        match length {
            Some(length) => self.counted(tag::MAP, length)?,
            // Fields of a flattened struct come like this, and are not asked for by name when they are read.
            None if self.is_strict => {
                return Err(ByNameError::new(
                    "it has a map of unknown length (serde(flatten) makes one), whose shape cannot be checked",
                ));
            }
            None => {
                self.enter()?;
                self.tag(tag::OPEN_MAP);
            }
        }
        Ok(Parts::of(self, length))
    }

    fn serialize_struct(
        self,
        _: &'static str,
        length: usize,
    ) -> Result<Fields<'w, 'a>, ByNameError> {
        self.enter()?;
        self.tag(tag::STRUCT);
        Ok(Fields::of(self, length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Fields<'w, 'a>, ByNameError> {
        self.enter()?;
        self.tag(tag::STRUCT_VARIANT);
        self.name(variant);
        Ok(Fields::of(self, length))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a sequence, tuple or map.
pub(in crate::codec) struct Parts<'w, 'a> {
    writer: &'w mut Writer<'a>,
    /// How many are still to come; `None` if that was not said.
    left: Option<usize>,
}

impl<'w, 'a> Parts<'w, 'a> {
    fn of(writer: &'w mut Writer<'a>, left: Option<usize>) -> Self {
        Self { writer, left }
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        if let Some(left) = &mut self.left {
            let rest = left.checked_sub(1);
            *left = rest.ok_or_else(miscounted)?;
        }
        value.serialize(&mut *self.writer)
    }

    fn finish(self) -> Written {
        match self.left {
            Some(0) => {}
            Some(_) => return Err(miscounted()),
            None => self.writer.tag(tag::END),
        }
        self.writer.depth -= 1;
        Ok(())
    }
}

/// Its `Serialize` announced another number of elements than it gave.
fn miscounted() -> ByNameError {
    ByNameError::new("it says that it has another number of elements than it has")
}

macro_rules! parts {
    ($($kind:ident::$method:ident,)*) => {$(
        impl $kind for Parts<'_, '_> {
            type Ok = ();
            type Error = ByNameError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
                self.part(value)
            }

            fn end(self) -> Written {
                self.finish()
            }
        }
    )*};
}

parts! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

impl SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = ByNameError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        self.part(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Written {
        self.finish()
    }
}

/// The fields of a struct.
pub(in crate::codec) struct Fields<'w, 'a> {
    writer: &'w mut Writer<'a>,
    /// Where the count of fields stands, in one byte for as long as it fits.
    count_at: usize,
    count: usize,
}

impl<'w, 'a> Fields<'w, 'a> {
    fn of(writer: &'w mut Writer<'a>, length: usize) -> Self {
        let count_at = writer.out.len();
        // Fields that are left out are not in `length`, and are written all the same: the count is settled at the end.
        writer.out.push(length.min(0x7f) as u8);
        Self {
            writer,
            count_at,
            count: 0,
        }
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Written {
        self.count += 1;
        self.writer.name(name);
        value.serialize(&mut *self.writer)
    }

    fn left_out(&mut self, name: &'static str) {
        self.count += 1;
        self.writer.name(name);
        self.writer.tag(tag::LEFT_OUT);
    }

    fn finish(self) -> Written {
        let out = &mut *self.writer.out;
        match (u8::try_from(self.count), out.get_mut(self.count_at)) {
            (Ok(count @ ..0x80), Some(place)) => *place = count,
            _ => {
                let mut count = Vec::new();
                varint::put(&mut count, self.count as u64);
                out.splice(self.count_at..=self.count_at, count);
            }
        }
        self.writer.depth -= 1;
        Ok(())
    }
}

macro_rules! fields {
    ($($kind:ident,)*) => {$(
        impl $kind for Fields<'_, '_> {
            type Ok = ();
            type Error = ByNameError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Written {
                self.field(name, value)
            }

            fn skip_field(&mut self, name: &'static str) -> Written {
                self.left_out(name);
                Ok(())
            }

            fn end(self) -> Written {
                self.finish()
            }
        }
    )*};
}

fields! { SerializeStruct, SerializeStructVariant, }

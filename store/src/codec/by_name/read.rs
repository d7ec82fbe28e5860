//! Reads values that were written by name.

use serde::de::{Deserializer, Visitor};

use super::DEPTH_MAX;
use super::access::{Elements, Entries, Fields, InOrder, Variant};
use super::error::ByNameError;
use super::tag;
use crate::frame::varint::Cursor;

/// What one value is read from.
pub(in crate::codec) struct Reader<'de> {
    pub(super) bytes: Cursor<'de>,
    /// The names that were read, in order.
    names: Vec<&'de str>,
    depth: usize,
    /// Whether the value must have exactly the fields that the type has now, none more, none less.
    pub(super) is_strict: bool,
}

pub(super) type Read<T> = Result<T, ByNameError>;

impl<'de> Reader<'de> {
    pub(in crate::codec) fn new(bytes: &'de [u8], is_strict: bool) -> Self {
        Self {
            bytes: Cursor::new(bytes),
            names: Vec::new(),
            depth: 0,
            is_strict,
        }
    }

    /// That all bytes were read.
    pub(in crate::codec) fn end(self) -> Read<()> {
        match self.bytes.is_empty() {
            true => Ok(()),
            false => Err(ByNameError::new("bytes are left over")),
        }
    }

    pub(super) fn byte(&mut self) -> Read<u8> {
        self.bytes.byte().ok_or_else(ByNameError::damaged)
    }

    pub(super) fn peek(&self) -> Read<u8> {
        let first = self.bytes.rest().first().copied();
        first.ok_or_else(ByNameError::damaged)
    }

    pub(super) fn varint(&mut self) -> Read<u64> {
        self.bytes.varint().ok_or_else(ByNameError::damaged)
    }

    /// A count. Each thing that is counted takes a byte at least.
    pub(super) fn count(&mut self) -> Read<usize> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        match count <= self.bytes.rest().len() {
            true => Ok(count),
            false => Err(ByNameError::damaged()),
        }
    }

    fn data(&mut self) -> Read<&'de [u8]> {
        self.bytes.bytes().ok_or_else(ByNameError::damaged)
    }

    fn text(&mut self) -> Read<&'de str> {
        std::str::from_utf8(self.data()?).map_err(|_| ByNameError::damaged())
    }

    pub(super) fn name(&mut self) -> Read<&'de str> {
        let number = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if let Some(at) = number.checked_sub(1) {
            let known = self.names.get(at).copied();
            return known.ok_or_else(ByNameError::damaged);
        }
        let name = self.text()?;
        self.names.push(name);
        Ok(name)
    }

    fn enter(&mut self) -> Read<()> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(ByNameError::new(format!(
                "it is nested more than {DEPTH_MAX} deep"
            ))),
            false => Ok(()),
        }
    }

    /// Reads something that has others within.
    pub(super) fn within<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.enter()?;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.bytes.array().ok_or_else(ByNameError::damaged)
    }

    /// Whatever comes next.
    pub(super) fn any<V: Visitor<'de>>(&mut self, visitor: V) -> Read<V::Value> {
        match self.byte()? {
            tag::UNIT => visitor.visit_unit(),
            tag::NONE => visitor.visit_none(),
            tag::SOME => self.within(|reader| visitor.visit_some(reader)),
            tag::FALSE => visitor.visit_bool(false),
            tag::TRUE => visitor.visit_bool(true),
            tag::UNSIGNED => visitor.visit_u64(self.varint()?),
            tag::NEGATIVE => {
                let value = i64::try_from(self.varint()?).map_err(|_| ByNameError::damaged())?;
                visitor.visit_i64(!value)
            }
            tag::UNSIGNED_128 => visitor.visit_u128(u128::from_le_bytes(self.array()?)),
            tag::SIGNED_128 => visitor.visit_i128(i128::from_le_bytes(self.array()?)),
            tag::FLOAT_32 => visitor.visit_f32(f32::from_le_bytes(self.array()?)),
            tag::FLOAT_64 => visitor.visit_f64(f64::from_le_bytes(self.array()?)),
            tag::CHAR => {
                let code = u32::try_from(self.varint()?).ok();
                let char = code.and_then(char::from_u32);
                visitor.visit_char(char.ok_or_else(ByNameError::damaged)?)
            }
            tag::TEXT => visitor.visit_borrowed_str(self.text()?),
            tag::BYTES => visitor.visit_borrowed_bytes(self.data()?),
            tag @ (tag::SEQUENCE | tag::TUPLE) => {
                let count = self.count()?;
                let what = tag::describe(tag);
                self.within(|reader| Elements::all(reader, Some(count), what, visitor))
            }
            tag::OPEN_SEQUENCE => {
                self.within(|reader| Elements::all(reader, None, "a sequence", visitor))
            }
            tag::MAP => {
                let count = self.count()?;
                self.within(|reader| Entries::all(reader, Some(count), visitor))
            }
            tag::OPEN_MAP => self.within(|reader| Entries::all(reader, None, visitor)),
            tag::STRUCT => self.within(|reader| Fields::all(reader, None, visitor)),
            // As JSON has variants, for what asks for anything.
            tag::UNIT_VARIANT => visitor.visit_borrowed_str(self.name()?),
            tag @ (tag::NEWTYPE_VARIANT | tag::TUPLE_VARIANT | tag::STRUCT_VARIANT) => {
                let name = self.name()?;
                self.within(|reader| Variant { reader, name, tag }.into_map(visitor))
            }
            tag::END | tag::LEFT_OUT => Err(ByNameError::damaged()),
            number @ tag::SMALL.. => visitor.visit_u64(u64::from(number - tag::SMALL)),
            _ => Err(ByNameError::damaged()),
        }
    }

    /// Something that is no option. One that was one is taken all the same, where nothing need be strict: a field may
    /// cease to be optional.
    fn plain<V: Visitor<'de>>(&mut self, visitor: V) -> Read<V::Value> {
        while !self.is_strict && self.peek()? == tag::SOME {
            self.byte()?;
        }
        self.any(visitor)
    }

    /// A number as it was written, if that can be a floating-point number without a loss.
    fn float<V: Visitor<'de>>(&mut self, is_narrow: bool, visitor: V) -> Read<V::Value> {
        let before = self.bytes;
        let tag = self.peek()?;
        let exact = match tag {
            tag::FLOAT_64 if is_narrow => {
                self.byte()?;
                let value = f64::from_le_bytes(self.array()?);
                value.is_nan() || f64::from(value as f32).to_bits() == value.to_bits()
            }
            tag::UNSIGNED | tag::NEGATIVE | tag::SMALL.. => {
                self.byte()?;
                let magnitude = match tag {
                    tag::UNSIGNED | tag::NEGATIVE => self.varint()?,
                    _ => 0,
                };
                // 24 and 53 bits are what a mantissa has.
                magnitude < 1 << if is_narrow { 24 } else { 53 }
            }
            _ => true,
        };
        self.bytes = before;
        match exact {
            true => self.plain(visitor),
            false => Err(ByNameError::new(
                "a number was written that is none of this floating-point type",
            )),
        }
    }

    pub(super) fn unexpected(&self, tag: u8, wanted: &str) -> ByNameError {
        ByNameError::new(format!(
            "{} was written where {wanted} is asked for",
            tag::describe(tag)
        ))
    }
}

macro_rules! plain {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
            self.plain(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = ByNameError;

    plain! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_seq deserialize_map deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        if self.is_strict {
            return Err(ByNameError::new(
                "it has a type that says nothing of its shape (serde's tag, untagged and flatten make such)",
            ));
        }
        self.any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.any(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.float(true, visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.float(false, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match self.peek()? {
            tag::NONE | tag::SOME => self.any(visitor),
            tag if self.is_strict => Err(self.unexpected(tag, "an option")),
            // A field may become optional.
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Read<V::Value> {
        self.plain(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Read<V::Value> {
        self.within(|reader| visitor.visit_newtype_struct(reader))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Read<V::Value> {
        let before = self.bytes;
        let tag = self.byte()?;
        if let tag::TUPLE | tag::SEQUENCE = tag {
            let count = self.count()?;
            if count != length {
                return Err(ByNameError::new(format!(
                    "{count} elements were written where {length} are asked for"
                )));
            }
        }
        self.bytes = before;
        self.plain(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Read<V::Value> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        match self.peek()? {
            tag::STRUCT => {
                self.byte()?;
                self.within(|reader| reader.fields(name, fields, visitor))
            }
            tag if self.is_strict => Err(self.unexpected(tag, name)),
            _ => self.plain(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        match self.byte()? {
            tag @ (tag::UNIT_VARIANT
            | tag::NEWTYPE_VARIANT
            | tag::TUPLE_VARIANT
            | tag::STRUCT_VARIANT) => {
                let name = self.name()?;
                self.within(|reader| visitor.visit_enum(Variant { reader, name, tag }))
            }
            tag => Err(self.unexpected(tag, name)),
        }
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de> Reader<'de> {
    /// The fields of a struct whose tag was read.
    pub(super) fn fields<V: Visitor<'de>>(
        &mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        if !self.is_strict {
            return Fields::all(self, None, visitor);
        }
        let before = self.bytes;
        let count = self.count()?;
        if count >= fields.len() {
            self.bytes = before;
            return Fields::all(self, Some((name, fields)), visitor);
        }
        // Some of the names are aliases of others, or fields were added: only their number tells.
        InOrder::all(self, count, (name, fields), visitor)
    }
}

//! What lies within a value: elements, entries, fields and the content of variants.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::error::ByNameError;
use super::read::{Read, Reader};
use super::tag;

/// The name of a type and those of its fields, as the type that is read has them.
type Shape = (&'static str, &'static [&'static str]);

/// The elements of a sequence or tuple.
pub(super) struct Elements<'r, 'de> {
    reader: &'r mut Reader<'de>,
    /// How many are still to come; `None` if that was not said.
    left: Option<usize>,
}

impl<'r, 'de> Elements<'r, 'de> {
    pub(super) fn all<V: Visitor<'de>>(
        reader: &'r mut Reader<'de>,
        left: Option<usize>,
        what: &str,
        visitor: V,
    ) -> Read<V::Value> {
        let mut elements = Self { reader, left };
        let value = visitor.visit_seq(&mut elements)?;
        match elements.is_next()? {
            false => Ok(value),
            true => Err(ByNameError::new(format!(
                "more elements of {what} were written than are asked for"
            ))),
        }
    }

    fn is_next(&mut self) -> Read<bool> {
        is_next(self.reader, &mut self.left)
    }
}

/// Whether another one comes; it is then counted as read.
fn is_next(reader: &mut Reader<'_>, left: &mut Option<usize>) -> Read<bool> {
    match left {
        Some(0) => Ok(false),
        Some(count) => {
            *count -= 1;
            Ok(true)
        }
        None if reader.peek()? == tag::END => {
            reader.byte()?;
            *left = Some(0);
            Ok(false)
        }
        None => Ok(true),
    }
}

impl<'de> SeqAccess<'de> for &mut Elements<'_, 'de> {
    type Error = ByNameError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Read<Option<T::Value>> {
        match self.is_next()? {
            true => seed.deserialize(&mut *self.reader).map(Some),
            false => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        self.left
    }
}

/// The entries of a map.
pub(super) struct Entries<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: Option<usize>,
}

impl<'r, 'de> Entries<'r, 'de> {
    pub(super) fn all<V: Visitor<'de>>(
        reader: &'r mut Reader<'de>,
        left: Option<usize>,
        visitor: V,
    ) -> Read<V::Value> {
        let mut entries = Self { reader, left };
        let value = visitor.visit_map(&mut entries)?;
        match is_next(entries.reader, &mut entries.left)? {
            false => Ok(value),
            true => Err(ByNameError::new(
                "more entries of a map were written than are asked for",
            )),
        }
    }
}

impl<'de> MapAccess<'de> for &mut Entries<'_, 'de> {
    type Error = ByNameError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Read<Option<K::Value>> {
        match is_next(self.reader, &mut self.left)? {
            true => seed.deserialize(&mut *self.reader).map(Some),
            false => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Read<V::Value> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        self.left
    }
}

/// The fields of a struct, by name and in whatever order.
pub(super) struct Fields<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
    /// What the type has now, if it must be that exactly.
    strict: Option<Shape>,
}

impl<'r, 'de> Fields<'r, 'de> {
    pub(super) fn all<V: Visitor<'de>>(
        reader: &'r mut Reader<'de>,
        strict: Option<Shape>,
        visitor: V,
    ) -> Read<V::Value> {
        let left = reader.count()?;
        let mut fields = Self {
            reader,
            left,
            strict,
        };
        let value = visitor.visit_map(&mut fields)?;
        match fields.left {
            0 => Ok(value),
            _ => Err(ByNameError::new(
                "more fields were written than are asked for",
            )),
        }
    }
}

impl<'de> MapAccess<'de> for &mut Fields<'_, 'de> {
    type Error = ByNameError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Read<Option<K::Value>> {
        loop {
            let Some(left) = self.left.checked_sub(1) else {
                return Ok(None);
            };
            self.left = left;
            let name = self.reader.name()?;
            if let Some((of, known)) = self.strict
                && !known.contains(&name)
            {
                return Err(gone(of, name));
            }
            if self.reader.peek()? == tag::LEFT_OUT {
                self.reader.byte()?;
                continue;
            }
            return seed
                .deserialize(BorrowedStrDeserializer::new(name))
                .map(Some);
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Read<V::Value> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The fields of a struct in the order of its type. A type lists the aliases of its fields among their names, so that only
/// its asking for one field after the other tells how many it has.
pub(super) struct InOrder<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
    shape: Shape,
    /// Names of the type up to here were passed.
    passed: usize,
    read: Vec<&'de str>,
}

impl<'r, 'de> InOrder<'r, 'de> {
    pub(super) fn all<V: Visitor<'de>>(
        reader: &'r mut Reader<'de>,
        count: usize,
        shape: Shape,
        visitor: V,
    ) -> Read<V::Value> {
        let mut fields = Self {
            reader,
            left: count,
            shape,
            passed: 0,
            read: Vec::with_capacity(count),
        };
        let value = visitor.visit_seq(&mut fields)?;
        match fields.left {
            0 => Ok(value),
            _ => Err(ByNameError::new(format!(
                "{} had {count} fields when it was written, and has fewer now",
                shape.0
            ))),
        }
    }
}

impl<'de> SeqAccess<'de> for &mut InOrder<'_, 'de> {
    type Error = ByNameError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Read<Option<T::Value>> {
        let (of, known) = self.shape;
        let Some(left) = self.left.checked_sub(1) else {
            let missing = known.iter().find(|field| !self.read.contains(*field));
            return Err(ByNameError::new(format!(
                "{of} had no field {:?} when it was written",
                missing.unwrap_or(&"")
            )));
        };
        self.left = left;
        let name = self.reader.name()?;
        if !known.contains(&name) {
            return Err(gone(of, name));
        }
        let mut ahead = known.iter().skip(self.passed);
        let Some(at) = ahead.position(|field| *field == name) else {
            return Err(ByNameError::new(format!(
                "the fields of {of} were in another order when it was written"
            )));
        };
        self.passed += at + 1;
        self.read.push(name);
        if self.reader.peek()? == tag::LEFT_OUT {
            return Err(ByNameError::new(format!(
                "field {name:?} of {of} was left out, and {of} has aliases: use one or the other"
            )));
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

fn gone(of: &str, name: &str) -> ByNameError {
    ByNameError::new(format!(
        "{of} had a field {name:?} when it was written, and has none now"
    ))
}

/// A variant, its name read and its content not.
pub(super) struct Variant<'r, 'de> {
    pub(super) reader: &'r mut Reader<'de>,
    pub(super) name: &'de str,
    pub(super) tag: u8,
}

impl<'de> Variant<'_, 'de> {
    /// A map of one entry: its name, and what it has.
    pub(super) fn into_map<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_map(OneEntry {
            variant: self,
            is_read: false,
        })
    }

    fn is(&self, tag: u8, wanted: &str) -> Read<()> {
        match self.tag == tag {
            true => Ok(()),
            false => Err(ByNameError::new(format!(
                "variant {:?} was written in another form, and {wanted} is asked for",
                self.name
            ))),
        }
    }
}

impl<'r, 'de> EnumAccess<'de> for Variant<'r, 'de> {
    type Error = ByNameError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Read<(V::Value, Self)> {
        let variant = seed.deserialize(BorrowedStrDeserializer::<ByNameError>::new(self.name))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = ByNameError;

    fn unit_variant(self) -> Read<()> {
        self.is(tag::UNIT_VARIANT, "one without content")
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Read<T::Value> {
        self.is(tag::NEWTYPE_VARIANT, "one of a single value")?;
        seed.deserialize(self.reader)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Read<V::Value> {
        self.is(tag::TUPLE_VARIANT, "one of several values")?;
        let count = self.reader.count()?;
        if count != length {
            return Err(ByNameError::new(format!(
                "variant {:?} had {count} values when it was written, and has {length} now",
                self.name
            )));
        }
        Elements::all(self.reader, Some(count), "a variant", visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        self.is(tag::STRUCT_VARIANT, "one with fields")?;
        self.reader.fields("the variant", fields, visitor)
    }
}

/// A variant as a map of one entry.
struct OneEntry<'r, 'de> {
    variant: Variant<'r, 'de>,
    is_read: bool,
}

impl<'de> MapAccess<'de> for OneEntry<'_, 'de> {
    type Error = ByNameError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Read<Option<K::Value>> {
        if self.is_read {
            return Ok(None);
        }
        self.is_read = true;
        seed.deserialize(BorrowedStrDeserializer::new(self.variant.name))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Read<V::Value> {
        let reader = &mut *self.variant.reader;
        match self.variant.tag {
            tag::NEWTYPE_VARIANT => seed.deserialize(reader),
            tag => seed.deserialize(Content { reader, tag }),
        }
    }
}

/// The content of a variant of several values or with fields, for what asks for anything.
struct Content<'r, 'de> {
    reader: &'r mut Reader<'de>,
    tag: u8,
}

impl<'de> serde::Deserializer<'de> for Content<'_, 'de> {
    type Error = ByNameError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match self.tag {
            tag::TUPLE_VARIANT => {
                let count = self.reader.count()?;
                Elements::all(self.reader, Some(count), "a variant", visitor)
            }
            _ => Fields::all(self.reader, None, visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

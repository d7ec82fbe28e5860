//! The type names that an event enum has, and whether its versions and upcasters fit them.

use std::cell::Cell;

use chronicler_domain::{Event, UpcastGap};
use serde::de::{self, Deserializer, Visitor};

/// The stable names of all types of `E`, as serde knows them. Aliases are not among them.
pub fn event_types<E: Event>() -> Vec<&'static str> {
    let found = Cell::new(Vec::new());
    // The probe never gives a value: it only looks at what is asked for.
    drop(E::deserialize(Probe { found: &found }));
    found.into_inner()
}

/// Checks that `E` has event types, that its versions name types that exist, and that its upcasters have no
/// gap.
///
/// # Errors
/// Everything that is wrong, in words.
pub fn check_events<E: Event>() -> Result<(), Vec<String>> {
    let known = event_types::<E>();
    let in_words = |gaps: Vec<UpcastGap>| gaps.iter().map(ToString::to_string).collect();
    let mut wrong: Vec<String> = E::upcasters()
        .check(E::VERSIONS)
        .map_or_else(in_words, |()| Vec::new());
    if known.is_empty() {
        wrong.push(format!(
            "{} has no event types: an event is an enum or a struct, without serde(tag) and serde(untagged)",
            std::any::type_name::<E>()
        ));
    }
    for (name, _) in E::VERSIONS.iter().filter(|(name, _)| !known.contains(name)) {
        wrong.push(format!(
            "Event::VERSIONS names {name:?}, and there is no such event type"
        ));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

struct Probe<'a> {
    found: &'a Cell<Vec<&'static str>>,
}

type Nothing = de::value::Error;

impl Probe<'_> {
    fn note<T>(self, names: Vec<&'static str>) -> Result<T, Nothing> {
        self.found.set(names);
        Err(de::Error::custom("only asked"))
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Nothing;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Nothing> {
        self.note(Vec::new())
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Nothing> {
        self.note(variants.to_vec())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Nothing> {
        self.note(vec![name])
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: V,
    ) -> Result<V::Value, Nothing> {
        self.note(vec![name])
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: V,
    ) -> Result<V::Value, Nothing> {
        self.note(vec![name])
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        _: V,
    ) -> Result<V::Value, Nothing> {
        self.note(vec![name])
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        seq tuple map identifier ignored_any
    }
}

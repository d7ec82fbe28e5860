//! The full name of a stream, as one key, and as people write it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::{AggregateId, Category, InvalidId, Tenant};

/// Separates the three parts of a stream key; a control character, which no part may contain.
const SEPARATOR: char = '\0';

/// The full name of a stream: tenant, category and aggregate id. Cheap to clone, hash and compare.
#[derive(Clone)]
pub struct StreamId {
    /// tenant, NUL, category, NUL, id
    key: Arc<str>,
    category_at: u16,
    id_at: u16,
}

impl StreamId {
    /// The stream of aggregate `id` of `category` under `tenant`.
    pub fn new(tenant: &Tenant, category: &Category, id: &AggregateId) -> Self {
        let (tenant, category, id) = (tenant.as_str(), category.as_str(), id.as_str());
        let mut key = String::with_capacity(tenant.len() + category.len() + id.len() + 2);
        key.push_str(tenant);
        key.push(SEPARATOR);
        key.push_str(category);
        key.push(SEPARATOR);
        key.push_str(id);
        // The limits above keep both offsets far below u16::MAX.
        Self {
            category_at: (tenant.len() + 1) as u16,
            id_at: (tenant.len() + category.len() + 2) as u16,
            key: key.into(),
        }
    }

    /// A stream of the default tenant.
    ///
    /// # Errors
    /// [`InvalidId`] when category or id break the rules of [`Category`] and [`AggregateId`].
    pub fn of(category: &str, id: &str) -> Result<Self, InvalidId> {
        let (category, id) = (Category::new(category)?, AggregateId::new(id)?);
        Ok(Self::new(&Tenant::default(), &category, &id))
    }

    /// Reads a key as [`key`](Self::key) gives it; `None` if it is not one.
    pub fn from_key(key: &str) -> Option<Self> {
        let mut parts = key.split(SEPARATOR);
        let (tenant, category, id) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let tenant = Tenant::try_from(tenant.to_owned()).ok()?;
        Some(Self::new(
            &tenant,
            &Category::new(category).ok()?,
            &AggregateId::new(id).ok()?,
        ))
    }

    /// The whole name as one text: tenant, NUL, category, NUL, id. Unambiguous, since no part has a NUL.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The tenant's name; empty for the default tenant.
    pub fn tenant(&self) -> &str {
        self.key
            .get(..usize::from(self.category_at) - 1)
            .unwrap_or("")
    }

    /// The category's name.
    pub fn category(&self) -> &str {
        let range = usize::from(self.category_at)..usize::from(self.id_at) - 1;
        self.key.get(range).unwrap_or("")
    }

    /// The aggregate's id.
    pub fn id(&self) -> &str {
        self.key.get(usize::from(self.id_at)..).unwrap_or("")
    }
}

impl PartialEq for StreamId {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for StreamId {}

impl PartialOrd for StreamId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StreamId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl Hash for StreamId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Display for StreamId {
    /// `account/alice`, or `acme:account/alice` under a named tenant; `saga:checkout/1` is an instance of a saga.
    ///
    /// Read back it is the same stream, whatever the names: `%` stands before two hexadecimal digits for a byte that
    /// would be taken for something else (`%` everywhere, `:` and `/` in tenants and categories, and the `s` of a tenant
    /// that is called `saga`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tenant() {
            "" => {}
            SAGA => write!(f, "%73aga:")?,
            tenant => write!(f, "{}:", Escaped(tenant, &['%', ':', '/']))?,
        }
        let category = match self.category().split_once(':') {
            Some((SAGA, saga)) => {
                write!(f, "{SAGA}:")?;
                saga
            }
            _ => self.category(),
        };
        write!(f, "{}/", Escaped(category, &['%', ':', '/']))?;
        write!(f, "{}", Escaped(self.id(), &['%']))
    }
}

/// The categories of sagas begin with this and a colon; a tenant of this name is written otherwise.
const SAGA: &str = "saga";

/// A name in which these characters, all of ASCII, are written as `%` and two hexadecimal digits.
struct Escaped<'a>(&'a str, &'a [char]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((before, from)) = rest.find(self.1).and_then(|at| rest.split_at_checked(at))
        {
            f.write_str(before)?;
            let mut from = from.chars();
            if let Some(character) = from.next() {
                write!(f, "%{:02X}", u32::from(character))?;
            }
            rest = from.as_str();
        }
        f.write_str(rest)
    }
}

/// A name as it was before it was [`Escaped`]. A `%` without two hexadecimal digits after it stands for itself.
fn unescaped(text: &str) -> Result<String, InvalidStreamId> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        let code = (*first == b'%').then(|| Some(digit(0)? * 16 + digit(1)?));
        match code.flatten().and_then(|code| u8::try_from(code).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| InvalidStreamId::Escape(text.to_owned()))
}

impl FromStr for StreamId {
    type Err = InvalidStreamId;

    /// Reads what [`Display`](fmt::Display) writes. `saga:` begins the categories of sagas, and is no tenant.
    fn from_str(text: &str) -> Result<Self, InvalidStreamId> {
        let (left, id) = text.split_once('/').ok_or(InvalidStreamId::Form)?;
        let (tenant, category) = match left.split_once(':') {
            Some((SAGA, _)) | None => (Tenant::default(), left),
            Some((tenant, category)) => (Tenant::new(unescaped(tenant)?)?, category),
        };
        let category = Category::new(unescaped(category)?)?;
        Ok(Self::new(
            &tenant,
            &category,
            &AggregateId::new(unescaped(id)?)?,
        ))
    }
}

/// Why a text names no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidStreamId {
    /// The text has no `/`.
    #[error("a stream is written category/id, or tenant:category/id")]
    Form,
    /// The bytes that its escapes stand for are no UTF-8 text.
    #[error(
        "the bytes that {0:?} has as %XX are not UTF-8: write the characters themselves, and %25 for a %"
    )]
    Escape(String),
    /// One of its names breaks a rule.
    #[error(transparent)]
    Name(#[from] InvalidId),
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({self})")
    }
}

impl Serialize for StreamId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.key)
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        Self::from_key(&key)
            .ok_or_else(|| serde::de::Error::custom(format!("{key:?} is not a stream key")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_key_is_unambiguous_and_reads_back() {
        let stream = StreamId::new(
            &Tenant::new("acme").unwrap(),
            &Category::new("account").unwrap(),
            &AggregateId::new("alice").unwrap(),
        );
        assert_eq!(
            (stream.tenant(), stream.category(), stream.id()),
            ("acme", "account", "alice")
        );
        assert_eq!(stream.to_string(), "acme:account/alice");
        assert_eq!(StreamId::from_key(stream.key()), Some(stream.clone()));
        assert_ne!(StreamId::of("account", "alice").unwrap(), stream);
        assert_eq!(StreamId::from_key("a\0b"), None);
        assert_eq!(StreamId::from_key("a\0b\0c\0d"), None);
    }

    #[test]
    fn streams_are_read_as_they_are_shown() {
        let names = [
            "account/alice",
            "acme:account/alice",
            "account/a/b:c",
            "saga:checkout/1",
            "acme:saga:checkout/1",
        ];
        for name in names {
            let stream: StreamId = name.parse().unwrap();
            assert_eq!(stream.to_string(), name);
        }
        let saga: StreamId = "saga:checkout/1".parse().unwrap();
        assert_eq!((saga.tenant(), saga.category()), ("", "saga:checkout"));
        for name in [
            "alice",
            "/alice",
            "account/",
            ":account/alice",
            "account/%FF",
        ] {
            assert!(name.parse::<StreamId>().is_err(), "{name}");
        }
    }

    /// C1: every valid name, however odd, is shown as a text that names it and no other.
    #[test]
    fn c1_any_stream_is_read_back_from_what_is_shown() {
        let tenants = [
            "",
            "acme",
            "saga",
            "%73aga",
            "sag",
            "saga:",
            "acme:eu",
            "org/42",
            "a:saga",
            "a%3Ab",
            "%",
            "50%",
            "%zz",
            "größe",
            "https://acme.example",
        ];
        let categories = [
            "account",
            "saga",
            "saga:checkout",
            "saga:",
            ":",
            "saga:a:b",
            "saga:a/b",
            "a:b",
            "a/b",
            "a%2Fb",
            "%",
            "x:saga",
        ];
        let ids = [
            "alice",
            "a/b:c",
            "x@y.z",
            "50%",
            "%41",
            "%",
            "%%25",
            "größe 東京",
            "/",
            ":",
            "saga:x/1",
        ];
        let mut shown = std::collections::HashMap::new();
        for tenant in tenants {
            let tenant = Tenant::try_from(tenant.to_owned()).unwrap();
            for category in categories.map(|name| Category::new(name).unwrap()) {
                for id in ids.map(|id| AggregateId::new(id).unwrap()) {
                    let stream = StreamId::new(&tenant, &category, &id);
                    let text = stream.to_string();
                    assert_eq!(text.parse().as_ref(), Ok(&stream), "{text}");
                    assert_eq!(shown.insert(text, stream), None);
                }
            }
        }
        // What somebody wrote before there were escapes still names what it named.
        let by_hand: StreamId = "acme:a:b/50%".parse().unwrap();
        assert_eq!(
            (by_hand.tenant(), by_hand.category(), by_hand.id()),
            ("acme", "a:b", "50%")
        );
    }
}

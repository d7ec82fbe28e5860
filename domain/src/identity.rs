//! The names of an aggregate: tenant, category and id, checked once, where they enter.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest aggregate id, in bytes of UTF-8. With the longest tenant and category a stream's key stays
/// below 512 bytes, so that a frame's fixed parts have a known bound.
pub const ID_BYTES_MAX: usize = 255;
/// The longest category name, in bytes of UTF-8.
pub const CATEGORY_BYTES_MAX: usize = 100;
/// The longest tenant name, in bytes of UTF-8.
pub const TENANT_BYTES_MAX: usize = 100;

/// A name that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// There is no text at all.
    #[error("the {what} is empty: give it at least one character")]
    Empty {
        /// Which name it is: "aggregate id", "category" or "tenant".
        what: &'static str,
    },
    /// The text is longer than allowed.
    #[error("the {what} {shown:?}… has {bytes} bytes: at most {bytes_max} are allowed")]
    TooLong {
        /// Which name it is.
        what: &'static str,
        /// The beginning of the text.
        shown: String,
        /// Its length in bytes of UTF-8.
        bytes: usize,
        /// The longest that is allowed.
        bytes_max: usize,
    },
    /// The text has a character that is not allowed.
    #[error("the {what} {text:?} has {character:?} at byte {at}: {why}")]
    Malformed {
        /// Which name it is.
        what: &'static str,
        /// The text.
        text: String,
        /// The first character that is not allowed.
        character: char,
        /// Where it stands, in bytes from the start.
        at: usize,
        /// The rule it breaks.
        why: &'static str,
    },
}

impl From<std::convert::Infallible> for InvalidId {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

fn check(what: &'static str, text: &str, bytes_max: usize) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty { what });
    }
    if text.len() > bytes_max {
        return Err(InvalidId::TooLong {
            what,
            shown: text.chars().take(24).collect(),
            bytes: text.len(),
            bytes_max,
        });
    }
    let malformed = |character, at, why| InvalidId::Malformed {
        what,
        text: text.to_owned(),
        character,
        at,
        why,
    };
    if let Some((at, character)) = text.char_indices().find(|(_, c)| c.is_control()) {
        return Err(malformed(
            character,
            at,
            "control characters are not allowed",
        ));
    }
    let edge = |c: Option<(usize, char)>| c.filter(|(_, c)| c.is_whitespace());
    let first = edge(text.char_indices().next());
    if let Some((at, character)) = first.or(edge(text.char_indices().next_back())) {
        return Err(malformed(
            character,
            at,
            "white space at an end is not allowed",
        ));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and takes it.
            ///
            /// # Errors
            /// [`InvalidId`] when it is empty, too long, has a control character, or white space at an end.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let text = text.as_ref();
                check($what, text, $max)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;
            fn try_from(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<&String> for $name {
            type Error = InvalidId;
            fn try_from(text: &String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<&$name> for $name {
            fn from(name: &$name) -> Self {
                name.clone()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name! {
    /// One aggregate instance among those of its category: `"alice"`, an order number, a UUID as text.
    ///
    /// 1 to [`ID_BYTES_MAX`] bytes of UTF-8, no control characters, no white space at either end.
    AggregateId, "aggregate id", ID_BYTES_MAX
}

name! {
    /// A type of aggregate: `"account"`. 1 to [`CATEGORY_BYTES_MAX`] bytes, rules as for [`AggregateId`].
    Category, "category", CATEGORY_BYTES_MAX
}

/// Whose data it is. Tenants share a log and nothing else: the same id under two tenants is two aggregates.
///
/// The default tenant has no name; a named one has 1 to [`TENANT_BYTES_MAX`] bytes, rules as for
/// [`AggregateId`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(Option<Arc<str>>);

impl Tenant {
    /// Checks the name and takes it.
    ///
    /// # Errors
    /// [`InvalidId`] when it is empty, too long, has a control character, or white space at an end.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidId> {
        check("tenant", name.as_ref(), TENANT_BYTES_MAX)?;
        Ok(Self(Some(name.as_ref().into())))
    }

    /// Its name; empty for the default tenant.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("")
    }

    /// Whether this is the default tenant.
    pub fn is_default(&self) -> bool {
        self.0.is_none()
    }
}

impl TryFrom<String> for Tenant {
    type Error = InvalidId;
    fn try_from(name: String) -> Result<Self, InvalidId> {
        if name.is_empty() {
            return Ok(Self::default());
        }
        Self::new(name)
    }
}

impl TryFrom<&str> for Tenant {
    type Error = InvalidId;
    fn try_from(name: &str) -> Result<Self, InvalidId> {
        Self::new(name)
    }
}

impl From<Tenant> for String {
    fn from(tenant: Tenant) -> Self {
        tenant.as_str().to_owned()
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a17_empty_long_and_malformed_ids_say_why() {
        let empty = AggregateId::new("").unwrap_err();
        assert_eq!(
            empty.to_string(),
            "the aggregate id is empty: give it at least one character"
        );
        let long = AggregateId::new("x".repeat(256)).unwrap_err().to_string();
        assert!(long.contains("256 bytes") && long.contains("255"), "{long}");
        let control = AggregateId::new("a\nb").unwrap_err().to_string();
        assert!(
            control.contains("byte 1") && control.contains("control"),
            "{control}"
        );
        let space = AggregateId::new("ab ").unwrap_err().to_string();
        assert!(
            space.contains("byte 2") && space.contains("white space"),
            "{space}"
        );
        assert!(AggregateId::new("x".repeat(255)).is_ok());
        assert!(AggregateId::new("größe 東京/1-a_b").is_ok());
    }
}

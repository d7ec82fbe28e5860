//! Streams as an operator writes them: `account/alice`, or `acme:account/alice` under a named tenant.

use chronicler_domain::{AggregateId, Category, StreamId, Tenant};

/// Reads the name of a stream.
pub(crate) fn parse(text: &str) -> Result<StreamId, String> {
    let (left, id) = text
        .split_once('/')
        .ok_or("a stream is written category/id, or tenant:category/id")?;
    let (tenant, category) = match left.split_once(':') {
        Some((tenant, category)) => (Tenant::new(tenant).map_err(|e| e.to_string())?, category),
        None => (Tenant::default(), left),
    };
    let category = Category::new(category).map_err(|e| e.to_string())?;
    let id = AggregateId::new(id).map_err(|e| e.to_string())?;
    Ok(StreamId::new(&tenant, &category, &id))
}

/// A stream key as it is shown.
pub(crate) fn show(key: &str) -> String {
    StreamId::from_key(key).map_or_else(|| key.replace('\0', "/"), |stream| stream.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        for text in ["account/alice", "acme:account/alice", "account/a/b:c"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for text in ["alice", "/alice", "account/", ":account/alice"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

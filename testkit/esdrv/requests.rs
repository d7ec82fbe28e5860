//! The fields of a request, read with a complaint that names the field.

use serde_json::{Map, Value};

use crate::answer::Refused;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: Value,
    pub(crate) op: String,
    fields: Map<String, Value>,
}

impl Request {
    /// Reads a line.
    pub(crate) fn read(line: &str) -> Result<Self, Refused> {
        let value: Value = serde_json::from_str(line)
            .map_err(|error| Refused::invalid(format!("no JSON: {error}")))?;
        let Value::Object(mut fields) = value else {
            return Err(Refused::invalid("a request is an object"));
        };
        let id = fields.remove("id").unwrap_or(Value::Null);
        let op = match fields.remove("op") {
            Some(Value::String(op)) => op,
            // No op is called so: whoever asked is answered under the id that it gave.
            _ => String::new(),
        };
        Ok(Self { id, op, fields })
    }

    /// A field that is there and not null.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, field: &str) -> Result<&str, Refused> {
        match self.get(field) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(wrong(field, "is no text")),
            None => Err(wrong(field, "is missing")),
        }
    }

    pub(crate) fn optional_text(&self, field: &str) -> Result<Option<&str>, Refused> {
        match self.get(field) {
            None => Ok(None),
            Some(_) => self.text(field).map(Some),
        }
    }

    pub(crate) fn number(&self, field: &str) -> Result<u64, Refused> {
        self.optional_number(field)?
            .ok_or_else(|| wrong(field, "is missing"))
    }

    pub(crate) fn optional_number(&self, field: &str) -> Result<Option<u64>, Refused> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(field, "is no whole number from 0 on")),
            },
        }
    }

    pub(crate) fn flag(&self, field: &str) -> Result<bool, Refused> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(wrong(field, "is neither true nor false")),
        }
    }

    pub(crate) fn list(&self, field: &str) -> Result<&[Value], Refused> {
        match self.get(field) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(wrong(field, "is no list")),
        }
    }

    pub(crate) fn texts(&self, field: &str) -> Result<Vec<String>, Refused> {
        let text = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            _ => Err(wrong(field, "holds something that is no text")),
        };
        self.list(field)?.iter().map(text).collect()
    }

    /// The fields of an object within a request, as a request of its own.
    pub(crate) fn within(&self, value: &Value, field: &str) -> Result<Self, Refused> {
        match value {
            Value::Object(fields) => Ok(Self {
                id: self.id.clone(),
                op: self.op.clone(),
                fields: fields.clone(),
            }),
            _ => Err(wrong(field, "is no object")),
        }
    }
}

pub(crate) fn wrong(field: &str, problem: &str) -> Refused {
    Refused::invalid(format!("field `{field}` {problem}"))
}

//! The fields of a JSON object, each asked for by name, each complaint naming its path.

use serde_json::{Map, Value};

/// What is wrong, and with which field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) problem: String,
}

/// A JSON object and the path that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    path: String,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of a whole line.
    pub(crate) fn of_line(value: &'a Value) -> Result<Self, FieldError> {
        Self::at(value, String::new())
    }

    fn at(value: &'a Value, path: String) -> Result<Self, FieldError> {
        match value.as_object() {
            Some(object) => Ok(Self { path, object }),
            None => Err(FieldError {
                field: if path.is_empty() {
                    "the whole line".into()
                } else {
                    path
                },
                problem: format!("expected an object, found {}", shown(value)),
            }),
        }
    }

    /// A complaint about one of the fields.
    pub(crate) fn wrong(&self, field: &str, problem: impl ToString) -> FieldError {
        let field = if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.path)
        };
        let problem = problem.to_string();
        FieldError { field, problem }
    }

    /// A field that may be missing or null.
    pub(crate) fn optional(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    fn required(&self, field: &str) -> Result<&'a Value, FieldError> {
        let found = self.optional(field);
        found.ok_or_else(|| self.wrong(field, "it is missing"))
    }

    /// A text that is not empty.
    pub(crate) fn text(&self, field: &str) -> Result<&'a str, FieldError> {
        let value = self.required(field)?;
        match value.as_str() {
            Some("") => Err(self.wrong(field, "it is empty")),
            Some(text) => Ok(text),
            None => Err(self.expected(field, "a text", value)),
        }
    }

    /// A text, where there is one.
    pub(crate) fn optional_text(&self, field: &str) -> Result<Option<&'a str>, FieldError> {
        match self.optional(field) {
            None => Ok(None),
            Some(_) => self.text(field).map(Some),
        }
    }

    /// A whole number between two others, both allowed.
    pub(crate) fn integer(&self, field: &str, min: i64, max: i64) -> Result<i64, FieldError> {
        let value = self.required(field)?;
        let Some(number) = value.as_i64() else {
            return Err(self.expected(field, "a whole number", value));
        };
        if (min..=max).contains(&number) {
            Ok(number)
        } else {
            Err(self.wrong(field, format!("{number} is not between {min} and {max}")))
        }
    }

    /// True or false; what it is when missing.
    pub(crate) fn flag(&self, field: &str, default: bool) -> Result<bool, FieldError> {
        match self.optional(field) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(self.expected(field, "true or false", value)),
        }
    }

    /// Each object of a list.
    pub(crate) fn list(&self, field: &str) -> Result<Vec<Fields<'a>>, FieldError> {
        let value = self.required(field)?;
        let Some(list) = value.as_array() else {
            return Err(self.expected(field, "a list", value));
        };
        let object = |(at, value)| Fields::at(value, format!("{field}[{at}]"));
        list.iter().enumerate().map(object).collect()
    }

    fn expected(&self, field: &str, what: &str, found: &Value) -> FieldError {
        self.wrong(field, format!("expected {what}, found {}", shown(found)))
    }
}

/// A value, short enough for a message.
fn shown(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}

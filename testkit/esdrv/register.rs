//! A register that holds one value of any kind, as JSON.

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// What a register can be asked. Values are JSON texts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum RegisterCommand {
    Write { value: String },
    CompareAndSet { expected: String, value: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RegisterEvent {
    Written { value: String },
}

impl Event for RegisterEvent {}

#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("the register holds {actual}")]
pub(crate) struct Mismatch {
    pub(crate) actual: String,
}

/// What a register holds; empty: null.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Register {
    value: Option<String>,
}

impl Register {
    fn text(&self) -> &str {
        self.value.as_deref().unwrap_or("null")
    }

    pub(crate) fn shown(&self) -> Value {
        let value: Value = serde_json::from_str(self.text()).unwrap_or_default();
        serde_json::json!({ "value": value })
    }
}

impl RegisterCommand {
    /// Reads the command of a request.
    pub(crate) fn read(name: &str, args: &Value) -> Result<Self, String> {
        let field = |names: &[&str]| {
            let found = names.iter().find_map(|name| args.get(name));
            found
                .map(Value::to_string)
                .ok_or_else(|| format!("args need {}", names.join(" or ")))
        };
        match name {
            "Write" => Ok(Self::Write {
                value: field(&["value", "new", "to"])?,
            }),
            "CompareAndSet" => Ok(Self::CompareAndSet {
                expected: field(&["expected", "expect", "old", "from"])?,
                value: field(&["value", "new", "to"])?,
            }),
            _ => Err(format!(
                "a register knows Write and CompareAndSet, not {name}"
            )),
        }
    }
}

impl Aggregate for Register {
    const CATEGORY: &'static str = "register";
    type Command = RegisterCommand;
    type Event = RegisterEvent;
    type Reply = ();
    type Rejection = Mismatch;

    fn decide(&self, command: RegisterCommand, _: &Context) -> Decided<Self> {
        match command {
            RegisterCommand::CompareAndSet { expected, .. } if expected != self.text() => {
                let actual = self.text().to_owned();
                Err(Mismatch { actual })
            }
            RegisterCommand::Write { value } | RegisterCommand::CompareAndSet { value, .. } => {
                Ok(RegisterEvent::Written { value }.into())
            }
        }
    }

    fn evolve(&mut self, event: &RegisterEvent) {
        let RegisterEvent::Written { value } = event;
        self.value = Some(value.clone());
    }
}

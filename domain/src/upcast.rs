//! How payloads of older schema versions become the present ones, step by step.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::SchemaVersion;

type StepFn = dyn Fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<Vec<Upcasted>, erased_serde::Error>
    + Send
    + Sync;

/// One payload that a step made, of a type and version that the chain takes on from there.
pub struct Upcasted {
    /// The event type it now is.
    pub event_type: Cow<'static, str>,
    /// The schema version it now has.
    pub schema_version: SchemaVersion,
    /// The payload.
    pub payload: Box<dyn erased_serde::Serialize + Send>,
}

impl Upcasted {
    /// A payload of this type and version.
    pub fn new<T: Serialize + Send + 'static>(
        event_type: &'static str,
        schema_version: u32,
        payload: T,
    ) -> Self {
        Self {
            event_type: Cow::Borrowed(event_type),
            schema_version: SchemaVersion::new(schema_version),
            payload: Box::new(payload),
        }
    }
}

impl fmt::Debug for Upcasted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upcasted({} v{})", self.event_type, self.schema_version)
    }
}

/// One step: takes the payload of one version and gives none, one or several of later ones.
#[derive(Clone)]
pub struct UpcastStep {
    run: Arc<StepFn>,
    /// Where a plain step leads; a step that [`Upcasters::replace`] added may lead anywhere.
    to: Option<SchemaVersion>,
}

impl UpcastStep {
    /// Runs the step on a payload in whatever format the deserializer reads.
    ///
    /// # Errors
    /// When the payload cannot be read as the step's input.
    pub fn run(
        &self,
        payload: &mut dyn erased_serde::Deserializer<'_>,
    ) -> Result<Vec<Upcasted>, erased_serde::Error> {
        (self.run)(payload)
    }
}

impl fmt::Debug for UpcastStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpcastStep(to {:?})", self.to)
    }
}

/// A chain of steps by event type and version. Empty for events that never changed.
#[derive(Clone, Debug, Default)]
pub struct Upcasters {
    steps: BTreeMap<String, BTreeMap<SchemaVersion, UpcastStep>>,
    twice: Vec<(String, SchemaVersion)>,
}

impl Upcasters {
    /// No steps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Payloads of `event_type` at version `from` become those of version `from + 1`.
    #[must_use]
    pub fn step<Old, New>(
        self,
        event_type: &'static str,
        from: u32,
        change: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Self
    where
        Old: DeserializeOwned,
        New: Serialize + Send + 'static,
    {
        let to = SchemaVersion::new(from).next();
        let run = move |payload: &mut dyn erased_serde::Deserializer<'_>| {
            let old: Old = erased_serde::deserialize(payload)?;
            Ok(vec![Upcasted::new(event_type, to.get(), change(old))])
        };
        self.add(
            event_type,
            from,
            UpcastStep {
                run: Arc::new(run),
                to: Some(to),
            },
        )
    }

    /// Payloads of `event_type` at version `from` become none, one or several of any type: for events that
    /// were split, merged away or renamed.
    #[must_use]
    pub fn replace<Old: DeserializeOwned>(
        self,
        event_type: &'static str,
        from: u32,
        change: impl Fn(Old) -> Vec<Upcasted> + Send + Sync + 'static,
    ) -> Self {
        let run = move |payload: &mut dyn erased_serde::Deserializer<'_>| {
            Ok(change(erased_serde::deserialize(payload)?))
        };
        self.add(
            event_type,
            from,
            UpcastStep {
                run: Arc::new(run),
                to: None,
            },
        )
    }

    fn add(mut self, event_type: &str, from: u32, step: UpcastStep) -> Self {
        let from = SchemaVersion::new(from);
        let steps = self.steps.entry(event_type.to_owned()).or_default();
        if steps.insert(from, step).is_some() {
            self.twice.push((event_type.to_owned(), from));
        }
        self
    }

    /// Whether there are no steps at all.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The step that takes payloads of this type and version, if there is one.
    pub fn find(&self, event_type: &str, from: SchemaVersion) -> Option<&UpcastStep> {
        self.steps.get(event_type)?.get(&from)
    }

    /// Checks that every version below the present one has a step, and that no step leads past it.
    ///
    /// # Errors
    /// Every [`UpcastGap`] found, not only the first.
    pub fn check(&self, versions: &[(&str, u32)]) -> Result<(), Vec<UpcastGap>> {
        let mut gaps: Vec<UpcastGap> = self
            .twice
            .iter()
            .map(|(event_type, from)| UpcastGap::Twice {
                event_type: event_type.clone(),
                from: *from,
            })
            .collect();
        for (event_type, present) in versions {
            let missing = (1..*present).map(SchemaVersion::new);
            for from in missing.filter(|from| self.find(event_type, *from).is_none()) {
                gaps.push(UpcastGap::Missing {
                    event_type: (*event_type).to_owned(),
                    from,
                    present: SchemaVersion::new(*present),
                });
            }
        }
        for (event_type, steps) in &self.steps {
            let listed = versions.iter().find(|(name, _)| name == event_type);
            let present = SchemaVersion::new(listed.map_or(1, |(_, version)| *version));
            let beyond = steps
                .iter()
                .filter(|(_, step)| step.to.is_some_and(|to| to > present));
            gaps.extend(beyond.map(|(from, _)| UpcastGap::Beyond {
                event_type: event_type.clone(),
                from: *from,
                present,
            }));
        }
        if gaps.is_empty() { Ok(()) } else { Err(gaps) }
    }
}

/// What is wrong with a chain of upcasters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpcastGap {
    /// A version that may be in the log has no step.
    #[error(
        "event type {event_type:?} is at version {present}, and no upcaster takes version {from}: add .step({event_type:?}, {from}, …)"
    )]
    Missing {
        /// The event type.
        event_type: String,
        /// The version without a step.
        from: SchemaVersion,
        /// The present version.
        present: SchemaVersion,
    },
    /// A step leads past the present version.
    #[error(
        "event type {event_type:?} is at version {present}, and an upcaster takes version {from} beyond it: raise the version in Event::VERSIONS"
    )]
    Beyond {
        /// The event type.
        event_type: String,
        /// The version that the step takes.
        from: SchemaVersion,
        /// The present version.
        present: SchemaVersion,
    },
    /// Two steps take the same version.
    #[error("event type {event_type:?} has two upcasters for version {from}: keep one")]
    Twice {
        /// The event type.
        event_type: String,
        /// The version with two steps.
        from: SchemaVersion,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Upcasters {
        Upcasters::new().step("Deposited", 1, |cents: i64| cents)
    }

    #[test]
    fn a_gap_a_step_beyond_and_a_double_are_each_named() {
        assert!(chain().check(&[("Deposited", 2)]).is_ok());
        let gaps = chain().check(&[("Deposited", 4)]).unwrap_err();
        assert_eq!(gaps.len(), 2);
        assert!(
            gaps[0].to_string().contains("no upcaster takes version 2"),
            "{}",
            gaps[0]
        );
        assert!(matches!(
            chain().check(&[]).unwrap_err()[0],
            UpcastGap::Beyond { .. }
        ));
        let twice = chain().step("Deposited", 1, |cents: i64| cents);
        assert!(matches!(
            twice.check(&[("Deposited", 2)]).unwrap_err()[0],
            UpcastGap::Twice { .. }
        ));
    }
}

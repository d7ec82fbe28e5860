//! Migration of an instance from an earlier definition to the newest.

use std::collections::{BTreeMap, BTreeSet};

use chronicler_store::codec::{CodecId, PayloadCodec, decode, encode};
use serde::de::DeserializeOwned;

use super::key::StepKey;
use super::node::Node;
use super::state::{StepEvent, StepState};

/// An instance that goes over to another definition. What its steps gave is kept under their ids, as far as the
/// definition has them, unless this says otherwise.
#[derive(Debug)]
pub struct Migration {
    version: u32,
    outputs: BTreeMap<String, (u8, Vec<u8>)>,
    skipped: BTreeSet<String>,
    mistakes: Vec<String>,
}

impl Migration {
    pub(super) fn of<T>(version: u32, state: &StepState<T>) -> Self {
        Self {
            version,
            outputs: state.outputs.written(),
            skipped: state.skipped.clone(),
            mistakes: Vec::new(),
        }
    }

    /// The version of the definition that it began under, or was migrated to last.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether a step of this id is done.
    pub fn is_done(&self, step: &str) -> bool {
        self.outputs.contains_key(step)
    }

    /// What a step of this id gave, if it is done.
    ///
    /// # Errors
    /// When it is not of this type.
    pub fn output<T: DeserializeOwned>(&self, step: &str) -> Result<Option<T>, String> {
        let output = self.outputs.get(step);
        let decoded = output.map(|(codec, payload)| decode(CodecId::new(*codec), payload));
        // A text, as `StepSaga::migrate` gives it.
        decoded.transpose().map_err(|error| error.to_string())
    }

    /// A step is called otherwise now.
    pub fn rename(&mut self, from: &str, to: &str) -> &mut Self {
        if let Some(output) = self.outputs.remove(from) {
            self.outputs.insert(to.to_owned(), output);
        }
        if self.skipped.remove(from) {
            self.skipped.insert(to.to_owned());
        }
        self
    }

    /// A step counts as done, and as having given this. It is not undone.
    pub fn supply<K: StepKey>(&mut self, _: K, output: &K::Output) -> &mut Self {
        let codec = PayloadCodec::ByName;
        match encode(codec, output) {
            Ok(payload) => {
                let output = (codec.id().number(), payload.to_vec());
                self.outputs.insert(K::ID.to_owned(), output);
            }
            Err(error) => self.mistakes.push(format!("step {:?}: {error}", K::ID)),
        }
        self
    }

    /// A step under a condition counts as skipped.
    pub fn skip<K: StepKey>(&mut self, _: K) -> &mut Self {
        self.skipped.insert(K::ID.to_owned());
        self
    }

    /// What the instance is to remember, which goes by these steps from here on.
    pub(super) fn into_event<T>(
        mut self,
        nodes: &[Node<T>],
        fingerprint: u64,
    ) -> Result<StepEvent<T>, String> {
        if let Some(mistake) = self.mistakes.pop() {
            return Err(mistake);
        }
        let is_known = |step: &str| nodes.iter().any(|node| node.id == step);
        self.outputs.retain(|step, _| is_known(step));
        self.skipped.retain(|step| is_known(step));
        let behind = |id: &str| self.outputs.contains_key(id) || self.skipped.contains(id);
        for node in nodes {
            let before = node.after.iter().filter_map(|place| nodes.get(*place));
            let missing = before.into_iter().find(|before| !behind(before.id));
            if let Some(missing) = missing.filter(|_| behind(node.id)) {
                return Err(format!(
                    "step {:?} is done, and step {:?} before it is not: supply or skip it in `StepSaga::migrate`",
                    node.id, missing.id
                ));
            }
            let may_be_skipped = node.condition.is_some();
            if self.skipped.contains(node.id) && !may_be_skipped {
                return Err(format!(
                    "step {:?} has no condition, and cannot be skipped",
                    node.id
                ));
            }
        }
        Ok(StepEvent::Migrated {
            fingerprint,
            steps: nodes.iter().map(|node| node.id.to_owned()).collect(),
            outputs: self.outputs,
            skipped: self.skipped,
        })
    }
}

//! Outputs of steps and replies to their effects, as the copies of an instance's state share them.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, OnceLock};

use chronicler_store::codec::{CodecError, CodecId, decode};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::definition::effect::Request;

/// From this size on an output is read once, and not for each function that can see it.
const READ_ONCE_FROM: usize = 256;

/// An output, encoded; a long one is read once.
struct Output {
    codec: u8,
    payload: Vec<u8>,
    read: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Output {
    fn read<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, CodecError> {
        let read = || decode::<T>(CodecId::new(self.codec), &self.payload).map(Arc::new);
        if self.payload.len() < READ_ONCE_FROM {
            return read();
        }
        if let Some(found) = self.read.get()
            && let Ok(found) = Arc::clone(found).downcast()
        {
            return Ok(found);
        }
        let found = read()?;
        let kept: Arc<dyn Any + Send + Sync> = found.clone();
        // Another may have been quicker, or read it as another type.
        let _ = self.read.set(kept);
        Ok(found)
    }
}

/// Outputs of steps, encoded, by their ids. A copy shares all of them.
#[derive(Clone, Default)]
pub struct Outputs(Arc<BTreeMap<String, Arc<Output>>>);

impl Outputs {
    pub(super) fn contains_key(&self, step: &str) -> bool {
        self.0.contains_key(step)
    }

    /// How it is encoded, and the bytes.
    pub(super) fn get(&self, step: &str) -> Option<(u8, &[u8])> {
        let given = self.0.get(step)?;
        Some((given.codec, given.payload.as_slice()))
    }

    /// What a step gave, read.
    pub(super) fn read<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        step: &str,
    ) -> Result<Option<Arc<T>>, CodecError> {
        self.0.get(step).map(|given| given.read()).transpose()
    }

    pub(super) fn insert(&mut self, step: String, codec: u8, payload: Vec<u8>) {
        let read = OnceLock::new();
        let given = Output {
            codec,
            payload,
            read,
        };
        Arc::make_mut(&mut self.0).insert(step, Arc::new(given));
    }

    /// All of them, as they are written.
    pub(super) fn written(&self) -> BTreeMap<String, (u8, Vec<u8>)> {
        let all = self.0.iter();
        all.map(|(step, given)| (step.clone(), (given.codec, given.payload.clone())))
            .collect()
    }
}

impl From<BTreeMap<String, (u8, Vec<u8>)>> for Outputs {
    fn from(written: BTreeMap<String, (u8, Vec<u8>)>) -> Self {
        let mut outputs = Self::default();
        for (step, (codec, payload)) in written {
            outputs.insert(step, codec, payload);
        }
        outputs
    }
}

impl Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Serialize for Outputs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = self.0.iter();
        serializer.collect_map(all.map(|(step, given)| (step, (given.codec, &given.payload))))
    }
}

impl<'de> Deserialize<'de> for Outputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<String, (u8, Vec<u8>)>::deserialize(deserializer).map(Self::from)
    }
}

/// A reply, and how it is encoded.
type Reply = (u8, Arc<[u8]>);

/// The replies to several commands, as far as they have come. A copy shares them, and what is changed in it is the
/// path to one of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Replies {
    all: rpds::VectorSync<Option<Reply>>,
    missing: u32,
}

impl Replies {
    /// None of so many yet.
    pub(super) fn none_of(count: u32) -> Self {
        Self {
            all: std::iter::repeat_n(None, count as usize).collect(),
            missing: count,
        }
    }

    /// How many there are to be.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn heard(&mut self, item: u32, codec: u8, reply: &[u8]) {
        let place = item as usize;
        if let Some(before) = self.all.get(place) {
            if before.is_none() {
                self.missing = self.missing.saturating_sub(1);
            }
            self.all.set_mut(place, Some((codec, reply.into())));
        }
    }

    /// All of them; `None` as long as one is missing.
    pub(super) fn whole(&self) -> Option<Vec<(u8, &[u8])>> {
        if self.missing > 0 {
            return None;
        }
        let all = self.all.iter().map(|reply| {
            let (codec, payload) = reply.as_ref()?;
            Some((*codec, &payload[..]))
        });
        all.collect()
    }
}

/// The commands of the steps of several that are under way, for as long as the instance is awake: each is asked for
/// once, not again for each item. They are nothing but what the steps' functions say, and so in no snapshot.
#[derive(Clone, Default)]
pub(super) struct Lists(Arc<Mutex<Vec<List>>>);

struct List {
    step: String,
    tried: u32,
    requests: Arc<[Request]>,
}

impl Lists {
    pub(super) fn get(&self, step: &str, tried: u32) -> Option<Arc<[Request]>> {
        let lists = self.0.lock();
        let found = lists
            .iter()
            .find(|list| list.step == step && list.tried == tried);
        found.map(|list| Arc::clone(&list.requests))
    }

    pub(super) fn keep(&self, step: &str, tried: u32, requests: Vec<Request>) -> Arc<[Request]> {
        let requests: Arc<[Request]> = requests.into();
        let list = List {
            step: step.to_owned(),
            tried,
            requests: Arc::clone(&requests),
        };
        let mut lists = self.0.lock();
        lists.retain(|list| list.step != step || list.tried != tried);
        lists.push(list);
        requests
    }

    /// A step is done.
    pub(super) fn drop_of(&self, step: &str) {
        self.0.lock().retain(|list| list.step != step);
    }

    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}

impl Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.lock().iter().map(|list| &list.step))
            .finish()
    }
}

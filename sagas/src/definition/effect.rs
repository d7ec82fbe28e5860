//! Effects: what a saga wants done, and how it is taken back.

use chronicler_domain::{AggregateId, Category, StreamId, Tenant};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::definition::category::CATEGORY_PREFIX;

/// Something that a saga wants done: encoded, and journaled before it is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectSpec {
    /// What the saga calls it.
    pub key: String,
    /// What is to be done.
    pub request: Request,
    /// How it is taken back; `None` if it need not be.
    pub undo: Option<Undo>,
}

/// A request: the thing to be done, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A command to an aggregate of this application. Its outcome is always known in the end.
    Command {
        /// The target's category.
        category: String,
        /// The target's id.
        id: String,
        /// How the command is encoded.
        codec: u8,
        /// The command.
        command: Vec<u8>,
    },
    /// A call that leaves the process.
    Call {
        /// The service's name.
        service: String,
        /// The request, as the service takes it.
        request: Vec<u8>,
    },
    /// Nothing: there is only something to take back. It is done at once.
    Nothing,
    /// Another saga is begun, and done when that is completed.
    Start {
        /// The name of the saga.
        saga: String,
        /// The id of the instance.
        id: String,
        /// How its beginning is encoded.
        codec: u8,
        /// What it begins with.
        start: Vec<u8>,
    },
}

/// The way in which an effect is taken back. Registered before the effect is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// What is done if the effect was done.
    pub if_done: Request,
    /// What is done if that is not known; `None` for commands, whose outcome is always known.
    pub if_unknown: Option<Request>,
}

impl Request {
    /// Whether it leaves the process.
    pub fn is_call(&self) -> bool {
        matches!(self, Self::Call { .. })
    }

    /// The stream of the target, for a command and for a child.
    pub(crate) fn target(&self, tenant: &Tenant) -> Option<StreamId> {
        let (category, id) = match self {
            Self::Command { category, id, .. } => (Category::new(category), id),
            Self::Start { saga, id, .. } => (Category::new(format!("{CATEGORY_PREFIX}{saga}")), id),
            Self::Call { .. } | Self::Nothing => return None,
        };
        let id = AggregateId::new(id).ok()?;
        Some(StreamId::new(tenant, &category.ok()?, &id))
    }

    /// Where it goes, in words, for people, in a saga of the default tenant.
    pub fn describe(&self) -> String {
        self.describe_in(&Tenant::default())
    }

    /// Where it goes in a saga of this tenant, in words, for people.
    pub fn describe_in(&self, tenant: &Tenant) -> String {
        match self {
            Self::Command { category, id, .. } => self
                .target(tenant)
                .map_or_else(|| format!("{category}/{id}"), |stream| stream.to_string()),
            Self::Call { service, .. } => format!("service {service}"),
            Self::Nothing => "nothing".to_owned(),
            Self::Start { saga, id, .. } => format!("saga {saga}/{id}"),
        }
    }
}

/// The id of an effect: the same for every attempt, in every life of the process. `undo_round` is `None` for the
/// effect itself; for its undo, how often that was refused and asked again.
pub(crate) fn effect_id(instance: &StreamId, index: u32, undo_round: Option<u32>) -> Uuid {
    let mut name = instance.key().as_bytes().to_vec();
    name.push(0);
    name.extend_from_slice(&index.to_le_bytes());
    if let Some(round) = undo_round {
        name.push(b'u');
        name.extend_from_slice(&round.to_le_bytes());
    }
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &name)
}

//! Quiet: a saga type has taken in everything there is, and waits for something to happen.

use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use tokio::sync::watch;

/// How far a saga type has come, and how much it has under way.
#[derive(Debug)]
pub(crate) struct Quiet {
    routed: watch::Sender<GlobalPosition>,
    under_way: watch::Sender<usize>,
}

/// Something under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Quiet>);

impl Quiet {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            routed: watch::Sender::new(GlobalPosition::ZERO),
            under_way: watch::Sender::new(0),
        })
    }

    /// Everything up to here was brought to its instances, and what they decided on it is under way.
    pub(crate) fn routed(&self, through: GlobalPosition) {
        self.routed
            .send_if_modified(|routed| std::mem::replace(routed, through) != through);
    }

    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.send_modify(|count| *count += 1);
        UnderWay(Arc::clone(self))
    }

    /// How much is under way.
    pub(crate) fn under_way(&self) -> usize {
        *self.under_way.borrow()
    }

    /// Waits until events up to here were routed and nothing is under way.
    pub(crate) async fn reached(&self, position: GlobalPosition) {
        // The senders live as long as this does, so the waits end with a value.
        let mut routed = self.routed.subscribe();
        drop(routed.wait_for(|through| *through >= position).await);
        let mut under_way = self.under_way.subscribe();
        drop(under_way.wait_for(|count| *count == 0).await);
    }
}

impl UnderWay {
    /// What it is counted by.
    pub(crate) fn quiet(&self) -> Arc<Quiet> {
        Arc::clone(&self.0)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

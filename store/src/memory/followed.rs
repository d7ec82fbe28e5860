//! The end of the log as it is shown to who follows it: to one after the other, in the order in which they came.

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::log::Head;

/// The end of the log. A channel that many wait at wakes them in an order of chance, and a simulation that a seed is to
/// give again has none to spare: so each follower has a channel of its own.
pub(super) struct Followed(Mutex<Followers>);

struct Followers {
    shown: Head,
    all: Vec<watch::Sender<Head>>,
}

impl Followed {
    pub(super) fn new(shown: Head) -> Self {
        let all = Vec::new();
        Self(Mutex::new(Followers { shown, all }))
    }

    pub(super) fn shown(&self) -> Head {
        self.0.lock().shown
    }

    pub(super) fn follow(&self) -> watch::Receiver<Head> {
        let mut followers = self.0.lock();
        let (one, followed) = watch::channel(followers.shown);
        // Of those that no longer follow none is kept.
        followers.all.retain(|one| one.receiver_count() > 0);
        followers.all.push(one);
        followed
    }

    pub(super) fn show(&self, head: Head) {
        let mut followers = self.0.lock();
        if std::mem::replace(&mut followers.shown, head) != head {
            for one in &followers.all {
                one.send_replace(head);
            }
        }
    }
}

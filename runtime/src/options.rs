//! Every limit of a runtime, with its default.

use std::time::Duration;

use chronicler_store::codec::PayloadCodec;

use crate::backoff::Backoff;
use crate::snapshots::SnapshotPolicy;

/// The least time in which a recovery can stall: ten times what a reader of a slow disk takes to show that it goes on.
const RECOVERY_STALL_MIN: Duration = Duration::from_secs(1);

/// Every limit of a runtime. The defaults suit one application on one machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuntimeOptions {
    /// Commands and looks at states that are under way at a time, over all instances; more are `Overloaded`. One that its
    /// sender no longer waits for counts until its instance has come to it. Default 65,536.
    pub in_flight_max: usize,
    /// Commands and looks at its state that wait at one instance, commands that are looked for in the log included; more
    /// are `Overloaded`. Default 8,192.
    pub inbox_max: usize,
    /// Commits of one instance that wait for the disk; then it waits with deciding. Default 1,024.
    pub pipeline_max: usize,
    /// Instances alive at a time, of all types together; beyond it those are passivated that were not used for a while.
    /// Default 20,000 (about 9 KB each, plus their states).
    pub live_max: usize,
    /// Saga instances that may stay alive while they only wait; beyond it each ends as soon as it waits, and is recovered
    /// from the log at its next input. Default 1,000.
    pub warm_max: usize,
    /// An instance unused for so long is passivated. Default 5 minutes.
    pub idle: Duration,
    /// Instances that recover at a time; and as many others look in the log for what they no longer remember. One that waits
    /// for the disk for long leaves others its place until something comes. Default 64.
    pub recoveries_max: usize,
    /// A recovery that nothing comes to for so long has failed, and is tried again; a look in the log for what is no
    /// longer remembered has failed, too, and its commands may be sent again. Default 30 s; its length does not matter. At
    /// least 1 s, and less counts as that: a reader of a slow disk shows every 100 ms or so that it goes on, and with less
    /// than it needs for that every long recovery would fail.
    pub recovery_stall: Duration,
    /// How an instance whose actor died is started again; more often within the time, and it is quarantined. Default
    /// 5 restarts within 60 s.
    pub restart: RestartPolicy,
    /// When snapshots are taken. Default: every 1,000 events. One of a state of more than 64 KiB waits until its events have
    /// half as many bytes.
    pub snapshots: SnapshotPolicy,
    /// Snapshots that wait to be saved at a time, over all instances, and one of each; what is due beyond that is taken
    /// later, of a newer state, or not at all of one that is passivated. Each holds a copy of its state, three while it is written. Default 16.
    pub snapshots_waiting_max: usize,
    /// How long a sender waits when it names no deadline, and whoever looks at a state. Default: for as long as it takes.
    pub deadline: Option<Duration>,
    /// A caller's command id is remembered for so long, whatever the load; older ones are refused. Default 24 hours.
    pub remembered_for: Duration,
    /// How far ahead of the runtime's clock a caller's command id may be dated; one further ahead is refused. Default
    /// 5 minutes, which clocks that are set at all keep to.
    pub remembered_ahead_max: Duration,
    /// Outcomes that an instance keeps whole in memory, for command ids and effects: the newest. An older one is read
    /// from the log when its command comes again. Those whose commit waits for the disk are kept beside them. Default 16.
    pub remembered_max: usize,
    /// What the payloads of those may have together; the newest is kept whatever it has. Default 16 KiB.
    pub remembered_answer_bytes_max: usize,
    /// What all instances together keep to know older ids by, 8 bytes for each. Beyond it an instance lets go of its
    /// oldest ones, and reads the log when an id comes that can be among them. Default 512 MiB.
    pub remembered_id_bytes_max: usize,
    /// How payloads are encoded. Default bincode.
    pub codec: PayloadCodec,
    /// New ids follow from this number instead of chance, on the thread that builds the runtime. For simulations
    /// on one thread that must give the same run again: two runs with one seed over one log give an id twice.
    /// Default `None`.
    pub id_seed: Option<u64>,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            in_flight_max: 65_536,
            inbox_max: 8_192,
            pipeline_max: 1_024,
            live_max: 20_000,
            warm_max: 1_000,
            idle: Duration::from_secs(300),
            recoveries_max: 64,
            recovery_stall: Duration::from_secs(30),
            restart: RestartPolicy {
                budget: 5,
                ..RestartPolicy::default()
            },
            snapshots: SnapshotPolicy::EveryEvents(1_000),
            snapshots_waiting_max: 16,
            deadline: None,
            remembered_for: Duration::from_secs(24 * 3_600),
            remembered_ahead_max: Duration::from_secs(5 * 60),
            remembered_max: 16,
            remembered_answer_bytes_max: 16 << 10,
            remembered_id_bytes_max: 512 << 20,
            codec: PayloadCodec::Bincode,
            id_seed: None,
        }
    }
}

impl RuntimeOptions {
    /// How long a recovery, or a look in the log, may stand still.
    pub(crate) fn stall(&self) -> Duration {
        self.recovery_stall.max(RECOVERY_STALL_MIN)
    }
}

/// How often and how quickly something that fails is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts within [`within`](Self::within); one more, and it is given up. [`RestartPolicy::ENDLESS`], the default:
    /// it is never given up.
    pub budget: u32,
    /// The time over which restarts are counted. Default 60 s.
    pub within: Duration,
    /// The wait before the first restart; it doubles with each, and chance makes each shorter by up to half. Default
    /// 50 ms.
    pub backoff_min: Duration,
    /// The longest wait. Default 5 s.
    pub backoff_max: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            budget: Self::ENDLESS,
            within: Duration::from_secs(60),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
        }
    }
}

impl RestartPolicy {
    /// The budget of what is never given up.
    pub const ENDLESS: u32 = u32::MAX;

    /// The wait before the `attempt`-th restart, counted from 1, at the longest.
    pub fn backoff(&self, attempt: u32) -> Duration {
        Backoff::new(self.backoff_min, self.backoff_max).longest(attempt)
    }
}

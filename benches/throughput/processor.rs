//! How long this process has had a processor: what does not change when others want it, too.

use std::time::Duration;

use crate::Measured;

/// The kernel counts in ticks of a hundredth of a second, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// The time that all threads of this process have had a processor.
pub(crate) fn processor_time() -> Measured<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is a name in brackets, which may hold anything.
    let (_, rest) = stat.rsplit_once(')').ok_or("the kernel names no times")?;
    let fields = rest.split_whitespace().skip(11).take(2);
    let ticks: u32 = fields.map(str::parse::<u32>).sum::<Result<_, _>>()?;
    Ok(TICK * ticks)
}

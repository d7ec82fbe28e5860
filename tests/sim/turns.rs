//! Turns of the one thread that a simulation has.

use futures::FutureExt;

/// Turns of the executor within which whatever can go on without time has gone on.
const TURNS: u32 = 400;

/// Lets everything go on until this is there; `None` if it does not come without time.
pub(crate) async fn turn_until<T>(mut wanted: impl Future<Output = T> + Unpin) -> Option<T> {
    for _ in 0..TURNS {
        if let Some(value) = (&mut wanted).now_or_never() {
            return Some(value);
        }
        tokio::task::yield_now().await;
    }
    None
}

//! How many effects were looked at: what tests hold the cost of an input by. Nothing outside of tests.

#[cfg(test)]
thread_local! {
    static COUNT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
pub(crate) fn count() -> usize {
    COUNT.get()
}

#[cfg(test)]
pub(crate) fn add(more: usize) {
    COUNT.set(COUNT.get() + more);
}

#[cfg(not(test))]
pub(crate) fn add(_: usize) {}

//! A count of the effects that were looked at: tests hold the cost of an input by it. Nothing outside of tests.

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

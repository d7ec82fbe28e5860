//! What is reported of several rounds.

/// The median; the mean of the middle two of an even number, NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied();
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied();
    upper.zip(lower).map_or(f64::NAN, |(a, b)| (a + b) / 2.0)
}

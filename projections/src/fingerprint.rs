//! What a projection calls its own shape: another fingerprint than the stored one means rebuild.

use chronicler_store::Fnv;

/// The version of the layout that table rows have in the store; part of every fingerprint, so that a release
/// that changes the layout rebuilds views instead of misreading them.
const ROW_LAYOUT_VERSION: u32 = 2;

/// The fingerprint of a projection: a hash of its name, its version and the version of its rows.
/// On disk.
pub(crate) fn fingerprint(name: &str, version: u32, row_version: u32) -> u64 {
    let numbers = [version, row_version, ROW_LAYOUT_VERSION];
    let name = Fnv::new().with(name.as_bytes()).with(&[0]);
    let with = |hash: Fnv, number: &u32| hash.with(&number.to_le_bytes());
    numbers.iter().fold(name, with).value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_counts_and_the_value_never_changes() {
        let base = fingerprint("balances", 1, 1);
        assert_ne!(base, fingerprint("balances", 2, 1));
        assert_ne!(base, fingerprint("balances", 1, 2));
        assert_ne!(base, fingerprint("balance", 1, 1));
        // On disk: a build that gives another value would rebuild every view of every user.
        assert_eq!(base, 0x753f_556e_3b58_aa6a);
    }
}

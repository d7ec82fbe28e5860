//! What a projection calls its own shape: another fingerprint than the stored one means rebuild.

/// The version of the layout that table rows have in the store; part of every fingerprint, so that a release
/// that changes the layout rebuilds views instead of misreading them.
const ROW_LAYOUT_VERSION: u32 = 2;

/// The fingerprint of a projection: a hash of its name, its version and the version of its rows.
///
/// FNV-1a, because the value is on disk and must be the same in every build.
pub(crate) fn fingerprint(name: &str, version: u32, row_version: u32) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let numbers = [version, row_version, ROW_LAYOUT_VERSION];
    let bytes = name.bytes().chain([0]);
    for byte in bytes.chain(numbers.iter().flat_map(|number| number.to_le_bytes())) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
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

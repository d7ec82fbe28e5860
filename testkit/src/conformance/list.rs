//! All checks, by name.

use super::check::Check;
use super::{
    append_matrix, atomicity, content, expected, facts, idempotency, names, order, reading,
    snapshots, views,
};

macro_rules! checks {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($(Check {
            name: stringify!($name),
            body: |subject| Box::pin($module::$name(subject)),
        },)+)+]
    };
}

/// All checks. A name begins with the id of the behaviour that it proves, where there is one.
pub fn checks() -> &'static [Check] {
    checks! {
        reading:
            j1_replay_all, j2_lower_bound, j3_upper_bound, j4_count_limit, j5_both_bounds,
            j6_both_bounds_and_limit, j7_lower_equals_upper, j8_limit_one, j9_limit_zero,
            j10_lower_above_upper, j11_a_stream_never_written_is_unknown,
            j30_batches_of_any_size_give_the_same, j31_backward_is_the_reverse,
            a_read_from_a_time_begins_at_it, a_filter_gives_whole_commits_and_only_wanted_ones,
            commits_without_events_are_given_when_asked_for;
        expected:
            j22_the_expected_version_table, j23_the_same_expected_version_twice_at_once,
            j24_any_at_once, a18_a_second_writer_is_fenced,
            a24_a_foreign_append_between_two_pipelined_ones;
        append_matrix: j25_the_idempotency_table;
        idempotency:
            a_commit_id_again_is_a_repetition, a_commit_id_with_other_events_is_refused,
            an_outcome_without_events_is_recognised, a_repetition_is_answered_with_scattered_places,
            ids_count_within_their_stream_only;
        atomicity:
            j21_several_events_are_atomic, j27_zero_events_make_no_stream,
            j28_over_the_size_limit_nothing_is_written, j40_several_streams_all_or_nothing,
            an_invalid_append_is_refused;
        content:
            j20_metadata_comes_back, j32_unicode_and_long_names_and_payloads,
            j33_numbers_beyond_32_bits, j39_nothing_changes_an_event, side_records_come_back;
        names: j34_names_that_are_prefixes_never_mix, j35_streams_whose_hashes_collide_never_mix;
        order:
            j37_timestamps_never_go_back, j38_stream_facts, completions_come_in_order,
            a_barrier_waits_for_what_was_submitted_before, what_is_answered_is_visible,
            what_a_refusal_tells_of_is_durable, the_head_is_followed;
        facts:
            facts_are_set_replaced_and_removed, facts_are_paged_by_key,
            facts_of_a_refused_commit_are_not_set;
        snapshots:
            s1_none_for_an_unknown_stream, s4_the_newest_wins, s5_the_upper_bound_is_respected,
            s10_the_same_version_overwrites, snapshots_beyond_the_log_are_refused,
            snapshots_are_deleted_up_to_a_version;
        views:
            rows_and_checkpoint_come_back, generations_live_side_by_side, rows_are_paged_by_key,
            removed_rows_are_gone, views_beyond_the_log_are_refused, a_dropped_view_is_gone;
    }
}

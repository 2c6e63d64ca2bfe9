//! The guarantees of every store. The same cases run against each store.

mod commits;
pub(crate) mod fixture;
mod letters;
mod partitions;
mod rows;

/// Generates a test for each case and each store.
macro_rules! conformance {
    ($($group:ident: $($case:ident),+;)+) => {
        mod memory {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$group::$case(super::super::memory::MemoryStore::default()).await;
                }
            )+)+
        }

        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let folder = tempfile::tempdir().expect("a folder");
                    super::$group::$case(super::fixture::sqlite(&folder.path().join("store.db"))).await;
                }
            )+)+
        }

        mod postgres {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some(store) = super::super::postgres::tests::store().await {
                        super::$group::$case(store).await;
                    }
                }
            )+)+
        }
    };
}

conformance! {
    partitions:
        first_position_is_written_once,
        a_topic_is_known_by_any_of_its_partitions,
        topics_without_an_id_are_distinguished_by_name,
        assignment_counts_starts_until_a_commit,
        an_assignment_fences_the_owner_before_it,
        waiting_events_keep_their_record_byte_for_byte,
        waiting_events_are_replaced_and_released,
        releasing_an_event_that_does_not_wait_is_a_conflict,
        waiting_events_are_listed_by_partition_and_offset,
        waiting_keys_and_events_are_counted_by_partition,
        committable_offset,
        deaths_count_for_the_event_that_ran_alone_until_it_is_cleared,
        an_assignment_that_ended_normally_does_not_count,
        events_that_were_running_when_an_owner_died_are_suspects,
        another_consumer_group_is_refused;
    commits:
        a_moved_revision_fences,
        a_moved_offset_fences,
        an_unknown_partition_fences,
        a_conflict_leaves_other_partitions_committed,
        a_conflict_undoes_all_of_its_partition,
        later_partitions_see_what_earlier_ones_wrote,
        an_entity_with_another_version_is_a_conflict,
        an_entity_read_with_another_version_is_a_conflict,
        a_window_with_another_version_is_a_conflict,
        of_concurrent_commits_from_one_position_one_wins,
        concurrent_commits_of_different_partitions_all_count;
    rows:
        entities_are_loaded_with_their_versions,
        a_view_has_the_fields_of_the_runtime,
        pages_follow_each_other_in_the_order_of_ids,
        pages_are_filtered,
        windows_are_loaded_by_key,
        windows_of_keys_of_any_length_are_kept,
        the_outbox_keeps_order_until_published,
        outbox_numbers_are_never_used_again,
        dead_letters_are_remembered,
        old_windows_and_dead_letters_are_forgotten;
    letters:
        letters_are_marked_by_id_and_replays,
        an_action_that_continues_is_one_record,
        old_marks_and_records_are_forgotten;
}

//! One suite for every storage, and what is true of one of them.

mod chance;
#[path = "storage/iterators.rs"]
mod iterators;
#[path = "storage/suite.rs"]
mod suite;

use std::sync::Arc;

use suite::Subject;
use weald_engine::Database;
use weald_tree::Storage;

/// Runs the suite on a subject, in a module of that name.
macro_rules! conforms {
    ($name:ident, $subject:ty, [$($test:ident),* $(,)?]) => {
        mod $name {
            $(#[test]
            fn $test() {
                crate::suite::$test::<$subject>();
            })*
        }
    };
}

macro_rules! conforms_to_all {
    ($name:ident, $subject:ty) => {
        conforms!(
            $name,
            $subject,
            [
                contexts_of_every_kind_show_their_subtree_and_nothing_else,
                a_batch_is_filled_by_threads_and_applied_whole,
                a_batch_that_fails_changes_nothing_and_stays,
                costs_are_exact_and_nothing_unless_asked_for,
                transactions_are_serializable_and_conflicts_are_typed,
                a_transaction_goes_back_to_savepoints_and_is_rolled_back_when_dropped,
                contexts_go_to_other_threads,
                conflicts_are_those_that_are_documented,
                no_update_is_lost_among_threads,
                a_snapshot_stays_as_it_is,
                savepoints_lie_within_each_other,
                a_long_run_costs_what_is_written_down,
            ]
        );
    };
}

struct Weald;

impl Subject for Weald {
    type Backend = Arc<Database>;
    type Kept = ();

    fn open() -> (Storage, ()) {
        (Storage::open(Database::in_memory().unwrap()).unwrap(), ())
    }
}

conforms_to_all!(weald, crate::Weald);

#[cfg(feature = "rocksdb")]
mod rocks {
    use super::*;
    use weald_tree::Rocks;

    pub(crate) struct OnRocks;

    impl Subject for OnRocks {
        type Backend = Rocks;
        type Kept = tempfile::TempDir;

        fn open() -> (Storage<Rocks>, tempfile::TempDir) {
            let dir = tempfile::tempdir().unwrap();
            (Storage::open_rocks(dir.path()).unwrap(), dir)
        }
    }

    conforms_to_all!(conformance, crate::rocks::OnRocks);

    #[test]
    fn costs_are_those_of_the_other_storage() {
        assert_eq!(suite::costs::<OnRocks>(), suite::costs::<Weald>());
    }

    #[test]
    fn what_was_committed_is_there_when_it_is_opened_again() {
        use weald_tree::StorageContext;

        let dir = tempfile::tempdir().unwrap();
        {
            let storage = Storage::open_rocks(dir.path()).unwrap();
            storage
                .transact(|tx| tx.context(&[b"a"]).put(b"k", b"v").value)
                .unwrap();
            storage.context(&[b"a"]).put_meta(b"m", b"w").value.unwrap();
            let lost = storage.begin().unwrap();
            lost.context(&[b"a"]).put(b"lost", b"v").value.unwrap();
            assert!(
                Storage::open_rocks(dir.path()).is_err(),
                "one process has it at a time"
            );
        }
        let storage = Storage::open_rocks(dir.path()).unwrap();
        let context = storage.context(&[b"a"]);
        assert_eq!(context.get(b"k").value.unwrap().as_deref(), Some(&b"v"[..]));
        assert_eq!(context.get_meta(b"m").value.unwrap().as_deref(), Some(&b"w"[..]));
        assert_eq!(context.get(b"lost").value.unwrap(), None);
    }
}

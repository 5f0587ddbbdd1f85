//! Every kind of wrong state is found: made by hand, since the database itself makes none.

use std::ops::ControlFlow;
use std::time::Duration;

use super::*;
use crate::db::Database;
use crate::ids::TreeId;
use crate::transaction::names::{name_key, sequence_key};
use crate::transaction::{Draft, WriteTx};
use crate::transaction::{Readable, Writable};

fn database() -> Database {
    let db = Database::in_memory().expect("a database in memory");
    let mut tx = db.write().expect("a transaction");
    for n in 0..2000u32 {
        tx.put(&n.to_be_bytes(), &[7; 50]).expect("a key");
    }
    tx.put_with_ttl(b"expires", b"", Duration::from_secs(1000))
        .expect("a key");
    let mut bucket = tx.create_bucket(b"bucket").expect("a bucket");
    bucket.put(b"key", b"value").expect("a key");
    bucket.next_sequence().expect("a number");
    tx.commit().expect("a commit");
    db
}

/// Changes what the database keeps for itself.
fn change(db: &Database, change: impl FnOnce(&mut Draft<'_>)) {
    let mut tx = WriteTx::begin(db.core()).expect("a transaction");
    change(tx.draft_mut());
    tx.commit().expect("a commit");
}

#[track_caller]
fn finds(db: &Database, what: &str) {
    let report = db.check().expect("a report");
    let found = report
        .problems
        .iter()
        .any(|problem| problem.to_string().contains(what));
    assert!(found, "{what}: {:#?}", report.problems);
}

/// The tree of the bucket.
const BUCKET: TreeId = TreeId(TreeId::FIRST_USER);

#[test]
fn a_sound_one_has_no_problem() {
    assert_eq!(database().check().expect("a report").problems, []);
}

#[test]
fn a_key_that_the_expiry_index_does_not_know() {
    let db = database();
    change(&db, |draft| draft.stage.delete_range(TreeId::EXPIRY, b"", None));
    finds(&db, "the root bucket: the key \"expires\" expires, but the index");
}

#[test]
fn a_tree_without_a_name() {
    let db = database();
    change(&db, |draft| {
        draft.discard_name(&name_key(TreeId::ROOT, b"bucket").expect("a key"))
    });
    finds(&db, "bucket 16: it is in the catalog of trees, but has no name");
    finds(
        &db,
        "the attributes of the buckets: an entry belongs to no bucket",
    );
}

#[test]
fn a_bucket_in_none_and_one_with_two_names() {
    let db = database();
    let id = BUCKET.0.to_le_bytes();
    change(&db, |draft| {
        let key = name_key(TreeId::ROOT, b"again").expect("a key");
        draft.put_internal(TreeId::NAMES, &key, &id);
        let key = name_key(TreeId(99), b"lost").expect("a key");
        draft.put_internal(TreeId::NAMES, &key, &98u64.to_le_bytes());
        draft.put_internal(TreeId::NAMES, b"short", b"");
    });
    finds(&db, "bucket 16 has two names");
    finds(&db, "bucket 98: the bucket that it is in does not exist");
    finds(&db, "the names of the buckets: an entry is no bucket's name");
}

#[test]
fn buckets_in_a_circle() {
    let db = database();
    change(&db, |draft| {
        for (parent, child) in [(50, 51u64), (51, 50)] {
            let key = name_key(TreeId(parent), b"x").expect("a key");
            draft.put_internal(TreeId::NAMES, &key, &child.to_le_bytes());
        }
    });
    finds(&db, "bucket 50: the bucket that it is in does not exist");
}

#[test]
fn a_sequence_that_is_no_number() {
    let db = database();
    change(&db, |draft| {
        draft.put_internal(TreeId::ATTRIBUTES, &sequence_key(BUCKET), b"1")
    });
    finds(
        &db,
        "the attributes of the buckets: an entry belongs to no bucket",
    );
}

#[test]
fn counts_that_are_wrong() {
    let db = database();
    let core = db.core();
    core.checkpoint().expect("a checkpoint");
    let mut state = core.state();
    state.head.fixed[0].len += 1;
    state.head.txid.0 += 1;
    let head = state.head;
    core.enqueue(head, None);
    drop(state);
    core.publish();
    finds(&db, "the root bucket: it is said to have 2002 keys and has 2001");
}

#[test]
fn pages_that_nobody_has_and_pages_that_two_have() {
    let db = database();
    let lost = db.core().store.space().take_page();
    finds(&db, &format!("page {}: nothing has them", lost.0));

    let db = database();
    let root = db.core().published.load().fixed[0].root.ptr.id();
    let extent = Extent {
        start: root.0,
        len: 1,
    };
    db.core().store.space().give_back(extent);
    finds(
        &db,
        &format!("page {}: both a tree and the free pages have them", root.0),
    );
}

#[test]
fn a_meta_page_and_a_log_that_are_damaged() {
    let db = database();
    db.checkpoint().expect("a checkpoint");
    db.put(b"in the log", b"").expect("a commit");
    db.core().store.file.write(&[0; 8], 4096).expect("a write");
    finds(&db, "meta page 1: it is damaged");

    let core = db.core();
    let dir = recovery::log_dir(&core.path);
    for path in core.vfs.list(&dir).expect("the files of the log") {
        let file = core.vfs.open(&path, weald_vfs::OpenMode::Write).expect("a file");
        let len = file.len().expect("its length").min(1 << 20);
        file.write_all_at(&vec![0xaa; len as usize], 0).expect("a write");
    }
    finds(&db, "the log: ");
}

#[test]
fn nothing_is_changed_by_a_check_that_is_cancelled() {
    let db = database();
    let cancelled = db.check_with(|_| ControlFlow::Break(()));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert_eq!(db.read().expect("a snapshot").len().expect("a number"), 2001);
}

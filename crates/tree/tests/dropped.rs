//! What is said of transactions that are dropped. The logger is one for the whole process, so they have one of their own.

use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};
use weald_engine::Database;
use weald_tree::{Element, Storage, StorageContext, TreeStore};

struct Kept(Mutex<Vec<(Level, String)>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl Log for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("weald_tree")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0
                .lock()
                .unwrap()
                .push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

fn said() -> Vec<(Level, String)> {
    std::mem::take(&mut KEPT.0.lock().unwrap())
}

#[test]
fn a_dropped_transaction_with_writes_says_so_and_no_other_does() {
    log::set_logger(&KEPT).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let storage = Storage::open(Database::in_memory().unwrap()).unwrap();
    let dropped = "a transaction with 2 writes was dropped without a commit, and is rolled back".to_owned();

    let tx = storage.begin().unwrap();
    tx.context(&[b"t"]).put(b"a", b"1").value.unwrap();
    tx.context(&[b"t"]).put(b"b", b"1").value.unwrap();
    drop(tx);
    assert_eq!(said(), [(Level::Debug, dropped.clone())]);

    let tx = storage.begin().unwrap();
    tx.context(&[b"t"]).get(b"a").value.unwrap();
    drop(tx);
    let tx = storage.begin().unwrap();
    tx.context(&[b"t"]).put(b"a", b"1").value.unwrap();
    tx.rollback();
    let tx = storage.begin().unwrap();
    let context = tx.context(&[b"t"]);
    context.put(b"a", b"1").value.unwrap();
    tx.commit().unwrap();
    drop(context);
    assert_eq!(said(), []);

    let store = TreeStore::open(Database::in_memory().unwrap()).unwrap();
    let mut tx = store.begin().unwrap();
    tx.put(&[], b"a", Element::SumItem(1)).unwrap();
    tx.put(&[], b"b", Element::SumItem(1)).unwrap();
    drop(tx);
    assert_eq!(said(), [(Level::Debug, dropped)]);
    let mut tx = store.begin().unwrap();
    tx.put(&[], b"a", Element::SumItem(1)).unwrap();
    tx.rollback();
    assert_eq!(said(), []);
}

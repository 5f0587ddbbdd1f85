//! What readers and writers share without a lock, in every order that its steps can have.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p weald-engine --lib models`

use std::panic::{UnwindSafe, catch_unwind};

use loom::sync::Arc;
use loom::thread;

use crate::ids::TxId;
use crate::published::Ring;
use crate::store::Readers;
use crate::sync::{AtomicU64, Ordering, without_fences};

/// A page of commit 1 that commit 2 replaces, in memory that is used again as soon as nobody can see it.
struct World {
    readers: Readers,
    newest: AtomicU64,
    /// 1 while it holds the page, 0 once it is used for something else.
    memory: AtomicU64,
    /// Whether the page is found in memory; otherwise it is in the file.
    table: AtomicU64,
}

impl World {
    fn new() -> World {
        World {
            readers: Readers::new(),
            newest: AtomicU64::new(1),
            memory: AtomicU64::new(1),
            table: AtomicU64::new(1),
        }
    }

    fn reads(&self) {
        let newest = || (TxId(self.newest.load(Ordering::Acquire)), ());
        let (pin, ()) = self.readers.pin(newest);
        let is_in_memory = self.table.load(Ordering::Acquire) == 1;
        if pin.snapshot() == TxId(1) && is_in_memory {
            assert_eq!(
                self.memory.load(Ordering::Relaxed),
                1,
                "a reader met reused memory"
            );
        }
    }

    /// Commit 2 frees the page, and it is used again once no reader is left that may see it.
    fn replaces(&self) {
        self.newest.store(2, Ordering::Release);
        let holds = |snapshot: u64| snapshot < 2;
        if !self.readers.active().iter().any(|r| holds(r.snapshot)) {
            self.memory.store(0, Ordering::Relaxed);
        }
    }

    /// A checkpoint has written the page: the memory is used again, though the snapshot goes on.
    fn unlinks(&self) {
        self.table.store(0, Ordering::Release);
        let epoch = self.readers.unlinked();
        let may_look = |at: u64, snapshot: u64| at <= epoch && snapshot >= 1;
        let active = self.readers.active();
        if !active.iter().any(|r| may_look(r.epoch, r.snapshot)) {
            self.memory.store(0, Ordering::Relaxed);
        }
    }
}

fn explore(writer: fn(&World), readers: usize, reads: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let world = Arc::new(World::new());
        let threads: Vec<_> = (0..readers)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || (0..reads).for_each(|_| world.reads()))
            })
            .collect();
        writer(&world);
        threads.into_iter().for_each(|t| t.join().unwrap());
    });
}

/// Whether a model without fences fails, and says `what`.
fn is_found(what: &str, body: impl FnOnce() + UnwindSafe) -> bool {
    let Err(cause) = catch_unwind(|| without_fences(body)) else {
        return false;
    };
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
    text.is_some_and(|text| text.contains(what))
}

#[test]
fn a_page_that_a_reader_sees_is_not_reused() {
    explore(World::replaces, 1, 2);
    explore(World::replaces, 2, 1);
}

#[test]
fn memory_that_a_reader_looks_at_is_not_reused_after_a_checkpoint() {
    explore(World::unlinks, 1, 2);
    explore(World::unlinks, 2, 1);
}

#[test]
fn publications_are_read_whole_and_in_order() {
    publications();
}

#[test]
fn the_models_find_fences_that_are_left_out() {
    assert!(is_found("reused memory", || explore(World::replaces, 1, 1)));
    assert!(is_found("reused memory", || explore(World::unlinks, 1, 1)));
    assert!(is_found("half a publication", publications));
}

fn publications() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let ring = Arc::new(Ring::<2, 2>::new([0, 0]));
        let reader = {
            let ring = ring.clone();
            thread::spawn(move || {
                let first = ring.load();
                let second = ring.load();
                assert_eq!(first[0], first[1], "half a publication");
                assert_eq!(second[0], second[1], "half a publication");
                assert!(first[0] <= second[0], "an earlier one after a later one");
            })
        };
        (1..=3).for_each(|n| ring.publish([n, n]));
        reader.join().unwrap();
    });
}

//! How long things take, over pages in memory that need no look-up: `cargo test --release -p weald-engine timing -- --ignored --nocapture`.

use std::alloc::Layout;
use std::hint::black_box;
use std::time::Instant;

use super::shapes::Random;
use crate::error::{Error, Result};
use crate::ids::{PageId, PagePtr, TxId};
use crate::op::{Entry, LargeRef, Value};
use crate::tree::apply::Change;
use crate::tree::{Cursor, PageRead, PageWrite, Root, apply, check, get, get_many, raw};

const PAGE: usize = 4096;
const COUNT: usize = 1_000_000;
/// Pages in one block of memory, as in a pool. Released pages are taken again after `recycle`, when nothing reads the old tree any more.
struct Pool {
    memory: *mut u8,
    free: Vec<u64>,
    released: Vec<u64>,
}

impl Pool {
    fn new(pages: usize) -> Pool {
        const HUGE: usize = 2 << 20;
        let layout = Layout::from_size_align(pages * PAGE, HUGE).expect("a sound layout");
        // SAFETY: the layout is not of size zero.
        let memory = unsafe { std::alloc::alloc(layout) };
        assert!(!memory.is_null());
        #[cfg(target_os = "linux")]
        {
            unsafe extern "C" {
                fn madvise(at: *mut u8, len: usize, advice: i32) -> i32;
            }
            const MADV_HUGEPAGE: i32 = 14;
            // SAFETY: advice about memory that was just allocated.
            unsafe { madvise(memory, pages * PAGE, MADV_HUGEPAGE) };
        }
        // SAFETY: it is that long. Touched once, so that no page fault is measured.
        unsafe { memory.write_bytes(1, pages * PAGE) };
        Pool {
            memory,
            free: (1..pages as u64).rev().collect(),
            released: Vec::new(),
        }
    }

    fn at(&self, id: u64) -> *mut u8 {
        // SAFETY: ids come from `free`, which has only those of pages inside.
        unsafe { self.memory.add(id as usize * PAGE) }
    }

    fn recycle(&mut self) {
        self.free.append(&mut self.released);
    }
}

#[derive(Clone, Copy)]
struct View(*mut Pool);

impl View {
    fn pool(&self) -> &Pool {
        // SAFETY: the pool outlives all views in these tests, which run on one thread.
        unsafe { &*self.0 }
    }
}

impl<'p> PageRead<'p> for View {
    #[inline]
    fn page(&self, ptr: PagePtr, _level: u8) -> Result<&'p [u8]> {
        // SAFETY: a page is not written to while a tree that is still read refers to it.
        Ok(unsafe { std::slice::from_raw_parts(self.pool().at(ptr.id().0), PAGE) })
    }

    #[inline]
    fn prefetch(&self, ptr: PagePtr) {
        let page: &[u8] = self.page(ptr, 0).expect("always there");
        raw::prefetch_head(page);
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        Error::corrupt_page(std::path::Path::new("memory"), ptr.id().0, what)
    }
}

impl<'p> PageWrite<'p> for View {
    #[inline]
    fn create(&mut self, _level: u8, fill: impl FnOnce(&mut [u8])) -> Result<PagePtr> {
        // SAFETY: as in `pool`, and no reference to the pool is held meanwhile.
        let id = unsafe { &mut *self.0 }
            .free
            .pop()
            .expect("the pool is large enough");
        // SAFETY: the page is free: nothing else refers to it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.pool().at(id), PAGE) };
        crate::tree::page::begin(bytes, PageId(id), TxId(1));
        fill(bytes);
        Ok(PagePtr::new(PageId(id), TxId(1)))
    }

    #[inline]
    fn release(&mut self, ptr: PagePtr) {
        // SAFETY: as in `create`.
        unsafe { &mut *self.0 }.released.push(ptr.id().0);
    }

    fn release_large(&mut self, _: LargeRef) {}

    fn page_size(&self) -> usize {
        PAGE
    }
}

fn keys(count: usize, random: &mut Random) -> Vec<[u8; 24]> {
    (0..count)
        .map(|_| {
            let mut key = [0; 24];
            key.copy_from_slice(&random.bytes(24));
            key
        })
        .collect()
}

/// CPU time of this thread so far, where the system tells.
fn cpu_ns() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = stat.split(' ').next().and_then(|ns| ns.parse().ok());
    first.unwrap_or(f64::NAN)
}

fn report(what: &str, count: usize, run: impl FnOnce()) {
    let (start, cpu) = (Instant::now(), cpu_ns());
    run();
    let ns = start.elapsed().as_nanos() as f64 / count as f64;
    let cpu = (cpu_ns() - cpu) / count as f64;
    println!("{what:44} {ns:9.1} ns, {cpu:9.1} of CPU");
}

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Change<'a> {
    let entry = Entry {
        value: Value::Inline(value),
        expires: None,
    };
    (key, Some(entry))
}

#[test]
#[ignore = "timing"]
fn timing_of_reads() {
    let value = [9u8; 150];
    let mut random = Random(1);
    let mut pool = Pool::new(100_000);
    let view = View(&mut pool);
    let (sorted, shuffled, root) = million(&mut random, view, &value);
    for _ in 0..2 {
        reads(view, root, &sorted, &shuffled);
    }
}

#[test]
#[ignore = "timing"]
fn timing_of_single_puts() {
    let value = [9u8; 150];
    let mut random = Random(2);
    let mut pool = Pool::new(160_000);
    let mut view = View(&mut pool);
    let (sorted, shuffled, mut root) = million(&mut random, view, &value);
    report("one put a commit, random, new", 200_000, || {
        for key in keys(200_000, &mut random) {
            root = apply(&mut view, root, [put(&key, &value)], |_, _| {})
                .expect("sound")
                .root;
            // SAFETY: one thread, and no page is held.
            unsafe { &mut *view.0 }.recycle();
        }
    });
    report("one put a commit, random, overwriting", 200_000, || {
        for key in &shuffled[..200_000] {
            root = apply(&mut view, root, [put(key, &value)], |_, _| {})
                .expect("sound")
                .root;
            // SAFETY: one thread, and no page is held.
            unsafe { &mut *view.0 }.recycle();
        }
    });
    report("one put a commit, overwriting one leaf", 200_000, || {
        for i in 0..200_000 {
            root = apply(&mut view, root, [put(&sorted[5000 + i % 8], &value)], |_, _| {})
                .expect("sound")
                .root;
            // SAFETY: one thread, and no page is held.
            unsafe { &mut *view.0 }.recycle();
        }
    });
    let mut root = Root::EMPTY;
    report("one put a commit, ascending", 200_000, || {
        for key in &sorted[..200_000] {
            root = apply(&mut view, root, [put(key, &value)], |_, _| {})
                .expect("sound")
                .root;
            // SAFETY: one thread, and no page is held.
            unsafe { &mut *view.0 }.recycle();
        }
    });
    println!("{:?}", check(&view, root, &mut |_| true));
}

#[test]
#[ignore = "timing"]
fn timing_of_batches() {
    let value = [9u8; 150];
    let mut random = Random(3);
    let mut pool = Pool::new(160_000);
    let mut view = View(&mut pool);
    let (sorted, shuffled, mut root) = million(&mut random, view, &value);
    for _ in 0..3 {
        report("1000 random puts a commit, overwriting", 200_000, || {
            for some in shuffled[..200_000].chunks(1000) {
                let mut some = some.to_vec();
                some.sort();
                root = apply(
                    &mut view,
                    root,
                    some.iter().map(|key| put(key, &value)),
                    |_, _| {},
                )
                .expect("sound")
                .root;
                // SAFETY: one thread, and no page is held.
                unsafe { &mut *view.0 }.recycle();
            }
        });
        println!("{:?}", check(&view, root, &mut |_| true));
    }
    report("overwriting all, in one batch", COUNT, || {
        let changes = sorted.iter().map(|key| put(key, &value));
        root = apply(&mut view, root, changes, |_, _| {}).expect("sound").root;
    });
    // SAFETY: one thread, and no page is held.
    unsafe { &mut *view.0 }.recycle();
    report("deleting half, random, 1000 a commit", COUNT / 2, || {
        for some in shuffled[..COUNT / 2].chunks(1000) {
            let mut some = some.to_vec();
            some.sort();
            root = apply(
                &mut view,
                root,
                some.iter().map(|key| (&key[..], None)),
                |_, _| {},
            )
            .expect("sound")
            .root;
            // SAFETY: one thread, and no page is held.
            unsafe { &mut *view.0 }.recycle();
        }
    });
    println!("{:?}", check(&view, root, &mut |_| true));
}

/// A million keys, sorted and not, and a tree of them, bulk-built.
fn million(random: &mut Random, mut view: View, value: &[u8]) -> (Vec<[u8; 24]>, Vec<[u8; 24]>, Root) {
    let shuffled = keys(COUNT, random);
    let mut sorted = shuffled.clone();
    sorted.sort();
    let mut root = Root::EMPTY;
    report("bulk build of 1M sorted", COUNT, || {
        let changes = sorted.iter().map(|key| put(key, value));
        root = apply(&mut view, root, changes, |_, _| {}).expect("sound").root;
    });
    println!("{:?}", check(&view, root, &mut |_| true));
    (sorted, shuffled, root)
}

fn reads(view: View, root: Root, sorted: &[[u8; 24]], shuffled: &[[u8; 24]]) {
    let count = shuffled.len();
    report("get, random", count, || {
        for key in shuffled {
            black_box(get(&view, root, key).expect("sound").expect("there"));
        }
    });
    report("get, 4000 keys over and over", count, || {
        for i in 0..count {
            black_box(
                get(&view, root, &sorted[i % 64 * 62 + 5000])
                    .expect("sound")
                    .expect("there"),
            );
        }
    });
    report("get, absent", count, || {
        for key in shuffled {
            let mut key = *key;
            key[23] ^= 1;
            key[5] ^= 7;
            black_box(get(&view, root, &key).expect("sound"));
        }
    });
    report("get_many of 64, random", count, || {
        for some in shuffled.chunks(64) {
            let mut refs = [&[][..]; 64];
            refs.iter_mut().zip(some).for_each(|(slot, key)| *slot = key);
            get_many(&view, root, &refs[..some.len()], |_, entry| {
                black_box(entry.expect("there"));
            })
            .expect("sound");
        }
    });
    report("scan", count, || {
        let mut cursor = Cursor::new(view, root);
        while let Some(item) = cursor.next().expect("sound") {
            black_box(item);
        }
    });
    report("scan of 20,000 in cache", count, || {
        for _ in 0..count / 20_000 {
            let mut cursor = Cursor::new(view, root);
            let mut item = cursor.seek(&sorted[1000]).expect("sound");
            for _ in 0..20_000 {
                black_box(item);
                item = cursor.next().expect("sound");
            }
        }
    });
    report("scan backwards", count, || {
        let mut cursor = Cursor::new(view, root);
        let mut item = cursor.last().expect("sound");
        while item.is_some() {
            black_box(item);
            item = cursor.prev().expect("sound");
        }
    });
    report("seek and 10 entries", count / 4, || {
        for key in &shuffled[..count / 4] {
            let mut cursor = Cursor::new(view, root);
            black_box(cursor.seek(key).expect("sound"));
            for _ in 0..9 {
                black_box(cursor.next().expect("sound"));
            }
        }
    });
}

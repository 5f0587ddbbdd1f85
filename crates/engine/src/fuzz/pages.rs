//! A tree whose pages were forged by somebody who can compute checksums.

use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;

use super::Input;
use crate::error::{Error, Result};
use crate::ids::{PageId, PagePtr, TxId};
use crate::op::{Entry, LargeRef, Value};
use crate::tree::{
    Cursor, Met, PageRead, PageWrite, Root, apply, check, count, delete_range, diff, drop_tree, estimate,
    get, get_many, page, pages as walk,
};

const SIZE: usize = 4096;
const BIRTH: TxId = TxId(1);
/// More entries than any honest tree here has.
const STEPS: usize = 20_000;

/// Forges pages of a small tree, then reads and changes it in every way.
pub fn pages(data: &[u8]) {
    let (honest, root) = template();
    let mut input = Input(data);
    let mut forged = honest.clone();
    while !input.is_empty() {
        let chosen = usize::from(input.byte()) % forged.len();
        input.patch(&mut forged[chosen]);
        if chosen > 0 && input.byte() % 8 > 0 {
            page::begin(&mut forged[chosen], PageId(chosen as u64), BIRTH);
        }
    }
    forged.iter_mut().skip(1).for_each(|bytes| page::seal(bytes));
    let (honest, forged) = (cells(honest.clone()), cells(forged));
    let (honest, reader) = (Loose { pages: &honest }, Loose { pages: &forged });
    read(reader, *root);
    change(reader, *root);
    // The tree as it was against the forged one: both directions of a difference.
    let both = Either {
        honest,
        forged: reader,
    };
    let _ = diff(&both, *root, Either::mark(*root), &[], None, |_, _, _| {
        ControlFlow::<()>::Continue(())
    });
    let _ = diff(&both, Either::mark(*root), *root, &[], None, |_, _, _| {
        ControlFlow::<()>::Continue(())
    });
}

fn read(reader: Loose<'_>, root: Root) {
    let mut cursor = Cursor::new(reader, root);
    for _ in 0..STEPS {
        match cursor.next() {
            Ok(Some((key, entry))) => {
                std::hint::black_box((key, entry));
            }
            _ => break,
        }
    }
    for _ in 0..STEPS {
        if !matches!(cursor.prev(), Ok(Some(_))) {
            break;
        }
    }
    let probes = probes();
    let lent: Vec<&[u8]> = probes.iter().map(Vec::as_slice).collect();
    let _ = get_many(&reader, root, &lent, |_, _| {});
    for probe in &lent {
        let _ = get(&reader, root, probe);
        let _ = cursor.seek(probe).and_then(|_| cursor.prev());
        let _ = cursor.seek_for_prev(probe).and_then(|_| cursor.next());
        let _ = count(&reader, root, probe, None);
        let _ = estimate(&reader, root, 100, &[], Some(probe));
    }
    let mut left = 1000;
    check(&reader, root, &mut |met| {
        left -= 1;
        !matches!(met, Met::Page(..)) || left > 0
    });
    let _ = walk(&reader, root, TxId(0), &mut |_, _| Ok(true));
}

fn change(reader: Loose<'_>, root: Root) {
    let probes = probes();
    let value = Entry {
        value: Value::Inline(b"another value"),
        expires: Some(9),
    };
    let changes = probes.iter().enumerate();
    let changes = changes.map(|(i, key)| (&key[..], (i % 3 > 0).then_some(value)));
    let _ = apply(&mut Scratch::new(reader), root, changes, |_, _| {});
    for probe in &probes {
        let _ = delete_range(&mut Scratch::new(reader), root, &[], Some(probe));
        let _ = delete_range(&mut Scratch::new(reader), root, probe, None);
    }
    let _ = drop_tree(&mut Scratch::new(reader), root, true);
}

/// Keys in order, that the template has or hasn't.
fn probes() -> Vec<Vec<u8>> {
    let mut probes = vec![Vec::new(), vec![0xff; 30]];
    probes.extend((0..8).map(|i| key(i * 40)));
    probes.extend((0..4).map(|i| [&key(i * 77)[..], b"x"].concat()));
    probes.sort();
    probes.dedup();
    probes
}

fn key(i: usize) -> Vec<u8> {
    let mut key = format!("key/{:02}/{i:04}", i % 7).into_bytes();
    key.resize(key.len() + i % 23, b'.');
    key
}

/// An honest tree of three levels of pages, by page id, and its root.
fn template() -> &'static (Vec<Vec<u8>>, Root) {
    static TEMPLATE: OnceLock<(Vec<Vec<u8>>, Root)> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = (0..300).map(|i| (key(i), vec![b'v'; i % 90])).collect();
        entries.sort();
        let cells = cells(vec![vec![0; SIZE]]);
        let mut writer = Scratch::new(Loose { pages: &cells });
        let changes = entries.iter().enumerate().map(|(i, (key, value))| {
            let large = LargeRef {
                first: PagePtr::new(PageId(90 + i as u64), BIRTH),
                len: 9000,
                checksum: i as u64,
            };
            let entry = Entry {
                value: if i % 50 == 0 {
                    Value::Large(large)
                } else {
                    Value::Inline(value)
                },
                expires: (i % 11 == 0).then_some(1 << 40),
            };
            (&key[..], Some(entry))
        });
        let root = apply(&mut writer, Root::EMPTY, changes, |_, _| {})
            .expect("nothing is forged yet")
            .root;
        (cells.into_iter().filter_map(OnceCell::into_inner).collect(), root)
    })
}

/// More pages than any change here makes.
const ROOM: usize = 512;

/// Pages in memory, by id, and room for others behind them.
fn cells(pages: Vec<Vec<u8>>) -> Vec<OnceCell<Vec<u8>>> {
    let mut cells: Vec<OnceCell<Vec<u8>>> = pages.into_iter().map(OnceCell::from).collect();
    cells.resize_with(cells.len() + ROOM, OnceCell::new);
    cells
}

#[derive(Clone, Copy)]
struct Loose<'p> {
    pages: &'p [OnceCell<Vec<u8>>],
}

impl<'p> PageRead<'p> for Loose<'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        let cell = usize::try_from(ptr.id().0).ok().and_then(|id| self.pages.get(id));
        let found = cell.and_then(OnceCell::get);
        let bytes = found.ok_or_else(|| self.corrupt(ptr, "there is no such page"))?;
        page::verify(bytes, ptr, level).map_err(|fault| self.corrupt(ptr, fault))?;
        Ok(bytes)
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        Error::corrupt_page(Path::new("memory"), ptr.id().0, what)
    }
}

/// Two trees side by side: ids from 2^20 on are those of the forged one's root.
#[derive(Clone, Copy)]
struct Either<'p> {
    honest: Loose<'p>,
    forged: Loose<'p>,
}

impl Either<'_> {
    const MARK: u64 = 1 << 20;

    fn mark(root: Root) -> Root {
        Root {
            ptr: PagePtr::new(PageId(root.ptr.id().0 | Self::MARK), BIRTH),
            level: root.level,
        }
    }
}

impl<'p> PageRead<'p> for Either<'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        if ptr.id().0 & Self::MARK == 0 {
            return self.honest.page(ptr, level);
        }
        let unmarked = PagePtr::new(PageId(ptr.id().0 & !Self::MARK), BIRTH);
        self.forged.page(unmarked, level)
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        self.honest.corrupt(ptr, what)
    }
}

/// Takes what is written into the room behind the pages, and checks that it is sound.
struct Scratch<'p> {
    reader: Loose<'p>,
    next: usize,
}

impl<'p> Scratch<'p> {
    fn new(reader: Loose<'p>) -> Scratch<'p> {
        let next = reader.pages.iter().rposition(|cell| cell.get().is_some());
        Scratch {
            reader,
            next: next.map_or(0, |last| last + 1),
        }
    }
}

impl<'p> PageRead<'p> for Scratch<'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        self.reader.page(ptr, level)
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        self.reader.corrupt(ptr, what)
    }
}

impl<'p> PageWrite<'p> for Scratch<'p> {
    fn create(&mut self, level: u8, fill: impl FnOnce(&mut [u8])) -> Result<PagePtr> {
        let id = PageId(self.next as u64);
        let Some(cell) = self.reader.pages.get(self.next) else {
            return Err(self.corrupt(PagePtr::new(id, BIRTH), "the room is used up"));
        };
        self.next += 1;
        let mut bytes = vec![0xa5; SIZE];
        page::begin(&mut bytes, id, BIRTH);
        fill(&mut bytes);
        page::seal(&mut bytes);
        let ptr = PagePtr::new(id, BIRTH);
        page::verify(&bytes, ptr, level)
            .expect("what is built has the right structure, whatever it is built of");
        cell.set(bytes).expect("the room behind the pages is empty");
        Ok(ptr)
    }

    fn release(&mut self, _: PagePtr) {}

    fn release_large(&mut self, _: LargeRef) {}

    fn page_size(&self) -> usize {
        SIZE
    }
}

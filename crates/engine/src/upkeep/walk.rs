//! The walk of a check over all trees of a commit.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::ids::{PagePtr, TreeId};
use crate::merge::expiry_key;
use crate::op::{Entry, LargeRef, Value};
use crate::roots::{Roots, TreeRecord};
use crate::store::{Snapshot, run_of};
use crate::tree::{self, Leaf, Met, PageRead};
use crate::upkeep::accounting::PageSet;
use crate::upkeep::progress::Meter;
use crate::upkeep::report::{CheckReport, Place};
use crate::values::ValueReader;

/// Reads leaves past the cache: a walk is too long for them to stay in memory until its end, as what a snapshot lends does.
struct Leaves<'p> {
    snapshot: Snapshot<'p>,
    buffer: RefCell<Vec<u8>>,
    /// The page in the buffer.
    held: Cell<PagePtr>,
}

impl<'p> Leaves<'p> {
    /// Reads a page from the file and verifies it; one that only memory has is left there.
    fn read(&self, ptr: PagePtr, level: u8) -> Result<()> {
        let store = self.snapshot.store();
        self.held.set(PagePtr::NULL);
        if !store.is_dirty(ptr.id()) {
            store.read_from_file(ptr, level, &mut self.buffer.borrow_mut())?;
            self.held.set(ptr);
        }
        Ok(())
    }
}

impl<'p> PageRead<'p> for Leaves<'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        self.snapshot.page(ptr, level)
    }

    fn with_page<T>(&self, ptr: PagePtr, level: u8, look: impl FnOnce(&[u8]) -> T) -> Result<T> {
        if self.held.get() == ptr {
            // Taken out meanwhile: looking may lead to further pages.
            let buffer = self.buffer.take();
            let seen = look(&buffer);
            self.buffer.replace(buffer);
            return Ok(seen);
        }
        self.snapshot.page(ptr, level).map(look)
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        self.snapshot.corrupt(ptr, what)
    }
}

pub(crate) struct Walk<'w, 'p, 'm> {
    pages: Snapshot<'p>,
    leaves: Rc<Leaves<'p>>,
    roots: &'w Roots,
    /// No page in use lies beyond.
    end: u64,
    used: PageSet,
    meter: &'w mut Meter<'m>,
    report: &'w mut CheckReport,
    cancelled: Option<Error>,
}

/// A tree, as a person reads it.
pub(crate) fn name(tree: TreeId) -> String {
    match tree {
        TreeId::ROOT => "the root bucket".into(),
        TreeId::NAMES => "the names of the buckets".into(),
        TreeId::ATTRIBUTES => "the attributes of the buckets".into(),
        TreeId::EXPIRY => "the index of expiry times".into(),
        TreeId(id) => format!("bucket {id}"),
    }
}

impl<'w, 'p, 'm> Walk<'w, 'p, 'm> {
    pub(crate) fn new(
        pages: Snapshot<'p>,
        roots: &'w Roots,
        end: u64,
        meter: &'w mut Meter<'m>,
        report: &'w mut CheckReport,
    ) -> Walk<'w, 'p, 'm> {
        Walk {
            pages,
            roots,
            end,
            used: PageSet::default(),
            leaves: Rc::new(Leaves {
                snapshot: pages,
                buffer: RefCell::new(vec![0; pages.store().page_size()]),
                held: Cell::new(PagePtr::NULL),
            }),
            meter,
            report,
            cancelled: None,
        }
    }

    /// The pages that were met.
    pub(crate) fn into_used(self) -> PageSet {
        self.used
    }

    pub(crate) fn all(&mut self) -> Result<()> {
        for (id, record) in (0..).zip(&self.roots.fixed) {
            self.tree(Some(TreeId(id)), &name(TreeId(id)), record)?;
        }
        self.tree(None, "the catalog of trees", &self.roots.catalog)?;
        let names = self.names();
        self.attributes(&names);
        self.catalog(&names)?;
        self.report.buckets = 1 + names.len() as u64;
        if self.pages.store().file.faulted() {
            self.report
                .problem(Place::File, "bytes could not be read through the mapping");
        }
        Ok(())
    }

    /// The pages of a tree, in order, and what they hold.
    fn tree(&mut self, tree: Option<TreeId>, name: &str, record: &TreeRecord) -> Result<()> {
        let before = self.report.problems.len() as u64 + self.report.problems_left_out;
        let leaves = Rc::clone(&self.leaves);
        let totals = tree::check(&*leaves, record.root, &mut |met| match met {
            Met::Page(ptr, level) => self.page(tree, name, ptr, level),
            Met::Large(large) => self.large(name, large),
            Met::Damage(ptr, e) => {
                let place = Place::Pages {
                    first: ptr.id().0,
                    count: 1,
                };
                self.report.problem(place, format!("in {name}: {}", reason(e)));
                false
            }
        });
        if let Some(e) = self.cancelled.take() {
            return Err(e);
        }
        self.report.leaves += totals.leaves;
        self.report.branches += totals.branches;
        self.report.large_values += totals.large;
        if self.report.problems.len() as u64 + self.report.problems_left_out > before {
            // Counts that are wrong for want of pages say nothing.
            return Ok(());
        }
        let counts = [
            ("keys", record.len, totals.entries),
            ("large values", record.large, totals.large),
        ];
        for (what, said, found) in counts {
            if said != found {
                let place = Place::Tree { name: name.into() };
                self.report
                    .problem(place, format!("it is said to have {said} {what} and has {found}"));
            }
        }
        Ok(())
    }

    /// Whether to go on into the page.
    fn page(&mut self, tree: Option<TreeId>, name: &str, ptr: PagePtr, level: u8) -> bool {
        let id = ptr.id().0;
        if self.cancelled.is_some() {
            return false;
        }
        if let Err(e) = self.meter.add(1) {
            self.cancelled = Some(e);
            return false;
        }
        if !self.claim(name, id) {
            return false;
        }
        let leaves = Rc::clone(&self.leaves);
        let holds_keys = tree.filter(|tree| *tree == TreeId::ROOT || tree.0 >= TreeId::FIRST_USER);
        let read = leaves.read(ptr, level).and_then(|()| match holds_keys {
            Some(tree) if level == 0 => {
                leaves.with_page(ptr, 0, |page| self.entries(tree, name, Leaf::new(page)))
            }
            _ => Ok(()),
        });
        if let Err(e) = read {
            let place = Place::Pages { first: id, count: 1 };
            self.report.problem(place, format!("in {name}: {}", reason(&e)));
            return false;
        }
        true
    }

    /// Takes account of a page; `false` where that was done before, or can't be.
    fn claim(&mut self, name: &str, id: u64) -> bool {
        let what = if id < 2 || id >= self.end {
            "refers to it, but the file has no such page"
        } else if !self.used.insert(id) {
            "refers to it, and so does something else"
        } else {
            return true;
        };
        let place = Place::Pages { first: id, count: 1 };
        self.report.problem(place, format!("{name} {what}"));
        false
    }

    fn entries(&mut self, tree: TreeId, name: &str, leaf: Leaf<'_>) {
        self.report.keys += leaf.count() as u64;
        for (key, entry) in (0..leaf.count()).map(|i| leaf.key_and_entry(i)) {
            let value = match entry.value {
                Value::Inline(value) => value.len() as u64,
                Value::Large(large) => large.len,
            };
            // A forged length may be any number.
            let bytes = value.saturating_add(key.len() as u64);
            self.report.bytes = self.report.bytes.saturating_add(bytes);
            let Some(expires) = entry.expires else { continue };
            let index = self.roots.fixed[TreeId::EXPIRY.0 as usize].root;
            // An index that can't be read is reported as that.
            let indexed = tree::get(&self.pages, index, &expiry_key(expires, tree, key));
            if matches!(indexed, Ok(None)) {
                let what = format!(
                    "the key \"{}\" expires, but the index of expiry times does not know it",
                    key.escape_ascii()
                );
                self.report.problem(Place::Tree { name: name.into() }, what);
            }
        }
    }

    fn large(&mut self, name: &str, large: LargeRef) -> bool {
        if self.cancelled.is_some() {
            return false;
        }
        let store = self.pages.store();
        let run = run_of(large, store.page_size());
        let place = Place::Pages {
            first: run.start,
            count: run.len.max(1),
        };
        let stop = run.start.checked_add(run.len);
        if run.len == 0 || run.start < 2 || stop.is_none_or(|stop| stop > self.end) {
            let what = format!("{name} has a large value there, but the file has no such pages");
            self.report.problem(place, what);
            return false;
        }
        let twice = (run.start..run.start + run.len)
            .filter(|id| !self.used.insert(*id))
            .count();
        if twice > 0 {
            let what =
                format!("{name} has a large value there, and {twice} of the pages are something else's");
            self.report.problem(place.clone(), what);
        }
        if let Err(e) = self.meter.add(run.len) {
            self.cancelled = Some(e);
            return false;
        }
        if let Err(what) = read_all(&self.pages, large) {
            self.report.problem(place, format!("in {name}: {what}"));
        }
        true
    }

    /// The buckets and the ones that they are in.
    fn names(&mut self) -> BTreeMap<u64, u64> {
        let mut parents = BTreeMap::new();
        let place = || Place::Tree {
            name: name(TreeId::NAMES),
        };
        let mut cursor = tree::Cursor::new(self.pages, self.roots.fixed[TreeId::NAMES.0 as usize].root);
        // A tree that can't be read was reported before.
        while let Ok(Some((key, entry))) = cursor.next() {
            let Some((parent, id)) = name_entry(key, &entry) else {
                self.report.problem(place(), "an entry is no bucket's name");
                continue;
            };
            if parents.insert(id, parent).is_some() {
                self.report.problem(place(), format!("bucket {id} has two names"));
            }
        }
        self.check_reachable(&parents);
        parents
    }

    /// Every bucket must lie in one that lies in … the root bucket.
    fn check_reachable(&mut self, parents: &BTreeMap<u64, u64>) {
        let mut reached = BTreeSet::from([TreeId::ROOT.0]);
        for &id in parents.keys() {
            let (mut path, mut at) = (Vec::new(), id);
            while !reached.contains(&at) && path.len() <= parents.len() {
                path.push(at);
                match parents.get(&at) {
                    Some(parent) => at = *parent,
                    None => break,
                }
            }
            if reached.contains(&at) {
                reached.extend(path);
            } else {
                let place = Place::Tree {
                    name: name(TreeId(id)),
                };
                self.report
                    .problem(place, "the bucket that it is in does not exist");
            }
        }
    }

    fn attributes(&mut self, names: &BTreeMap<u64, u64>) {
        let mut cursor = tree::Cursor::new(self.pages, self.roots.fixed[TreeId::ATTRIBUTES.0 as usize].root);
        while let Ok(Some((key, entry))) = cursor.next() {
            let id = key.first_chunk().map(|id| u64::from_be_bytes(*id));
            let known = id.is_some_and(|id| id == TreeId::ROOT.0 || names.contains_key(&id));
            let is_number = matches!(entry.value, Value::Inline(value) if value.len() == 8);
            if !known || !is_number || key.len() != 9 {
                let place = Place::Tree {
                    name: name(TreeId::ATTRIBUTES),
                };
                self.report.problem(place, "an entry belongs to no bucket");
            }
        }
    }

    /// The trees of the buckets.
    fn catalog(&mut self, names: &BTreeMap<u64, u64>) -> Result<()> {
        let mut cursor = tree::Cursor::new(self.pages, self.roots.catalog.root);
        while let Ok(Some((key, entry))) = cursor.next() {
            let Some((id, record)) = catalog_entry(key, &entry) else {
                let place = Place::Tree {
                    name: "the catalog of trees".into(),
                };
                self.report.problem(place, "an entry is no tree's");
                continue;
            };
            let name = name(id);
            if !names.contains_key(&id.0) {
                let place = Place::Tree { name: name.clone() };
                self.report
                    .problem(place, "it is in the catalog of trees, but has no name");
            }
            if id.0 >= self.roots.next_tree {
                let place = Place::Tree { name: name.clone() };
                self.report.problem(place, "its number would be given out again");
            }
            self.tree(Some(id), &name, &record)?;
        }
        Ok(())
    }
}

/// The parent and the tree that an entry of the names stands for.
pub(crate) fn name_entry(key: &[u8], entry: &Entry<'_>) -> Option<(u64, u64)> {
    let (parent, name) = key.split_first_chunk()?;
    let Value::Inline(id) = entry.value else {
        return None;
    };
    let id = u64::from_le_bytes(id.try_into().ok()?);
    (id >= TreeId::FIRST_USER && !name.is_empty()).then(|| (u64::from_be_bytes(*parent), id))
}

/// The tree that an entry of the catalog stands for.
pub(crate) fn catalog_entry(key: &[u8], entry: &Entry<'_>) -> Option<(TreeId, TreeRecord)> {
    let id = u64::from_be_bytes(key.try_into().ok()?);
    let Value::Inline(record) = entry.value else {
        return None;
    };
    let record = TreeRecord::decode(record)?;
    (id >= TreeId::FIRST_USER).then_some((TreeId(id), record))
}

/// Reads all of a large value from the file, which verifies it.
fn read_all(pages: &Snapshot<'_>, large: LargeRef) -> std::result::Result<(), String> {
    let mut reader = ValueReader::large(pages.store(), large).map_err(|e| reason(&e))?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
}

/// What is wrong, without the path and the page, which the place has.
pub(crate) fn reason(e: &Error) -> String {
    match e {
        Error::Corrupt(corruption) => corruption.what.clone(),
        e => e.to_string(),
    }
}

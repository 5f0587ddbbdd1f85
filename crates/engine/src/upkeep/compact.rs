//! Makes the file of an open database smaller, in steps, beside everybody.
//!
//! ```text
//!  1  pack      leaves that are not nearly full are packed anew, from the first to the last
//!  2  move      pages and large values behind the place where the file could end get new places before it
//!  3  trim      checkpoints, which cut the file
//! ```
//!
//! Each step is a commit of bounded size that changes no contents, so the log has nothing of it: what is lost of it in a crash is not missed. Pages
//! are taken from the front of the file. Those that a step leaves are free after the next checkpoint, so there is one whenever
//! enough of them wait.

use std::collections::BTreeMap;

use crate::core::Core;
use crate::error::Result;
use crate::ids::{TreeId, TxId};
use crate::merge::{record, replace_roots};
use crate::op::{LargeRef, Value};
use crate::roots::Roots;
use crate::store::{Apply, run_of};
use crate::transaction::{ReadTx, WriteTx};
use crate::tree::{self, PageRead, Repack};
use crate::upkeep::progress::Meter;
use crate::upkeep::walk::catalog_entry;
use crate::values::ValueReader;

/// What a compaction did; see [`Database::compact`](crate::Database::compact).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactInfo {
    /// Bytes of the file before.
    pub bytes_before: u64,
    /// Bytes of the file after.
    pub bytes_after: u64,
    /// Pages that were packed or moved.
    pub pages: u64,
    /// Large values that got another place.
    pub large_values: u64,
}

/// Leaves that a step looks at: it holds back writers for some milliseconds.
const STEP: u64 = 1024;
/// Leaves filled to less than this many of 256 parts are packed anew.
const FILL: usize = 216;
/// Bytes of changed pages after which there is a checkpoint, so that the pages that were left can be used.
const DIRTY: u64 = 8 << 20;
/// How often pages are moved before the end is taken as it is.
const ROUNDS: usize = 3;
/// Bytes of large values that are moved by one commit.
const LARGE_STEP: u64 = 16 << 20;

/// Where the next step goes on.
struct Position {
    tree: Stop,
    key: Vec<u8>,
}

/// The trees in the order of a pass: those that every database has, the catalog, and those that it leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Tree(TreeId),
    Catalog,
    End,
}

pub(crate) fn compact(core: &Core, meter: &mut Meter<'_>) -> Result<CompactInfo> {
    core.check_writable()?;
    let size = core.store.page_size() as u64;
    // What was committed so far and waits for a checkpoint.
    core.checkpoint()?;
    let mut info = CompactInfo {
        bytes_before: core.store.space().end() * size,
        ..CompactInfo::default()
    };
    meter.set_total(core.store.space().used_pages());
    pass(core, u64::MAX, FILL, &mut info, meter)?;
    trim(core)?;
    for _ in 0..ROUNDS {
        let (end, bound) = {
            let space = core.store.space();
            (space.end(), bound(space.used_pages()))
        };
        if end <= bound {
            break;
        }
        move_large(core, bound, &mut info, meter)?;
        pass(core, bound, 0, &mut info, meter)?;
        trim(core)?;
    }
    info.bytes_after = core.store.space().end() * size;
    meter.finish()?;
    Ok(info)
}

/// Where the file should end: behind the pages in use, and a little more, since moving pages takes some too.
fn bound(used: u64) -> u64 {
    used + used / 64 + 16
}

/// Cuts off the free end of the file. What the last checkpoint lies in is free after the next one.
fn trim(core: &Core) -> Result<()> {
    for _ in 0..3 {
        let before = core.store.space().end();
        core.checkpoint()?;
        if core.store.space().end() >= before {
            break;
        }
    }
    Ok(())
}

/// One pass over all trees.
fn pass(core: &Core, bound: u64, fill: usize, info: &mut CompactInfo, meter: &mut Meter<'_>) -> Result<()> {
    let mut at = Position {
        tree: Stop::Tree(TreeId::ROOT),
        key: Vec::new(),
    };
    while at.tree != Stop::End {
        if core.store.dirty_pages() * core.store.page_size() as u64 >= DIRTY {
            core.checkpoint()?;
        }
        if !core.store.space().has_free_below(bound) {
            core.checkpoint()?;
            if !core.store.space().has_free_below(bound) {
                // Readers hold what could be used. Whatever else is done makes the file longer.
                return Ok(());
            }
        }
        let (moved, looked) = step(core, &mut at, bound, fill)?;
        info.pages += moved;
        meter.add(looked)?;
    }
    Ok(())
}

/// Does something at the end, however that comes.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// One commit. Gives how many leaves it built anew, and how many it looked at.
fn step(core: &Core, at: &mut Position, bound: u64, fill: usize) -> Result<(u64, u64)> {
    let gate = core.gate.enter();
    core.check_writable()?;
    let mut state = core.state();
    core.reclaim(&state);
    let base = state.head;
    let (pin, _) = core.store.readers.pin(|| (base.txid, ()));
    core.store.space().take_first(true);
    let _others = OnDrop(|| core.store.space().take_first(false));
    let mut pages = Apply::begin(core.store.snapshot(&pin), TxId(base.txid.0 + 1), false);
    let mut roots = base;
    let mut records = BTreeMap::new();
    let (mut budget, mut moved) = (STEP, 0);
    while budget > 0 && at.tree != Stop::End {
        let what = Repack {
            start: &at.key,
            bound,
            fill,
        };
        let rest = match at.tree {
            Stop::Tree(tree) => {
                let mut record = record(&pages, &base, tree)?;
                let (applied, n, rest) = tree::repack(&mut pages, record.root, what, &mut budget)?;
                if applied.root != record.root {
                    record.root = applied.root;
                    records.insert(tree, record);
                }
                moved += n;
                rest
            }
            Stop::Catalog => {
                let (applied, n, rest) = tree::repack(&mut pages, roots.catalog.root, what, &mut budget)?;
                roots.catalog.root = applied.root;
                moved += n;
                rest
            }
            Stop::End => None,
        };
        match rest {
            Some(key) => at.key = key,
            None => {
                at.key.clear();
                at.tree = following(&pages, &base, at.tree)?;
            }
        }
    }
    let looked = STEP - budget;
    if moved == 0 {
        // Branches on the way may have been built anew, which is not worth a commit.
        return Ok((0, looked));
    }
    let roots = replace_roots(&mut pages, &core.filters, &roots, records)?;
    core.commit_moved(&mut state, pages, roots)?;
    drop(state);
    drop(gate);
    core.settle_all()?;
    Ok((moved, looked))
}

/// The tree after that one.
fn following(pages: &Apply<'_>, roots: &Roots, tree: Stop) -> Result<Stop> {
    let after = match tree {
        Stop::Tree(tree) if tree.0 + 1 < roots.fixed.len() as u64 => {
            return Ok(Stop::Tree(TreeId(tree.0 + 1)));
        }
        Stop::Tree(tree) if tree.0 < TreeId::FIRST_USER => return Ok(Stop::Catalog),
        Stop::Catalog => TreeId::FIRST_USER,
        Stop::Tree(tree) => tree.0 + 1,
        Stop::End => return Ok(Stop::End),
    };
    let mut cursor = tree::Cursor::new(ByRef(pages), roots.catalog.root);
    let next = cursor.seek(&after.to_be_bytes())?;
    let Some((tree, _)) = next.and_then(|(key, entry)| catalog_entry(key, &entry)) else {
        return Ok(Stop::End);
    };
    if tree.0 < after {
        // Without end it would be gone through again and again.
        return Err(pages.corrupt(roots.catalog.root.ptr, "the catalog is out of order"));
    }
    Ok(Stop::Tree(tree))
}

/// Moves large values that end behind `bound` to where there is room before it.
fn move_large(core: &Core, bound: u64, info: &mut CompactInfo, meter: &mut Meter<'_>) -> Result<()> {
    let size = core.store.page_size();
    let is_behind = |large: LargeRef| {
        let run = run_of(large, size);
        run.start + run.len > bound
    };
    for (tree, key) in &large_keys(core, &is_behind)? {
        let mut tx = WriteTx::begin(core)?;
        let draft = tx.draft_mut();
        let base = record(&draft.view().pages, &draft.roots, *tree)?;
        let Some(entry) = tree::get(&draft.view().pages, base.root, key)? else {
            continue;
        };
        let Value::Large(large) = entry.value else {
            continue;
        };
        let expires = entry.expires;
        if !is_behind(large) {
            continue;
        }
        let mut reader = ValueReader::large(&core.store, large)?;
        let birth = TxId(draft.base_txid().0 + 1);
        let Some(moved) = core
            .store
            .write_large_below(bound, birth, large.len, &mut reader)?
        else {
            continue;
        };
        draft.stage.put_large(*tree, key, moved, expires);
        tx.commit()?;
        info.large_values += 1;
        meter.add(run_of(large, size).len)?;
        if core.store.space().pending_pages() * size as u64 >= LARGE_STEP {
            core.checkpoint()?;
        }
    }
    Ok(())
}

/// The keys whose large values `is_meant` chooses, as of now.
fn large_keys(core: &Core, is_meant: &impl Fn(LargeRef) -> bool) -> Result<Vec<(TreeId, Vec<u8>)>> {
    let tx = ReadTx::begin(core);
    let view = tx.view();
    let mut found = Vec::new();
    let mut look = |tree: TreeId, root: tree::Root| -> Result<()> {
        tree::pages(&view.pages, root, TxId(0), &mut |ptr, level| {
            if level == 0 {
                let leaf = tree::Leaf::new(tree::PageRead::page(&view.pages, ptr, 0)?);
                for i in (0..leaf.count()).filter(|_| leaf.large_count() > 0) {
                    let (key, entry) = leaf.key_and_entry(i);
                    if let Value::Large(large) = entry.value
                        && is_meant(large)
                    {
                        found.push((tree, key.to_vec()));
                    }
                }
            }
            Ok(true)
        })
    };
    let root = view.roots.fixed[TreeId::ROOT.0 as usize];
    if root.large > 0 {
        look(TreeId::ROOT, root.root)?;
    }
    let mut catalog = tree::Cursor::new(view.pages, view.roots.catalog.root);
    while let Some((key, entry)) = catalog.next()? {
        if let Some((tree, record)) = catalog_entry(key, &entry)
            && record.large > 0
        {
            look(tree, record.root)?;
        }
    }
    Ok(found)
}

/// A cursor owns what it reads with.
struct ByRef<'a, 'p>(&'a Apply<'p>);

impl<'q, 'p: 'q> tree::PageRead<'q> for ByRef<'_, 'p> {
    fn page(&self, ptr: crate::ids::PagePtr, level: u8) -> Result<&'q [u8]> {
        self.0.page(ptr, level)
    }

    fn corrupt(&self, ptr: crate::ids::PagePtr, what: &'static str) -> crate::Error {
        self.0.corrupt(ptr, what)
    }
}

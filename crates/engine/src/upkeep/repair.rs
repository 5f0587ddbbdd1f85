//! Copies what can be read of a damaged database into a new one.
//!
//! ```text
//!  1  trees     from the newest meta page whose trees begin readably; every readable leaf is copied     certain
//!  2  strays    leaves that no tree leads to any more, because a page above them is lost                 see below
//!  3  log       what was committed after the checkpoint, as far as it can be read                        certain
//!  4  names     buckets that have lost their name, or the bucket that they were in, go to `lost+found`
//! ```
//!
//! A stray belongs to the tree that has lost just the range of keys that it lies in. If there are several such, or none, its keys go to
//! `lost+found`. The list of free pages tells strays from leaves that were replaced before the checkpoint; where that list is lost too, old
//! values and deleted keys may come back, and the report says so. Without a meta page nothing is known about trees: then all leaves are strays.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use weald_vfs::Vfs;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{PageId, PagePtr, TreeId, TxId};
use crate::meta::Meta;
use crate::op::{Entry, Op, Value};
use crate::options::{DatabaseOptions, PageSize};
use crate::recovery::{log_dir, read_space};
use crate::roots::{Roots, TreeRecord};
use crate::store::{PageStore, Snapshot, Space};
use crate::transaction::names::name_key;
use crate::tree::{self, KeySpan, Leaf, PageRead, Salvaged};
use crate::upkeep::accounting::PageSet;
use crate::upkeep::copy::TreeWriter;
use crate::upkeep::nascent::Nascent;
use crate::upkeep::progress::Meter;
use crate::upkeep::raw::RawFile;
use crate::upkeep::report::{Place, Problem};
use crate::upkeep::walk::{catalog_entry, name_entry, reason};
use crate::values::ValueReader;
use crate::wal::{Record, Wal, WalConfig};

/// What a repair saved and lost; see [`Database::repair`](crate::Database::repair).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// What is lost, and where. At most 1000 entries.
    pub lost: Vec<Problem>,
    /// Losses beyond those.
    pub lost_left_out: u64,
    /// Keys that were copied from the trees.
    pub keys: u64,
    /// Keys that were found in leaves that no tree leads to any more.
    pub stray_keys: u64,
    /// Commits that were replayed from the log.
    pub log_commits: u64,
    /// Buckets that are in `lost+found` since nothing says where they belong.
    pub unnamed_buckets: u64,
    /// Whether some of the stray keys may be old: deleted since, or with a value that they had before.
    pub may_hold_old: bool,
}

impl RepairReport {
    /// Whether everything could be read.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty()
    }

    fn lost(&mut self, place: Place, what: impl Into<String>) {
        if self.lost.len() < 1000 {
            self.lost.push(Problem {
                place,
                what: what.into(),
            });
        } else {
            self.lost_left_out += 1;
        }
    }
}

/// The bucket for what has no other place.
const LOST_FOUND: &[u8] = b"lost+found";
/// The tree of that bucket: above all others, which are numbered from 16 on.
const LOST_FOUND_TREE: TreeId = TreeId(1 << 48);

pub(crate) fn repair(
    from: &Path,
    to: &Path,
    vfs: &Arc<dyn Vfs>,
    options: DatabaseOptions,
    meter: &mut Meter<'_>,
) -> Result<RepairReport> {
    let raw = RawFile::open(from, vfs)?;
    let mut report = RepairReport::default();
    if raw.metas.is_empty() {
        report.lost(
            Place::File,
            "both meta pages are damaged, so that nothing says where trees begin",
        );
    }
    let size = match raw.metas.first() {
        Some(meta) => meta.page_size,
        None => guess_page_size(&raw)?.ok_or_else(|| Error::NotADatabase {
            path: from.to_owned(),
        })?,
    };
    let nascent = Nascent::new(to, Arc::clone(vfs), false)?;
    let new_options = match options.page_size {
        Some(_) => options,
        None => options.page_size(size),
    };
    let new = nascent.open(new_options)?;
    let file = raw.page_file(size)?;
    let pages = file.pages();
    meter.set_total(pages);
    let free = free_pages(&raw, size, &mut report)?;
    let store = PageStore::new(file, Space::new(pages, &[]), 1 << 20, 16 << 20);
    let (pin, ()) = store.readers.pin(|| (TxId(u64::MAX >> 1), ()));
    let snapshot = store.snapshot(&pin);
    let meta = choose_meta(&raw, &snapshot);
    let mut salvage = Salvage {
        pages: snapshot,
        met: PageSet::default(),
        lost: Vec::new(),
        writer: TreeWriter::new(&new),
        report: &mut report,
        meter,
    };
    if let Some(meta) = &meta {
        salvage.trees(&meta.roots)?;
    }
    if meta.is_none() || !salvage.lost.is_empty() {
        let upto = meta.map_or(TxId(u64::MAX), |meta| meta.roots.txid);
        salvage.strays(&free, upto)?;
    }
    if let Some(meta) = &meta {
        salvage.log(from, vfs, meta)?;
    }
    salvage.writer.commit()?;
    drop(salvage);
    name_the_unnamed(&new, &mut report)?;
    nascent.close(new)?;
    nascent.finish()?;
    meter.finish()?;
    Ok(report)
}

/// The page size with which most pages have the right checksum.
fn guess_page_size(raw: &RawFile) -> Result<Option<PageSize>> {
    let mut best = (0, None);
    for size in PageSize::ALL {
        let file = raw.page_file(size)?;
        let mut buffer = vec![0; size.bytes()];
        let mut leaves = 0;
        for id in 2..file.pages() {
            let read = file.read(&mut buffer, id * size.bytes() as u64).is_ok();
            leaves += u64::from(read && tree::as_leaf(&buffer, PageId(id)).is_some());
        }
        if leaves > best.0 {
            best = (leaves, Some(size));
        }
    }
    Ok(best.1)
}

/// The pages that were free when the newest checkpoint was made; `None` where that is not known.
fn free_pages(raw: &RawFile, size: PageSize, report: &mut RepairReport) -> Result<Option<PageSet>> {
    let Some(meta) = raw.metas.first() else {
        return Ok(None);
    };
    let file = raw.page_file(size)?;
    let mut space = match read_space(&file, meta) {
        Ok(space) => space,
        Err(e) => {
            report.lost(Place::File, reason(&e));
            return Ok(None);
        }
    };
    let mut free = PageSet::default();
    for extent in space.survey(meta.roots.txid).free {
        let stop = (extent.start + extent.len).min(file.pages());
        for id in extent.start..stop {
            free.insert(id);
        }
    }
    Ok(Some(free))
}

/// The newest meta page whose trees begin with readable pages; the newest of all where none does.
fn choose_meta(raw: &RawFile, pages: &Snapshot<'_>) -> Option<Meta> {
    let begins = |record: &TreeRecord| {
        let root = record.root;
        root.is_empty() || pages.page(root.ptr, root.level).is_ok()
    };
    let readable = |meta: &&Meta| meta.roots.fixed.iter().chain([&meta.roots.catalog]).all(begins);
    raw.metas.iter().find(readable).or(raw.metas.first()).copied()
}

/// Keys that a tree has lost.
struct LostRange {
    tree: Owner,
    span: KeySpan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Tree(TreeId),
    Catalog,
}

impl Owner {
    fn name(self) -> String {
        match self {
            Owner::Catalog => "the catalog of trees".into(),
            Owner::Tree(tree) => crate::upkeep::walk::name(tree),
        }
    }

    /// Whether such an entry can be this tree's, which is one that the database keeps for itself.
    fn is_entry(self, key: &[u8], entry: &Entry<'_>) -> bool {
        match self {
            Owner::Catalog => catalog_entry(key, entry).is_some(),
            Owner::Tree(TreeId::NAMES) => name_entry(key, entry).is_some(),
            Owner::Tree(TreeId::ATTRIBUTES) => {
                key.len() == 9 && matches!(entry.value, Value::Inline(value) if value.len() == 8)
            }
            Owner::Tree(TreeId::EXPIRY) => key.len() >= 16 && entry.value == Value::Inline(b""),
            Owner::Tree(_) => true,
        }
    }

    fn is_internal(self) -> bool {
        !matches!(self, Owner::Tree(tree) if tree == TreeId::ROOT || tree.0 >= TreeId::FIRST_USER)
    }
}

struct Salvage<'s, 'p, 'm, 'c> {
    pages: Snapshot<'p>,
    /// Pages that a tree led to.
    met: PageSet,
    lost: Vec<LostRange>,
    writer: TreeWriter<'c>,
    report: &'s mut RepairReport,
    meter: &'s mut Meter<'m>,
}

impl Salvage<'_, '_, '_, '_> {
    fn trees(&mut self, roots: &Roots) -> Result<()> {
        for (id, record) in (0..).zip(&roots.fixed) {
            self.tree(Owner::Tree(TreeId(id)), record)?;
        }
        let mut records = BTreeMap::new();
        self.leaves(Owner::Catalog, &roots.catalog, &mut |this, leaf| {
            for (key, entry) in (0..leaf.count()).map(|i| leaf.key_and_entry(i)) {
                match catalog_entry(key, &entry) {
                    Some((tree, record)) if tree < LOST_FOUND_TREE => drop(records.insert(tree.0, record)),
                    _ => this.report.lost(
                        Place::Tree {
                            name: Owner::Catalog.name(),
                        },
                        "an entry is no tree's",
                    ),
                }
            }
            Ok(())
        })?;
        for (id, record) in records {
            self.tree(Owner::Tree(TreeId(id)), &record)?;
        }
        Ok(())
    }

    /// Copies a tree, but for the index of expiry times, which comes by itself.
    fn tree(&mut self, owner: Owner, record: &TreeRecord) -> Result<()> {
        self.leaves(owner, record, &mut |this, leaf| match owner {
            Owner::Tree(tree) if tree != TreeId::EXPIRY => this.entries(tree, leaf).map(drop),
            _ => Ok(()),
        })
    }

    /// Visits the leaves of a tree that can be reached, and notes what can't.
    fn leaves(
        &mut self,
        owner: Owner,
        record: &TreeRecord,
        visit: &mut dyn FnMut(&mut Self, Leaf<'_>) -> Result<()>,
    ) -> Result<()> {
        let pages = self.pages;
        let store = pages.store();
        let mut buffer = vec![0; store.page_size()];
        let mut met = std::mem::take(&mut self.met);
        let mut enter = |ptr: PagePtr| met.insert(ptr.id().0);
        let result = tree::salvage(&pages, record.root, &mut enter, &mut |ptr, span, salvaged| {
            self.meter.add(1)?;
            let error = match salvaged {
                Salvaged::Lost(error) => error,
                Salvaged::Leaf => match store.read_from_file(ptr, 0, &mut buffer) {
                    Ok(()) => return visit(self, Leaf::new(&buffer)),
                    Err(error) => error,
                },
            };
            self.lose(owner, ptr, span, &error);
            Ok(())
        });
        self.met = met;
        result
    }

    fn lose(&mut self, owner: Owner, ptr: PagePtr, span: KeySpan, error: &Error) {
        let show = |key: &[u8]| format!("\"{}\"", key.escape_ascii());
        let what = format!(
            "{}; {} has lost the keys from {} to {}, but for those in stray leaves",
            reason(error),
            owner.name(),
            show(&span.lower),
            span.upper.as_deref().map_or("the end".into(), show)
        );
        self.report.lost(
            Place::Pages {
                first: ptr.id().0,
                count: 1,
            },
            what,
        );
        self.lost.push(LostRange { tree: owner, span });
    }

    /// Copies the entries of a leaf into a tree; how many.
    fn entries(&mut self, tree: TreeId, leaf: Leaf<'_>) -> Result<u64> {
        let mut copied = 0;
        for (key, entry) in (0..leaf.count()).map(|i| leaf.key_and_entry(i)) {
            copied += u64::from(self.entry(tree, key, &entry)?);
        }
        if !Owner::Tree(tree).is_internal() {
            self.report.keys += copied;
        }
        Ok(copied)
    }

    /// Copies one entry; `false` where its large value can't be read.
    fn entry(&mut self, tree: TreeId, key: &[u8], entry: &Entry<'_>) -> Result<bool> {
        let store = self.pages.store();
        if let Value::Large(large) = entry.value
            && let Err(what) = readable(store, large)
        {
            let place = Place::Tree {
                name: Owner::Tree(tree).name(),
            };
            let what = format!("the value of the key \"{}\": {what}", key.escape_ascii());
            self.report.lost(place, what);
            return Ok(false);
        }
        self.writer.put(tree, key, entry, store)?;
        Ok(true)
    }

    /// Copies leaves that no tree led to, the youngest last.
    fn strays(&mut self, free: &Option<PageSet>, upto: TxId) -> Result<()> {
        let store = self.pages.store();
        let size = store.page_size();
        let mut buffer = vec![0; size];
        let mut strays = Vec::new();
        for id in 2..store.file.pages() {
            self.meter.add(1)?;
            let is_free = free.as_ref().is_some_and(|free| free.contains(id));
            if is_free || self.met.contains(id) || store.file.read(&mut buffer, id * size as u64).is_err() {
                continue;
            }
            if let Some((birth, _)) = tree::as_leaf(&buffer, PageId(id))
                && birth <= upto
            {
                strays.push((birth, id));
            }
        }
        strays.sort_unstable();
        self.report.may_hold_old |= free.is_none() && !strays.is_empty();
        // What the catalog leads to comes after it, so that trees which were lost with it find their place.
        let mut later = Vec::new();
        for (_, id) in strays {
            store.file.read(&mut buffer, id * size as u64)?;
            if let Some((_, leaf)) = tree::as_leaf(&buffer, PageId(id)) {
                match self.owner(leaf) {
                    Some(Owner::Catalog) => self.stray_catalog(leaf)?,
                    owner => later.push((id, owner)),
                }
            }
        }
        for (id, owner) in later {
            if self.met.contains(id) {
                continue;
            }
            store.file.read(&mut buffer, id * size as u64)?;
            if let Some((_, leaf)) = tree::as_leaf(&buffer, PageId(id)) {
                let tree = match owner {
                    Some(Owner::Tree(TreeId::EXPIRY)) | Some(Owner::Catalog) => continue,
                    Some(Owner::Tree(tree)) => tree,
                    None => LOST_FOUND_TREE,
                };
                let before = self.report.keys;
                self.entries(tree, leaf)?;
                self.report.stray_keys += self.report.keys - before;
                self.report.keys = before;
            }
        }
        Ok(())
    }

    /// The one tree that has lost what this leaf holds.
    fn owner(&self, leaf: Leaf<'_>) -> Option<Owner> {
        let (first, last) = (leaf.key(0), leaf.key(leaf.count() - 1));
        let holds = |range: &&LostRange| {
            range.span.lower.as_slice() <= first
                && range
                    .span
                    .upper
                    .as_ref()
                    .is_none_or(|upper| last < upper.as_slice())
        };
        let is_shaped = |range: &&LostRange| {
            let mut entries = (0..leaf.count()).map(|i| leaf.key_and_entry(i));
            entries.all(|(key, entry)| range.tree.is_entry(key, &entry))
        };
        let fitting: Vec<Owner> = self
            .lost
            .iter()
            .filter(holds)
            .filter(is_shaped)
            .map(|range| range.tree)
            .collect();
        // What looks like the database's own hardly is anything else.
        let internal: Vec<Owner> = fitting
            .iter()
            .copied()
            .filter(|owner| owner.is_internal())
            .collect();
        match (&internal[..], &fitting[..]) {
            ([owner], _) | ([], [owner]) => Some(*owner),
            _ => None,
        }
    }

    /// Copies the trees that a stray leaf of the catalog leads to.
    fn stray_catalog(&mut self, leaf: Leaf<'_>) -> Result<()> {
        for (key, entry) in (0..leaf.count()).map(|i| leaf.key_and_entry(i)) {
            if let Some((tree, record)) = catalog_entry(key, &entry)
                && tree < LOST_FOUND_TREE
            {
                self.tree(Owner::Tree(tree), &record)?;
            }
        }
        Ok(())
    }

    /// Replays what the log has after the checkpoint.
    fn log(&mut self, from: &Path, vfs: &Arc<dyn Vfs>, meta: &Meta) -> Result<()> {
        let mut failed = None;
        let config = WalConfig::new(0);
        let opened = Wal::open(
            Arc::clone(vfs),
            &log_dir(from),
            config,
            meta.database,
            meta.replay_from(),
            true,
            &mut |record| {
                let Record::Commit { batch, .. } = record else {
                    return Ok(());
                };
                for op in batch.ops() {
                    let op = op?;
                    if let Err(e) = self.op(&op) {
                        let shown = Error::corrupt(from, None, e.to_string());
                        failed = Some(e);
                        return Err(shown);
                    }
                }
                self.report.log_commits += 1;
                Ok(())
            },
        );
        if let Some(e) = failed {
            return Err(e);
        }
        match opened {
            Err(e) => self
                .report
                .lost(Place::Log, format!("{e}; what was committed after that is lost")),
            Ok(wal) if meta.logged && wal.stats().segments == 0 => {
                self.report.lost(
                    Place::Log,
                    "it is not there, and so are the commits that were in it alone",
                );
            }
            Ok(_) => {}
        }
        Ok(())
    }

    fn op(&mut self, op: &Op<'_>) -> Result<()> {
        match *op {
            Op::Put { tree, key, entry } => {
                if !self.entry(tree, key, &entry)? {
                    // The old value would be a wrong answer.
                    self.writer.tx()?.draft_mut().delete(tree, key)?;
                }
            }
            Op::Delete { tree, key } => self.writer.tx()?.draft_mut().delete(tree, key)?,
            Op::DeleteRange { tree, start, end } => {
                self.writer.tx()?.draft_mut().delete_range(tree, start, end)?;
            }
            Op::DropTree { tree } => self.writer.tx()?.draft_mut().stage.drop_tree(tree),
            // Where it is not whole, what refers to it is lost, and reported then.
            Op::Run { large, bytes } => drop(self.pages.store().hold_logged(large, bytes.to_vec())),
        }
        Ok(())
    }
}

/// Reads all of a large value, to see whether that goes well.
fn readable(store: &PageStore, large: crate::op::LargeRef) -> std::result::Result<(), String> {
    let mut reader = ValueReader::large(store, large).map_err(|e| reason(&e))?;
    let copied = std::io::copy(&mut reader.by_ref(), &mut std::io::sink());
    copied.map(drop).map_err(|e| e.to_string())
}

/// Gives every bucket a place that can be reached from the root bucket.
fn name_the_unnamed(new: &Core, report: &mut RepairReport) -> Result<()> {
    let mut writer = TreeWriter::new(new);
    let draft = writer.tx()?.draft_mut();
    let (mut names, mut trees) = (BTreeMap::new(), BTreeSet::new());
    {
        let view = draft.view();
        let mut cursor = tree::Cursor::new(view.pages, view.roots.fixed[TreeId::NAMES.0 as usize].root);
        while let Some((key, entry)) = cursor.next()? {
            // A second name of the same bucket counts for nothing.
            if let Some((parent, id)) = name_entry(key, &entry) {
                names.entry(id).or_insert((parent, key.to_vec()));
            }
        }
        let mut cursor = tree::Cursor::new(view.pages, view.roots.catalog.root);
        while let Some((key, entry)) = cursor.next()? {
            trees.extend(catalog_entry(key, &entry).map(|(tree, _)| tree.0));
        }
    }
    let mut reached = BTreeSet::from([TreeId::ROOT.0]);
    let mut homeless: Vec<(u64, Option<Vec<u8>>)> = Vec::new();
    for id in trees
        .iter()
        .filter(|id| !names.contains_key(id) && **id != LOST_FOUND_TREE.0)
    {
        homeless.push((*id, None));
        reached.insert(*id);
    }
    for &id in names.keys() {
        let (mut path, mut at) = (Vec::new(), id);
        while !reached.contains(&at) {
            reached.insert(at);
            path.push(at);
            match names.get(&at) {
                Some((parent, _)) if path.len() <= names.len() && !path.contains(parent) => at = *parent,
                // A name that lies in no bucket, or in itself.
                Some((_, key)) => homeless.push((at, Some(key.clone()))),
                None => homeless.push((at, None)),
            }
        }
    }
    if homeless.is_empty() && !trees.contains(&LOST_FOUND_TREE.0) {
        return Ok(());
    }
    report.unnamed_buckets = homeless.len() as u64;
    let mut place = LOST_FOUND.to_vec();
    while names
        .values()
        .any(|(parent, key)| *parent == TreeId::ROOT.0 && key[8..] == place)
    {
        place.push(b'+');
    }
    let home = name_key(TreeId::ROOT, &place)?;
    draft.put_internal(TreeId::NAMES, &home, &LOST_FOUND_TREE.0.to_le_bytes());
    for (id, old) in homeless {
        if let Some(old) = old {
            draft.discard_name(&old);
        }
        let key = name_key(LOST_FOUND_TREE, format!("bucket {id}").as_bytes())?;
        draft.put_internal(TreeId::NAMES, &key, &id.to_le_bytes());
    }
    writer.commit()
}

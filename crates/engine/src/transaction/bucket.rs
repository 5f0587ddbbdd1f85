//! How a bucket is read, whatever the transaction.

use std::ops::RangeBounds;
use std::sync::OnceLock;
use std::time::Duration;

use crate::core::{Core, now_ms};
use crate::error::Result;
use crate::ids::{BucketId, TreeId, TxId};
use crate::merge::record;
use crate::op::{Entry, Value};
use crate::roots::{Roots, TreeRecord};
use crate::stage::{MergeBase, Stage, Staged};
use crate::store::{Keep, Snapshot};
use crate::transaction::Pair;
use crate::transaction::bounds::Bounds;
use crate::transaction::cursor::Cursor;
use crate::transaction::iter::{Iter, KeyRange, Keys};
use crate::transaction::names;
use crate::transaction::reads::Reads;
use crate::tree::{self, Root};
use crate::values::ValueReader;

/// What a transaction lends to those who read in it.
#[derive(Clone, Copy)]
pub(crate) struct View<'t> {
    pub(crate) core: &'t Core,
    pub(crate) pages: Snapshot<'t>,
    pub(crate) roots: &'t Roots,
    pub(crate) stage: Option<&'t Stage>,
    pub(crate) reads: Option<&'t Reads>,
    pub(crate) keep: &'t Keep,
    /// The time by which keys expire: the same for the whole transaction, and asked for only if some key can.
    pub(crate) now_ms: &'t OnceLock<u64>,
    /// Tells states of `roots` apart that a transaction has spilled to, which have the number of the same commit; 0 for none.
    pub(crate) spill: u64,
}

/// Which state of which database a view is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    core: usize,
    txid: TxId,
    catalog: Root,
    spill: u64,
}

/// A bucket as it was found in one state of the database, to be opened again there without a search. See [`Bucket::reopen`].
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    state: State,
    tree: TreeId,
    record: TreeRecord,
}

impl Opened {
    /// Which bucket it is.
    pub fn id(&self) -> BucketId {
        BucketId(self.tree)
    }
}

/// A bucket as a transaction sees it: ordered keys and values, and buckets within.
///
/// What it lends lives as long as the transaction.
///
/// ```
/// use weald_engine::{Database, Readable, Writable};
///
/// let db = Database::in_memory()?;
/// let mut tx = db.write()?;
/// tx.create_bucket(b"fruit")?.put(b"apple", b"red")?;
/// tx.commit()?;
///
/// let tx = db.read()?;
/// let fruit = tx.bucket(b"fruit")?;
/// assert_eq!(fruit.get_ref(b"apple")?, Some(&b"red"[..]));
/// # Ok::<(), weald_engine::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Bucket<'t> {
    pub(crate) view: View<'t>,
    pub(crate) tree: TreeId,
    pub(crate) record: TreeRecord,
}

impl<'t> Bucket<'t> {
    pub(crate) fn root(view: View<'t>) -> Bucket<'t> {
        Bucket {
            view,
            tree: TreeId::ROOT,
            record: view.roots.fixed[0],
        }
    }

    pub(crate) fn of(view: View<'t>, tree: TreeId) -> Result<Bucket<'t>> {
        Ok(Bucket {
            view,
            tree,
            record: record(&view.pages, view.roots, tree)?,
        })
    }

    /// What names the bucket for [`bucket_by_id`](crate::Readable::bucket_by_id), which is faster than by name.
    pub fn id(&self) -> BucketId {
        BucketId(self.tree)
    }

    /// The bucket of that id, wherever it is, found without its name. One that was deleted is empty.
    pub fn bucket_by_id(&self, id: BucketId) -> Result<Bucket<'t>> {
        Bucket::of(self.view, id.0)
    }

    /// What [`reopen`](Self::reopen) needs to open the bucket again.
    pub fn opened(&self) -> Opened {
        Opened {
            state: self.view.state(),
            tree: self.tree,
            record: self.record,
        }
    }

    /// The bucket that was found before, if that was in the state that this transaction stands on: for programs that read from one bucket time and again, to whom
    /// the search of its id is a large part of reading a key. `None` where the state is another; then it is to be found anew.
    ///
    /// ```
    /// # use weald_engine::{Database, Readable, Writable};
    /// # let db = Database::in_memory()?;
    /// # let mut tx = db.write()?;
    /// # tx.create_bucket(b"fruit")?.put(b"apple", b"red")?;
    /// # tx.commit()?;
    /// let tx = db.read()?;
    /// let opened = tx.bucket(b"fruit")?.opened();
    /// let again = tx.root().reopen(&opened).expect("the transaction is the same");
    /// assert_eq!(again.get_ref(b"apple")?, Some(&b"red"[..]));
    /// # Ok::<(), weald_engine::Error>(())
    /// ```
    #[inline]
    pub fn reopen(&self, opened: &Opened) -> Option<Bucket<'t>> {
        (opened.state == self.view.state()).then_some(Bucket {
            view: self.view,
            tree: opened.tree,
            record: opened.record,
        })
    }

    /// A copy of the value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.get_ref(key)?.map(<[u8]>::to_vec))
    }

    /// The value of `key`, lent without copying, large ones included.
    pub fn get_ref(&self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        match self.entry(key)? {
            Some(entry) => Ok(Some(self.view.value(&entry)?)),
            None => Ok(None),
        }
    }

    /// The value of `key` as a stream, which never has all of a large value in memory.
    pub fn get_reader(&self, key: &[u8]) -> Result<Option<ValueReader<'t>>> {
        Ok(match self.entry(key)? {
            None => None,
            Some(Entry {
                value: Value::Inline(value),
                ..
            }) => Some(ValueReader::inline(value)),
            Some(Entry {
                value: Value::Large(large),
                ..
            }) => Some(ValueReader::large(&self.view.core.store, large)?),
        })
    }

    /// The values of many keys, in their order. Faster than one by one, as the waits for memory overlap.
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<&'t [u8]>>> {
        if self.view.stage.is_some() || self.view.reads.is_some() {
            return keys.iter().map(|key| self.get_ref(key)).collect();
        }
        let mut entries = vec![None; keys.len()];
        tree::get_many(&self.view.pages, self.record.root, keys, |i, entry| {
            entries[i] = entry
        })?;
        self.view.check_mapping()?;
        entries
            .into_iter()
            .map(|entry| match entry.filter(|entry| self.view.is_visible(entry)) {
                Some(entry) => self.view.value(&entry).map(Some),
                None => Ok(None),
            })
            .collect()
    }

    /// Whether there is such a key.
    pub fn contains_key(&self, key: &[u8]) -> Result<bool> {
        Ok(self.entry(key)?.is_some())
    }

    /// How long `key` has to live: `None` where there is no such key, `Some(None)` where it does not expire.
    pub fn ttl(&self, key: &[u8]) -> Result<Option<Option<Duration>>> {
        let now = self.view.now();
        let left = |at: u64| Duration::from_millis(at.saturating_sub(now));
        Ok(self.entry(key)?.map(|entry| entry.expires.map(left)))
    }

    /// The number of keys, those included that have expired and were not collected yet. It costs nothing but for keys that this transaction
    /// itself wrote, each of which is looked up.
    pub fn len(&self) -> Result<u64> {
        self.track_all();
        let Some(stage) = self.view.stage else {
            return Ok(self.record.len);
        };
        let mut len = self.record.len as i64;
        let mut cursor = stage.cursor(self.tree);
        let hides = stage.hides_any(self.tree);
        if hides {
            let mut count = 0;
            for pair in self.iter() {
                pair?;
                count += 1;
            }
            return Ok(count);
        }
        let mut next = cursor.first();
        while let Some((key, staged)) = next {
            let was = tree::get(&self.view.pages, self.record.root, key)?;
            let is = self.view.resolve(key, &staged, || Ok(was))?;
            len += i64::from(is.is_some()) - i64::from(was.is_some());
            next = cursor.next();
        }
        Ok(len.max(0) as u64)
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.first()?.is_none())
    }

    /// All pairs in the order of their keys; also from the end with [`rev`](Iterator::rev).
    pub fn iter(&self) -> Iter<'t> {
        Iter::new(self, Bounds::all())
    }

    /// The pairs whose keys lie in `range`.
    ///
    /// ```
    /// # use weald_engine::{Database, Readable, Writable};
    /// # let db = Database::in_memory()?;
    /// # let mut tx = db.write()?;
    /// # for key in ["a", "b", "c"] { tx.put(key.as_bytes(), b"")?; }
    /// # tx.commit()?;
    /// let tx = db.read()?;
    /// let keys: Result<Vec<_>, _> = tx.range("b"..).map(|pair| pair.map(|(key, _)| key)).collect();
    /// assert_eq!(keys?, [b"b", b"c"]);
    /// # Ok::<(), weald_engine::Error>(())
    /// ```
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Iter<'t> {
        Iter::new(self, Bounds::of(&range))
    }

    /// The keys that lie in `range`. Large values are not read.
    ///
    /// ```
    /// # use weald_engine::{Database, Readable, Writable};
    /// # let db = Database::in_memory()?;
    /// # let mut tx = db.write()?;
    /// # for key in ["a", "b", "c"] { tx.put(key.as_bytes(), b"")?; }
    /// # tx.commit()?;
    /// let tx = db.read()?;
    /// let keys: Result<Vec<_>, _> = tx.keys("b"..).collect();
    /// assert_eq!(keys?, [b"b", b"c"]);
    /// # Ok::<(), weald_engine::Error>(())
    /// ```
    pub fn keys<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Keys<'t> {
        Keys::new(self, Bounds::of(&range))
    }

    /// The pairs whose keys begin with `prefix`.
    pub fn prefix(&self, prefix: &[u8]) -> Iter<'t> {
        Iter::new(self, Bounds::prefix(prefix))
    }

    /// The pair with the least key.
    pub fn first(&self) -> Result<Option<Pair<'t>>> {
        self.iter().next().transpose()
    }

    /// The pair with the greatest key.
    pub fn last(&self) -> Result<Option<Pair<'t>>> {
        self.iter().next_back().transpose()
    }

    /// A cursor, which moves both ways.
    pub fn cursor(&self) -> Cursor<'t> {
        self.track_all();
        Cursor::new(*self)
    }

    /// How many keys lie in `range`. It reads the header of every page in it, and the keys only where some may have expired or this
    /// transaction has written.
    pub fn count<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<u64> {
        let expiring = self.view.roots.fixed[TreeId::EXPIRY.0 as usize].len > 0;
        if self.view.stage.is_some() || expiring {
            return self
                .range(range)
                .try_fold(0, |count, pair| pair.map(|_| count + 1));
        }
        let range = KeyRange::of(&range);
        if let Some(reads) = self.view.reads {
            reads.range(self.tree, &range);
        }
        let (start, end) = range.half_open();
        tree::count(&self.view.pages, self.record.root, &start, end.as_deref())
    }

    /// About how many keys lie in `range`, from two pages of each level of the tree. Writes of this transaction are not counted.
    pub fn estimate<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<u64> {
        let range = KeyRange::of(&range);
        let (start, end) = range.half_open();
        tree::estimate(
            &self.view.pages,
            self.record.root,
            self.record.len,
            &start,
            end.as_deref(),
        )
    }

    /// The bucket of that name in this one.
    pub fn bucket(&self, name: &[u8]) -> Result<Bucket<'t>> {
        Bucket::of(self.view, names::find(&self.view, self.tree, name)?)
    }

    /// Whether there is a bucket of that name in this one.
    pub fn bucket_exists(&self, name: &[u8]) -> Result<bool> {
        names::exists(&self.view, self.tree, name)
    }

    /// The names of the buckets in this one, in order.
    pub fn buckets(&self) -> Result<Vec<Vec<u8>>> {
        names::list(&self.view, self.tree)
    }

    /// The number that [`next_sequence`](crate::BucketMut::next_sequence) gave last; 0 before the first.
    pub fn sequence(&self) -> Result<u64> {
        names::sequence(&self.view, self.tree)
    }

    /// What `key` is set to, if it is visible.
    pub(crate) fn entry(&self, key: &[u8]) -> Result<Option<Entry<'t>>> {
        let base = || {
            if let Some(reads) = self.view.reads {
                reads.point(self.tree, key);
            }
            if self
                .view
                .core
                .filters
                .excludes(self.tree, self.view.roots.txid, key)
            {
                return Ok(None);
            }
            tree::get(&self.view.pages, self.record.root, key)
        };
        let entry = match self
            .view
            .stage
            .map_or(Staged::Nothing, |stage| stage.get(self.tree, key))
        {
            Staged::Nothing => base()?,
            staged => self.view.resolve(key, &staged, base)?,
        };
        self.view.check_mapping()?;
        Ok(entry.filter(|entry| self.view.is_visible(entry)))
    }

    /// Whether the transaction has staged nothing in it, so that it is what its tree is.
    #[inline]
    pub(crate) fn is_untouched(&self) -> bool {
        self.view
            .stage
            .is_none_or(|stage| !stage.hides_any(self.tree) && stage.cursor(self.tree).first().is_none())
    }

    /// Notes that everything in the bucket was read.
    fn track_all(&self) {
        if let Some(reads) = self.view.reads {
            reads.range(self.tree, &KeyRange::all());
        }
    }
}

impl<'t> View<'t> {
    #[inline]
    fn state(&self) -> State {
        State {
            core: std::ptr::from_ref(self.core).addr(),
            txid: self.roots.txid,
            catalog: self.roots.catalog.root,
            spill: self.spill,
        }
    }

    pub(crate) fn now(&self) -> u64 {
        *self.now_ms.get_or_init(now_ms)
    }

    pub(crate) fn is_visible(&self, entry: &Entry<'_>) -> bool {
        entry.expires.is_none_or(|at| at > self.now())
    }

    /// What something staged comes to, where `base` is what is below it.
    pub(crate) fn resolve(
        &self,
        key: &[u8],
        staged: &Staged<'t>,
        base: impl FnOnce() -> Result<Option<Entry<'t>>>,
    ) -> Result<Option<Entry<'t>>> {
        let (below, operands) = match staged {
            Staged::Nothing => return base(),
            Staged::Hidden => return Ok(None),
            Staged::Put(entry) => return Ok(Some(*entry)),
            Staged::Merged {
                base: below,
                operands,
            } => (below, operands),
        };
        let entry = match below {
            MergeBase::Nothing => base()?,
            MergeBase::Hidden => None,
            MergeBase::Put(entry) => Some(*entry),
        };
        let entry = entry.filter(|entry| self.is_visible(entry));
        let mut value = match &entry {
            Some(entry) => Some(self.value(entry)?.to_vec()),
            None => None,
        };
        let mut expires = entry.and_then(|entry| entry.expires);
        for (operator, operand) in operands {
            let (_, merge) = &self.core.options.merge_operators[*operator as usize];
            value = merge(key, value.as_deref(), operand);
            if value.is_none() {
                // What comes after a deletion begins anew.
                expires = None;
            }
        }
        Ok(value.map(|value| Entry {
            value: Value::Inline(self.keep.keep(value.into_boxed_slice())),
            expires,
        }))
    }

    /// The bytes of a value.
    pub(crate) fn value(&self, entry: &Entry<'t>) -> Result<&'t [u8]> {
        match entry.value {
            Value::Inline(value) => Ok(value),
            Value::Large(large) => self.core.store.read_large(large, self.keep),
        }
    }

    /// Whether what was read through the mapping was not the file's.
    #[inline]
    pub(crate) fn has_faulted(&self) -> bool {
        self.pages.store().file.faulted()
    }

    /// Fails if what was read through the mapping was not the file's.
    #[inline]
    pub(crate) fn check_mapping(&self) -> Result<()> {
        if self.has_faulted() {
            Err(self.core.mapping_failed())
        } else {
            Ok(())
        }
    }
}

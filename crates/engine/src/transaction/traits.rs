//! What transactions can do with the root bucket, written once.

use std::io::Read;
use std::ops::RangeBounds;
use std::time::Duration;

use crate::error::Result;
use crate::ids::BucketId;
use crate::transaction::Pair;
use crate::transaction::bucket::Bucket;
use crate::transaction::bucket_mut::BucketMut;
use crate::transaction::cursor::Cursor;
use crate::transaction::draft::Savepoint;
use crate::transaction::iter::{Iter, Keys};
use crate::values::ValueReader;

/// Reading: what every transaction offers on the root bucket. Each method is that of [`Bucket`].
pub trait Readable {
    /// The root bucket.
    fn root(&self) -> Bucket<'_>;

    /// See [`Bucket::get`].
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.root().get(key)
    }

    /// See [`Bucket::get_ref`].
    fn get_ref(&self, key: &[u8]) -> Result<Option<&[u8]>> {
        self.root().get_ref(key)
    }

    /// See [`Bucket::get_reader`].
    fn get_reader(&self, key: &[u8]) -> Result<Option<ValueReader<'_>>> {
        self.root().get_reader(key)
    }

    /// See [`Bucket::get_many`].
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<&[u8]>>> {
        self.root().get_many(keys)
    }

    /// See [`Bucket::contains_key`].
    fn contains_key(&self, key: &[u8]) -> Result<bool> {
        self.root().contains_key(key)
    }

    /// See [`Bucket::ttl`].
    fn ttl(&self, key: &[u8]) -> Result<Option<Option<Duration>>> {
        self.root().ttl(key)
    }

    /// See [`Bucket::len`].
    fn len(&self) -> Result<u64> {
        self.root().len()
    }

    /// See [`Bucket::is_empty`].
    fn is_empty(&self) -> Result<bool> {
        self.root().is_empty()
    }

    /// See [`Bucket::iter`].
    fn iter(&self) -> Iter<'_> {
        self.root().iter()
    }

    /// See [`Bucket::range`].
    fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Iter<'_>
    where
        Self: Sized,
    {
        self.root().range(range)
    }

    /// See [`Bucket::keys`].
    fn keys<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Keys<'_>
    where
        Self: Sized,
    {
        self.root().keys(range)
    }

    /// See [`Bucket::prefix`].
    fn prefix(&self, prefix: &[u8]) -> Iter<'_> {
        self.root().prefix(prefix)
    }

    /// See [`Bucket::first`].
    fn first(&self) -> Result<Option<Pair<'_>>> {
        self.root().first()
    }

    /// See [`Bucket::last`].
    fn last(&self) -> Result<Option<Pair<'_>>> {
        self.root().last()
    }

    /// See [`Bucket::cursor`].
    fn cursor(&self) -> Cursor<'_> {
        self.root().cursor()
    }

    /// See [`Bucket::count`].
    fn count<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<u64>
    where
        Self: Sized,
    {
        self.root().count(range)
    }

    /// See [`Bucket::estimate`].
    fn estimate<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<u64>
    where
        Self: Sized,
    {
        self.root().estimate(range)
    }

    /// See [`Bucket::bucket`].
    fn bucket(&self, name: &[u8]) -> Result<Bucket<'_>> {
        self.root().bucket(name)
    }

    /// See [`Bucket::bucket_by_id`].
    ///
    /// ```
    /// # use weald_engine::{Database, Readable, Writable};
    /// # let db = Database::in_memory()?;
    /// let mut tx = db.write()?;
    /// let id = tx.create_bucket(b"fruit")?.as_bucket()?.id();
    /// tx.bucket_mut_by_id(id).put(b"apple", b"red")?;
    /// assert_eq!(tx.bucket_by_id(id)?.get_ref(b"apple")?, Some(&b"red"[..]));
    /// # Ok::<(), weald_engine::Error>(())
    /// ```
    fn bucket_by_id(&self, id: BucketId) -> Result<Bucket<'_>> {
        self.root().bucket_by_id(id)
    }

    /// See [`Bucket::bucket_exists`].
    fn bucket_exists(&self, name: &[u8]) -> Result<bool> {
        self.root().bucket_exists(name)
    }

    /// See [`Bucket::buckets`].
    fn buckets(&self) -> Result<Vec<Vec<u8>>> {
        self.root().buckets()
    }

    /// See [`Bucket::sequence`].
    fn sequence(&self) -> Result<u64> {
        self.root().sequence()
    }
}

/// Writing: what both writing transactions offer on the root bucket. Each method is that of [`BucketMut`].
pub trait Writable<'db> {
    /// The root bucket.
    fn root_mut(&mut self) -> BucketMut<'_, 'db>;

    /// A state to go back to. From the first savepoint on a large transaction stays in memory.
    fn savepoint(&mut self) -> Savepoint {
        self.root_mut().savepoint()
    }

    /// Forgets what was written since `savepoint`, which stays good. What was read since still counts as read.
    fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        self.root_mut().rollback_to(savepoint)
    }

    /// See [`BucketMut::put`].
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.root_mut().put(key, value)
    }

    /// See [`BucketMut::put_with_ttl`].
    fn put_with_ttl(&mut self, key: &[u8], value: &[u8], ttl: Duration) -> Result<()> {
        self.root_mut().put_with_ttl(key, value, ttl)
    }

    /// See [`BucketMut::put_reader`].
    fn put_reader(&mut self, key: &[u8], source: impl Read, len: u64) -> Result<()>
    where
        Self: Sized,
    {
        self.root_mut().put_reader(key, source, len)
    }

    /// See [`BucketMut::put_reader_with_ttl`].
    fn put_reader_with_ttl(&mut self, key: &[u8], source: impl Read, len: u64, ttl: Duration) -> Result<()>
    where
        Self: Sized,
    {
        self.root_mut().put_reader_with_ttl(key, source, len, ttl)
    }

    /// See [`BucketMut::batch_put`].
    fn batch_put<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()>
    where
        Self: Sized,
    {
        self.root_mut().batch_put(pairs)
    }

    /// See [`BucketMut::put_if_absent`].
    fn put_if_absent(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        self.root_mut().put_if_absent(key, value)
    }

    /// See [`BucketMut::compare_and_swap`].
    fn compare_and_swap(&mut self, key: &[u8], expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool> {
        self.root_mut().compare_and_swap(key, expected, new)
    }

    /// See [`BucketMut::update`].
    fn update(
        &mut self,
        key: &[u8],
        change: impl FnOnce(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>>
    where
        Self: Sized,
    {
        self.root_mut().update(key, change)
    }

    /// See [`BucketMut::merge`].
    fn merge(&mut self, key: &[u8], operator: &str, operand: &[u8]) -> Result<()> {
        self.root_mut().merge(key, operator, operand)
    }

    /// See [`BucketMut::delete`].
    fn delete(&mut self, key: &[u8]) -> Result<bool> {
        self.root_mut().delete(key)
    }

    /// See [`BucketMut::discard`].
    fn discard(&mut self, key: &[u8]) -> Result<()> {
        self.root_mut().discard(key)
    }

    /// See [`BucketMut::delete_range`].
    fn delete_range<K: AsRef<[u8]>>(&mut self, range: impl RangeBounds<K>) -> Result<()>
    where
        Self: Sized,
    {
        self.root_mut().delete_range(range)
    }

    /// See [`BucketMut::create_bucket`].
    fn create_bucket(&mut self, name: &[u8]) -> Result<BucketMut<'_, 'db>> {
        self.root_mut().into_created(name)
    }

    /// See [`BucketMut::create_bucket_if_absent`].
    fn create_bucket_if_absent(&mut self, name: &[u8]) -> Result<BucketMut<'_, 'db>> {
        self.root_mut().into_created_if_absent(name)
    }

    /// See [`BucketMut::bucket_mut`].
    fn bucket_mut(&mut self, name: &[u8]) -> Result<BucketMut<'_, 'db>> {
        self.root_mut().into_bucket_mut(name)
    }

    /// The bucket of that id, found without its name, and without a look whether it still exists: what is written to one that was
    /// deleted is found by nobody and takes room until the file is compacted.
    fn bucket_mut_by_id(&mut self, id: BucketId) -> BucketMut<'_, 'db> {
        self.root_mut().into_id(id)
    }

    /// See [`BucketMut::delete_bucket`].
    fn delete_bucket(&mut self, name: &[u8]) -> Result<()> {
        self.root_mut().delete_bucket(name)
    }

    /// See [`BucketMut::rename_bucket`].
    fn rename_bucket(&mut self, name: &[u8], to: &[u8]) -> Result<()> {
        self.root_mut().rename_bucket(name, to)
    }

    /// See [`BucketMut::next_sequence`].
    fn next_sequence(&mut self) -> Result<u64> {
        self.root_mut().next_sequence()
    }
}

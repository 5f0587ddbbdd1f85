//! How a bucket is written, whatever the transaction.

use std::io::Read;
use std::ops::RangeBounds;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::ids::{BucketId, TreeId};
use crate::transaction::bucket::Bucket;
use crate::transaction::draft::{Draft, Savepoint};
use crate::transaction::iter::KeyRange;
use crate::transaction::names;

/// A bucket that a transaction writes to. It reads as [`Bucket`] does, its own writes included.
pub struct BucketMut<'t, 'db> {
    draft: &'t mut Draft<'db>,
    tree: TreeId,
}

impl<'t, 'db> BucketMut<'t, 'db> {
    pub(crate) fn root(draft: &'t mut Draft<'db>) -> BucketMut<'t, 'db> {
        BucketMut {
            draft,
            tree: TreeId::ROOT,
        }
    }

    pub(crate) fn of(draft: &'t mut Draft<'db>, tree: TreeId) -> BucketMut<'t, 'db> {
        BucketMut { draft, tree }
    }

    pub(crate) fn tree(&self) -> TreeId {
        self.tree
    }

    fn view(&self) -> Result<Bucket<'_>> {
        Bucket::of(self.draft.view(), self.tree)
    }

    /// Sets `key` to `value`, for ever.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.draft.put(self.tree, key, value, None)
    }

    /// Sets `key` to `value`; after `ttl` it is as if it had been deleted.
    pub fn put_with_ttl(&mut self, key: &[u8], value: &[u8], ttl: Duration) -> Result<()> {
        self.draft.put(self.tree, key, value, Some(ttl))
    }

    /// Sets `key` to the next `len` bytes of `source`, which are never whole in memory if they are many.
    pub fn put_reader(&mut self, key: &[u8], mut source: impl Read, len: u64) -> Result<()> {
        self.draft.put_reader(self.tree, key, &mut source, len, None)
    }

    /// The same, but after `ttl` it is as if it had been deleted.
    pub fn put_reader_with_ttl(
        &mut self,
        key: &[u8],
        mut source: impl Read,
        len: u64,
        ttl: Duration,
    ) -> Result<()> {
        let expires = self.draft.expires(Some(ttl));
        self.draft.put_reader(self.tree, key, &mut source, len, expires)
    }

    /// Sets many keys. Where a key comes twice, the later value stays.
    pub fn batch_put<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        pairs
            .into_iter()
            .try_for_each(|(key, value)| self.put(key.as_ref(), value.as_ref()))
    }

    /// Sets `key` unless it is there; whether it did.
    pub fn put_if_absent(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        let absent = !self.view()?.contains_key(key)?;
        if absent {
            self.put(key, value)?;
        }
        Ok(absent)
    }

    /// Sets `key` to `new`, or deletes it for `None`, if its value is `expected`, or if it is absent for `None`; whether it did.
    pub fn compare_and_swap(
        &mut self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        let same = self.view()?.get_ref(key)? == expected;
        if same {
            match new {
                Some(new) => self.put(key, new)?,
                None => self.draft.delete(self.tree, key)?,
            }
        }
        Ok(same)
    }

    /// Sets `key` to what `change` makes of its value, or deletes it for `None`; gives what was set.
    pub fn update(
        &mut self,
        key: &[u8],
        change: impl FnOnce(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>> {
        let new = change(self.view()?.get_ref(key)?);
        match &new {
            Some(value) => self.put(key, value)?,
            None => self.draft.delete(self.tree, key)?,
        }
        Ok(new)
    }

    /// Merges `operand` into the value of `key` with an operator that the options name. Unlike [`update`](Self::update) it reads
    /// nothing before the commit, so that it conflicts with nothing.
    pub fn merge(&mut self, key: &[u8], operator: &str, operand: &[u8]) -> Result<()> {
        self.draft.merge(self.tree, key, operator, operand)
    }

    /// Deletes `key`; whether it was there.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool> {
        let present = self.view()?.contains_key(key)?;
        if present {
            self.draft.delete(self.tree, key)?;
        }
        Ok(present)
    }

    /// Deletes `key` without a look at whether it is there.
    pub fn discard(&mut self, key: &[u8]) -> Result<()> {
        self.draft.delete(self.tree, key)
    }

    /// Deletes all keys in `range`. That costs the pages that they are in, not the keys.
    pub fn delete_range<K: AsRef<[u8]>>(&mut self, range: impl RangeBounds<K>) -> Result<()> {
        let (start, end) = KeyRange::of(&range).half_open();
        self.draft.delete_range(self.tree, &start, end.as_deref())
    }

    /// Creates a bucket in this one.
    pub fn create_bucket(&mut self, name: &[u8]) -> Result<BucketMut<'_, 'db>> {
        self.again().into_created(name)
    }

    /// The bucket of that name, created where there is none.
    pub fn create_bucket_if_absent(&mut self, name: &[u8]) -> Result<BucketMut<'_, 'db>> {
        self.again().into_created_if_absent(name)
    }

    /// The bucket of that name in this one.
    pub fn bucket_mut(&mut self, name: &[u8]) -> Result<BucketMut<'_, 'db>> {
        self.again().into_bucket_mut(name)
    }

    /// Deletes a bucket with all that is in it, buckets included.
    pub fn delete_bucket(&mut self, name: &[u8]) -> Result<()> {
        let tree = names::find(&self.draft.view(), self.tree, name)?;
        self.draft.discard_name(&names::name_key(self.tree, name)?);
        self.draft.drop_bucket(tree)
    }

    /// Gives a bucket another name. What is in it does not move.
    pub fn rename_bucket(&mut self, name: &[u8], to: &[u8]) -> Result<()> {
        let tree = names::find(&self.draft.view(), self.tree, name)?;
        if names::exists(&self.draft.view(), self.tree, to)? {
            return Err(Error::BucketExists { name: to.to_vec() });
        }
        self.draft.discard_name(&names::name_key(self.tree, name)?);
        self.draft.put_internal(
            TreeId::NAMES,
            &names::name_key(self.tree, to)?,
            &tree.0.to_le_bytes(),
        );
        Ok(())
    }

    /// The next number of the bucket's sequence, which begins at 1.
    pub fn next_sequence(&mut self) -> Result<u64> {
        let next = self.view()?.sequence()? + 1;
        self.draft.put_internal(
            TreeId::ATTRIBUTES,
            &names::sequence_key(self.tree),
            &next.to_le_bytes(),
        );
        Ok(next)
    }
}

impl<'t, 'db> BucketMut<'t, 'db> {
    fn again(&mut self) -> BucketMut<'_, 'db> {
        BucketMut {
            draft: self.draft,
            tree: self.tree,
        }
    }

    pub(crate) fn into_created(self, name: &[u8]) -> Result<BucketMut<'t, 'db>> {
        if names::exists(&self.draft.view(), self.tree, name)? {
            return Err(Error::BucketExists { name: name.to_vec() });
        }
        let tree = self.draft.core.new_tree();
        self.draft.put_internal(
            TreeId::NAMES,
            &names::name_key(self.tree, name)?,
            &tree.0.to_le_bytes(),
        );
        Ok(BucketMut {
            draft: self.draft,
            tree,
        })
    }

    pub(crate) fn into_created_if_absent(self, name: &[u8]) -> Result<BucketMut<'t, 'db>> {
        let exists = names::exists(&self.draft.view(), self.tree, name)?;
        if exists {
            self.into_bucket_mut(name)
        } else {
            self.into_created(name)
        }
    }

    /// Goes down into the bucket of that name.
    pub fn into_bucket_mut(self, name: &[u8]) -> Result<BucketMut<'t, 'db>> {
        let tree = names::find(&self.draft.view(), self.tree, name)?;
        Ok(BucketMut {
            draft: self.draft,
            tree,
        })
    }

    pub(crate) fn into_id(self, id: BucketId) -> BucketMut<'t, 'db> {
        BucketMut {
            draft: self.draft,
            tree: id.0,
        }
    }

    pub(crate) fn savepoint(self) -> Savepoint {
        self.draft.savepoint()
    }

    pub(crate) fn rollback_to(self, savepoint: &Savepoint) -> Result<()> {
        self.draft.rollback_to(savepoint)
    }

    /// The bucket for reading.
    pub fn as_bucket(&self) -> Result<Bucket<'_>> {
        self.view()
    }

    /// A copy of the value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.view()?.get(key)
    }
}

//! Copies trees, entry by entry, into a database in the making.

use std::path::Path;
use std::sync::Arc;

use crate::core::Core;
use crate::error::Result;
use crate::ids::TreeId;
use crate::op::{Entry, Value};
use crate::options::DatabaseOptions;
use crate::store::{PageStore, Snapshot};
use crate::transaction::{ReadTx, WriteTx};
use crate::tree;
use crate::upkeep::nascent::{BATCH, Nascent};
use crate::upkeep::progress::Meter;
use crate::upkeep::walk::catalog_entry;
use crate::values::ValueReader;

/// Writes entries of trees in commits of bounded size.
pub(crate) struct TreeWriter<'c> {
    core: &'c Core,
    tx: Option<WriteTx<'c>>,
}

impl<'c> TreeWriter<'c> {
    pub(crate) fn new(core: &'c Core) -> TreeWriter<'c> {
        TreeWriter { core, tx: None }
    }

    /// Sets a key of a tree; a large value is read from `from`.
    pub(crate) fn put(
        &mut self,
        tree: TreeId,
        key: &[u8],
        entry: &Entry<'_>,
        from: &PageStore,
    ) -> Result<()> {
        let draft = self.tx()?.draft_mut();
        match entry.value {
            Value::Inline(value) => draft.put_until(tree, key, value, entry.expires)?,
            Value::Large(large) => {
                let mut reader = ValueReader::large(from, large)?;
                draft.put_reader(tree, key, &mut reader, large.len, entry.expires)?;
            }
        }
        if draft.stage.bytes() >= BATCH {
            self.commit()?;
        }
        Ok(())
    }

    /// The transaction under way.
    pub(crate) fn tx(&mut self) -> Result<&mut WriteTx<'c>> {
        if self.tx.is_none() {
            self.tx = Some(WriteTx::begin(self.core)?);
        }
        Ok(self.tx.as_mut().expect("there is one now"))
    }

    pub(crate) fn commit(&mut self) -> Result<()> {
        match self.tx.take() {
            Some(tx) => tx.commit().map(drop),
            None => Ok(()),
        }
    }
}

/// Copies the newest visible state of a database into a new one at `path`, whose pages are full. Gives the number of keys.
pub(crate) fn compact_to(
    core: &Core,
    path: &Path,
    options: DatabaseOptions,
    meter: &mut Meter<'_>,
) -> Result<u64> {
    let vfs = options.vfs.clone().unwrap_or_else(|| Arc::clone(&core.vfs));
    let nascent = Nascent::new(path, vfs, false)?;
    let to = nascent.open(options)?;
    let tx = ReadTx::begin(core);
    let view = tx.view();
    let fixed = [TreeId::NAMES, TreeId::ATTRIBUTES, TreeId::ROOT];
    let record = |tree: TreeId| view.roots.fixed[tree.0 as usize];
    meter.set_total(fixed.map(|tree| record(tree).len).iter().sum());
    let mut keys = 0;
    let mut writer = TreeWriter::new(&to);
    for tree in fixed {
        keys += copy_tree(&view.pages, tree, record(tree).root, &mut writer, meter)?;
    }
    let mut catalog = tree::Cursor::new(view.pages, view.roots.catalog.root);
    while let Some((key, entry)) = catalog.next()? {
        let (tree, record) = catalog_entry(key, &entry).ok_or_else(|| {
            let what = "the catalog has an entry that is no tree's";
            crate::Error::corrupt(&core.path, None, what)
        })?;
        keys += copy_tree(&view.pages, tree, record.root, &mut writer, meter)?;
    }
    writer.commit()?;
    drop(writer);
    view.check_mapping()?;
    nascent.close(to)?;
    nascent.finish()?;
    meter.finish()?;
    Ok(keys)
}

fn copy_tree(
    pages: &Snapshot<'_>,
    tree: TreeId,
    root: tree::Root,
    writer: &mut TreeWriter<'_>,
    meter: &mut Meter<'_>,
) -> Result<u64> {
    let mut cursor = tree::Cursor::new(*pages, root);
    let mut keys = 0;
    while let Some((key, entry)) = cursor.next()? {
        writer.put(tree, key, &entry, pages.store())?;
        meter.add(1)?;
        keys += 1;
    }
    Ok(keys)
}

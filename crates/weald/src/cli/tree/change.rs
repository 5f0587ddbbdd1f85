//! `weald tree put`, `del` and `drop`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use weald_proof::{Element, Reference};
use weald_tree::{Error, TreeKind, TreeTx};

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::input::{self, Value};
use crate::cli::output::Output;
use crate::cli::place;
use crate::cli::text;
use crate::cli::tree::path::{TreePath, reference};
use crate::cli::tree::store::{self, Trees};

/// An item is read into memory whole, so it may not be larger.
const ITEM_MAX: u64 = 256 << 20;

/// Set a key of a tree, and make the database where there is none
///
/// It becomes an item, unless an option says something else. An item's bytes are the argument, or what --file names, or come from standard
/// input. A key that holds a subtree is left alone. When the command ends with 0, it is on the disk.
#[derive(Args, Debug)]
pub(crate) struct Put {
    /// The key, with the path that leads there: /users/ann
    path: TreePath,
    #[command(flatten)]
    what: What,
    /// Create the subtrees that lead there, where there are none
    #[arg(short, long)]
    parents: bool,
    /// The item as argument is given in hexadecimal
    #[arg(short = 'x', long)]
    hex: bool,
    /// Write {"put":true,"root":…}, with the root hash over everything
    #[arg(long)]
    json: bool,
}

/// What a key is set to.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct What {
    /// The item; from standard input where no other is named
    #[arg(allow_negative_numbers = true)]
    value: Option<OsString>,
    /// Read the item from this file; - is standard input
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Put a number that counts in the sum of its tree
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    sum: Option<i64>,
    /// Create a subtree
    #[arg(long)]
    tree: bool,
    /// Create a subtree that shows its sum, which counts in the tree above too
    #[arg(long)]
    sum_tree: bool,
    /// Create a subtree that shows its number of entries
    #[arg(long)]
    count_tree: bool,
    /// Put a reference: to /users/ann, or ../ann, one tree outwards, or ann, in the same tree
    #[arg(long, value_name = "PATH", value_parser = reference)]
    reference: Option<Reference>,
}

/// Delete a key of a tree that holds no subtree
///
/// Exits with 1 if it was not there.
#[derive(Args, Debug)]
pub(crate) struct Del {
    /// The key, with the path that leads there
    path: TreePath,
    /// Write {"deleted":…,"root":…}
    #[arg(long)]
    json: bool,
}

/// Drop a subtree with all that is in it
///
/// That takes the same time however much it is. Its space is given back with --reclaim, now or by a later command.
#[derive(Args, Debug)]
pub(crate) struct Drop {
    /// The subtree's path
    #[arg(required_unless_present = "reclaim")]
    path: Option<TreePath>,
    /// Give back the space of all that was ever dropped
    #[arg(long)]
    reclaim: bool,
    /// Write {"dropped":…,"reclaimed":…,"root":…}; of what was reclaimed the number of entries
    #[arg(long)]
    json: bool,
}

/// What is put.
enum New {
    Element(Element),
    Subtree(TreeKind),
}

impl Put {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let (tree, key) = held(&self.path)?;
        // The item first, so that nobody waits for the database while it is typed.
        let new = self.what.element(place::path(db)?, self.hex)?;
        let trees = store::write_or_create(db)?;
        commit(&trees, &self.path, |tx| {
            if self.parents {
                parents(tx, &tree)?;
            }
            match &new {
                New::Element(element) => tx.put(&tree.segments(), key, element.clone()),
                New::Subtree(kind) => tx.create_tree(&tree.segments(), key, *kind).map(drop),
            }
        })?;
        told(trees, self.json, |out, root| {
            out.json(false, |object| object.truth("put", true)?.text("root", root))
        })?;
        Ok(Outcome::Done)
    }
}

impl What {
    fn element(&self, db: &Path, hex: bool) -> Result<New> {
        let subtree = [
            (self.tree, TreeKind::Plain),
            (self.sum_tree, TreeKind::Sum),
            (self.count_tree, TreeKind::Count),
        ];
        if let Some((_, kind)) = subtree.into_iter().find(|(asked, _)| *asked) {
            return Ok(New::Subtree(kind));
        }
        Ok(New::Element(match (self.sum, &self.reference) {
            (Some(number), _) => Element::SumItem(number),
            (_, Some(reference)) => Element::Reference(reference.clone()),
            _ => Element::Item(self.item(db, hex)?),
        }))
    }

    fn item(&self, db: &Path, hex: bool) -> Result<Vec<u8>> {
        let spool = input::directory_of(db);
        let value = match (&self.value, &self.file) {
            (Some(value), _) => return input::argument(value, hex),
            (None, Some(file)) => Value::file(file, spool)?,
            (None, None) => Value::stdin(spool)?,
        };
        if value.len > ITEM_MAX {
            return Err(Failure::Usage(format!(
                "an item may have {} at most, and this one has {}",
                text::size(ITEM_MAX),
                text::size(value.len)
            )));
        }
        value.into_bytes()
    }
}

/// Creates the subtrees of a path that are not there.
fn parents(tx: &mut TreeTx<'_>, path: &TreePath) -> weald_tree::Result<()> {
    let segments = path.segments();
    for (depth, key) in segments.iter().enumerate() {
        let above = &segments[..depth];
        match tx.get(above, key)? {
            Some(element) if element.subtree().is_some() => {}
            _ => drop(tx.create_tree(above, key, TreeKind::Plain)?),
        }
    }
    Ok(())
}

impl Del {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let (tree, key) = held(&self.path)?;
        let trees = store::write(db)?;
        let deleted = trees
            .store
            .transact(|tx| tx.delete(&tree.segments(), key))
            .map_err(|e| match e {
                Error::Occupied { .. } => {
                    Failure::Refused(format!("{} is a subtree: 'weald tree drop' drops it", self.path))
                }
                other => trees.failed_at(&self.path)(other),
            })?;
        told(trees, self.json, |out, root| {
            out.json(false, |object| {
                object.truth("deleted", deleted)?.text("root", root)
            })
        })?;
        if !deleted && !self.json {
            return Err(Failure::Refused(format!("there is no key {}", self.path)));
        }
        Ok(Outcome::of(deleted))
    }
}

impl Drop {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let at = self
            .path
            .as_ref()
            .map(|path| Ok((path, held(path)?)))
            .transpose()?;
        let trees = store::write(db)?;
        let dropped = match &at {
            Some((path, (tree, key))) => commit(&trees, path, |tx| tx.drop_tree(&tree.segments(), key))?,
            None => false,
        };
        let reclaimed = if self.reclaim {
            trees.store.reclaim(u64::MAX).map_err(trees.failed())?.entries
        } else {
            0
        };
        told(trees, self.json, |out, root| {
            out.json(false, |object| {
                object
                    .truth("dropped", dropped)?
                    .number("reclaimed", reclaimed)?
                    .text("root", root)
            })
        })?;
        match at {
            Some((path, _)) if !dropped && !self.json => {
                Err(Failure::Refused(format!("there is no subtree {path}")))
            }
            at => Ok(Outcome::of(dropped || at.is_none())),
        }
    }
}

/// The tree and the key of a path that names one.
fn held(path: &TreePath) -> Result<(TreePath, &[u8])> {
    path.split()
        .ok_or_else(|| Failure::Usage("/ is the outermost tree, which is no key: name one in it".to_owned()))
}

/// Makes a change in one transaction.
fn commit<T>(
    trees: &Trees,
    path: &TreePath,
    body: impl FnMut(&mut TreeTx<'_>) -> weald_tree::Result<T>,
) -> Result<T> {
    trees
        .store
        .transact(body)
        .map_err(|e: Error| trees.failed_at(path)(e))
}

/// Closes the database, and then tells of the change if that was asked for.
fn told(trees: Trees, json: bool, tell: impl FnOnce(&mut Output, &str) -> Result<()>) -> Result<()> {
    let root = trees.store.root().map_err(trees.failed())?.to_string();
    trees.close()?;
    if json {
        let mut out = Output::new();
        tell(&mut out, &root)?;
        out.finish()?;
    }
    Ok(())
}

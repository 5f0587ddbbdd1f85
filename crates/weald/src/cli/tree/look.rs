//! `weald tree get`, `ls`, `root` and `diff`: what is there.

use std::path::{Path, PathBuf};

use clap::Args;
use weald_proof::{Answer, Element, Entry, Query, Range};
use weald_tree::TreeSnapshot;

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::tree::path::{TreePath, shown_reference};
use crate::cli::tree::show::{Style, fields};
use crate::cli::tree::store::{self, Trees};

/// Write what a key of a tree holds to standard output
///
/// Of an item that is its bytes as they are, without a line end; on a terminal they are escaped. Of anything else it is a line: a number, where a
/// reference leads to, the root hash of a subtree and, after a tab, its sum or count.
#[derive(Args, Debug)]
pub(crate) struct Get {
    /// The key, with the path that leads there: /users/ann
    path: TreePath,
    /// If it is a reference, write what that leads to
    #[arg(short = 'L', long)]
    follow: bool,
    /// Write an item in hexadecimal
    #[arg(short = 'x', long)]
    hex: bool,
    /// Write {"path":…,"kind":…,…}; bytes that are not UTF-8 as {"hex":"00ff"}
    #[arg(long)]
    json: bool,
}

impl Get {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let Some((tree, key)) = self.path.split() else {
            return Err(Failure::Usage(
                "/ is the outermost tree, which no key holds: 'weald tree root' shows its hash".to_owned(),
            ));
        };
        let trees = store::read(db)?;
        let failed = trees.failed_at(&self.path);
        let snapshot = trees.store.snapshot().map_err(&failed)?;
        let element = if self.follow {
            snapshot.follow(&tree.segments(), key)
        } else {
            snapshot.get(&tree.segments(), key)
        };
        let Some(element) = element.map_err(&failed)? else {
            return Err(Failure::Refused(format!("there is no key {}", self.path)));
        };
        let mut out = Output::new();
        if self.json {
            out.json(self.hex, |object| {
                fields(object.text("path", &self.path.to_string())?, &element)
            })?;
        } else {
            self.show(&mut out, &element)?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }

    fn show(&self, out: &mut Output, element: &Element) -> Result<()> {
        match element {
            Element::Item(bytes) if self.hex || out.is_terminal() => {
                out.readable(bytes, self.hex)?;
                out.line("")
            }
            Element::Item(bytes) => out.raw(bytes),
            Element::SumItem(number) => out.line(number),
            Element::Tree(root) => out.line(root),
            Element::SumTree { root, sum } => out.line(format_args!("{root}\t{sum}")),
            Element::CountTree { root, count } => out.line(format_args!("{root}\t{count}")),
            Element::Reference(reference) => out.line(shown_reference(reference)),
        }
    }
}

/// List the keys of a tree
///
/// A line has the path, what the key holds in a word, and that itself; items and paths are escaped.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// The tree
    #[arg(default_value = "/")]
    path: TreePath,
    /// List the trees in it too
    #[arg(short, long)]
    recursive: bool,
    /// Items are shown in hexadecimal
    #[arg(short = 'x', long)]
    hex: bool,
    /// Write {"path":…,"key":…,"kind":…,…} a line
    #[arg(long)]
    json: bool,
}

/// So many entries are in memory at once.
const AT_ONCE: u64 = 1_000;

impl Ls {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let trees = store::read(db)?;
        let failed = trees.failed();
        let snapshot = trees.store.snapshot().map_err(&failed)?;
        let style = Style {
            hex: self.hex,
            json: self.json,
        };
        let mut out = Output::new();
        // Where to go on, the tree listed at the moment last.
        let mut waiting = vec![(self.path.clone(), Vec::new())];
        while let Some((path, from)) = waiting.pop() {
            let mut entries = some(&trees, &snapshot, &path, from)?.into_iter();
            while let Some(entry) = entries.next() {
                style.entry(&mut out, None, &path, &entry.key, &entry.element)?;
                let is_tree = self.recursive && entry.element.subtree().is_some();
                if is_tree || entries.len() == 0 {
                    waiting.push((path.clone(), [&entry.key[..], &[0]].concat()));
                }
                if is_tree {
                    waiting.push((path.join(&entry.key), Vec::new()));
                    break;
                }
            }
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}

fn some(trees: &Trees, snapshot: &TreeSnapshot<'_>, path: &TreePath, from: Vec<u8>) -> Result<Vec<Entry>> {
    let range = Range {
        start: from,
        end: None,
    };
    let query = Query::entries([range]).limit(AT_ONCE).at(path.segments());
    match snapshot.query(&query).map_err(trees.failed())? {
        Answer::Entries(entries) => Ok(entries),
        _ => Err(Failure::Refused(format!("there is no subtree {path}"))),
    }
}

/// Print the root hash of all trees, or of one
#[derive(Args, Debug)]
pub(crate) struct Root {
    /// The tree
    #[arg(default_value = "/")]
    path: TreePath,
    /// Write {"path":…,"root":…}, and of a subtree what it shows of itself
    #[arg(long)]
    json: bool,
}

impl Root {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let trees = store::read(db)?;
        let failed = trees.failed_at(&self.path);
        let snapshot = trees.store.snapshot().map_err(&failed)?;
        let element = match self.path.split() {
            None => Element::Tree(snapshot.root().map_err(&failed)?),
            Some((tree, key)) => snapshot
                .get(&tree.segments(), key)
                .map_err(&failed)?
                .filter(|element| element.subtree().is_some())
                .ok_or_else(|| Failure::Refused(format!("there is no subtree {}", self.path)))?,
        };
        let mut out = Output::new();
        if self.json {
            out.json(false, |object| {
                fields(object.text("path", &self.path.to_string())?, &element)
            })?;
        } else if let Some(root) = element.subtree() {
            out.line(root)?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}

/// List what differs between the trees of two databases
///
/// It takes time in proportion to the difference. A line begins with - for what only OTHER has and + for what only this database has; what
/// both have differently comes with both. Of a subtree that both have, what differs in it is listed. Exits with 1 if there is a difference.
#[derive(Args, Debug)]
pub(crate) struct Diff {
    /// The other database's file: an earlier copy, or a replica
    #[arg(value_name = "OTHER", value_hint = clap::ValueHint::FilePath)]
    other: PathBuf,
    /// Items are shown in hexadecimal
    #[arg(short = 'x', long)]
    hex: bool,
    /// Write {"change":"+","path":…,"key":…,"kind":…,…} a line
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let trees = store::read(db)?;
        let other = store::read(Some(&self.other))?;
        let before = other.store.snapshot().map_err(other.failed())?;
        let now = trees.store.snapshot().map_err(trees.failed())?;
        let differences = before.diff(&now).map_err(trees.failed())?;
        let style = Style {
            hex: self.hex,
            json: self.json,
        };
        let mut out = Output::new();
        for difference in &differences {
            let path = TreePath::of(&difference.path);
            for (mark, element) in [("-", &difference.before), ("+", &difference.after)] {
                if let Some(element) = element {
                    style.entry(&mut out, Some(mark), &path, &difference.key, element)?;
                }
            }
        }
        out.finish()?;
        Ok(Outcome::of(differences.is_empty()))
    }
}

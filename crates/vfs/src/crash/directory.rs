//! The names of the simulated disk: as programs see them, as they are surely on the medium, and the changes
//! in between.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::chance::Choose;
use crate::rules::{is_root, parent};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Dir,
    /// The file's place in the table of inodes.
    File(usize),
}

type Name = Arc<OsStr>;

/// Names and what they stand for, sorted. A directory comes before what is in it.
#[derive(Clone, Debug, Default)]
struct Listing {
    entries: Vec<(Name, Entry)>,
}

impl Listing {
    fn find(&self, name: &OsStr) -> Result<usize, usize> {
        self.entries.binary_search_by(|(other, _)| (**other).cmp(name))
    }

    fn get(&self, name: &OsStr) -> Option<Entry> {
        self.find(name).ok().map(|i| self.entries[i].1)
    }

    fn put(&mut self, name: Name, entry: Entry) {
        match self.find(&name) {
            Ok(i) => self.entries[i].1 = entry,
            Err(i) => self.entries.insert(i, (name, entry)),
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(name, entry) => self.put(Arc::clone(name), *entry),
            Change::Remove(name, entry) => {
                if let Ok(i) = self.find(name)
                    && self.entries[i].1 == *entry
                {
                    self.entries.remove(i);
                }
            }
            Change::Rename(to, entry) => {
                self.entries.retain(|(_, other)| other != entry);
                self.put(Arc::clone(to), *entry);
            }
        }
    }

    /// Drops what lies in directories that aren't there.
    fn drop_orphans(&mut self) {
        let mut kept = Listing::default();
        for (name, entry) in self.entries.drain(..) {
            let dir = parent(Path::new(&*name));
            if is_root(dir) || kept.get(dir.as_os_str()) == Some(Entry::Dir) {
                kept.entries.push((name, entry));
            }
        }
        *self = kept;
    }
}

/// A change that may or may not survive a crash. It is about an inode, so it makes sense whether or not those
/// before it survive.
#[derive(Clone, Debug)]
enum Change {
    Put(Name, Entry),
    Remove(Name, Entry),
    /// The file gets this name and loses the one it had.
    Rename(Name, Entry),
}

impl Change {
    fn path(&self) -> &Path {
        let (Change::Put(name, _) | Change::Remove(name, _) | Change::Rename(name, _)) = self;
        Path::new(&**name)
    }

    /// The directory whose flush makes it durable.
    fn dir(&self) -> &Path {
        parent(self.path())
    }

    fn entry(&self) -> Entry {
        let (Change::Put(_, entry) | Change::Remove(_, entry) | Change::Rename(_, entry)) = self;
        *entry
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    now: Listing,
    durable: Listing,
    /// What is in `now` and not in `durable`, oldest first.
    pending: Vec<Change>,
}

/// Paths given to these methods are plain ones.
impl Directory {
    pub(super) fn get(&self, path: &Path) -> Option<Entry> {
        if is_root(path) {
            return Some(Entry::Dir);
        }
        self.now.get(path.as_os_str())
    }

    /// Whether something may get the name `path`.
    pub(super) fn check_parent(&self, path: &Path) -> io::Result<()> {
        match self.get(parent(path)) {
            Some(Entry::Dir) => Ok(()),
            Some(Entry::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn is_empty(&self, dir: &Path) -> bool {
        !self
            .now
            .entries
            .iter()
            .any(|(name, _)| Path::new(&**name).parent() == Some(dir))
    }

    /// The files in `dir`, in order of name; everywhere for `None`.
    pub(super) fn files(&self, dir: Option<&Path>) -> impl Iterator<Item = &Path> {
        let files = self.now.entries.iter().filter(|(_, entry)| *entry != Entry::Dir);
        files
            .map(|(name, _)| Path::new(&**name))
            .filter(move |path| dir.is_none_or(|dir| parent(path) == dir))
    }

    pub(super) fn put(&mut self, path: &Path, entry: Entry) {
        self.change(Change::Put(path.as_os_str().into(), entry));
    }

    pub(super) fn remove(&mut self, path: &Path, entry: Entry) {
        self.change(Change::Remove(path.as_os_str().into(), entry));
    }

    pub(super) fn rename(&mut self, to: &Path, entry: Entry) {
        self.change(Change::Rename(to.as_os_str().into(), entry));
    }

    fn change(&mut self, change: Change) {
        self.now.apply(&change);
        self.pending.push(change);
    }

    /// Makes the names in `dir` durable.
    pub(super) fn sync(&mut self, dir: &Path) {
        let mut kept: Vec<Change> = Vec::new();
        for change in self.pending.drain(..) {
            if change.dir() != dir {
                kept.push(change);
                continue;
            }
            self.durable.apply(&change);
            if let Change::Rename(_, entry) = change {
                // The name it had in another directory is gone for good.
                kept.retain(|earlier| earlier.entry() != entry);
            }
        }
        self.pending = kept;
    }

    /// Makes `path` and the directories above it durable, whatever else was pending.
    pub(super) fn settle(&mut self, path: &Path) {
        for name in path.ancestors() {
            if let Some(entry) = self.now.get(name.as_os_str()) {
                self.durable.put(name.as_os_str().into(), entry);
                self.pending.retain(|change| {
                    change.path() != name && (change.entry() != entry || entry == Entry::Dir)
                });
            }
        }
    }

    /// The names that programs see.
    pub(super) fn visible(&self) -> impl Iterator<Item = Entry> {
        self.now.entries.iter().map(|(_, entry)| *entry)
    }

    /// The inodes that some crash could still bring to light, or that have a name.
    pub(super) fn reachable(&self) -> impl Iterator<Item = usize> {
        let listed = self
            .now
            .entries
            .iter()
            .chain(&self.durable.entries)
            .map(|(_, entry)| *entry);
        listed
            .chain(self.pending.iter().map(Change::entry))
            .filter_map(|entry| match entry {
                Entry::File(inode) => Some(inode),
                Entry::Dir => None,
            })
    }

    /// The names as they are found after the power was cut; `inode` takes each surviving file over and says
    /// its place.
    pub(super) fn after_crash(
        &self,
        choose: &mut dyn Choose,
        mut inode: impl FnMut(usize, &mut dyn Choose) -> usize,
    ) -> Directory {
        let mut found = self.durable.clone();
        if !self.pending.is_empty() {
            choose.group();
            for change in &self.pending {
                if choose.pick(2) == 1 {
                    found.apply(change);
                }
            }
            found.drop_orphans();
        }
        for (_, entry) in &mut found.entries {
            if let Entry::File(old) = entry {
                *entry = Entry::File(inode(*old, choose));
            }
        }
        Directory {
            now: found.clone(),
            durable: found,
            pending: Vec::new(),
        }
    }
}

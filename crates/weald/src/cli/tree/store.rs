//! The trees of a database: opening them, and what it means when something about them fails.

use std::path::Path;

use weald_tree::{Error, TreeStore};

use crate::cli::failure::{Failure, Result};
use crate::cli::place::{self, Open};
use crate::cli::tree::path::TreePath;

/// A database that is open, for its trees.
pub(crate) struct Trees {
    pub(crate) store: TreeStore,
    open: Open,
}

/// Opens what is there for reading.
pub(crate) fn read(db: Option<&Path>) -> Result<Trees> {
    of(place::read(db)?)
}

/// Opens what is there for writing.
pub(crate) fn write(db: Option<&Path>) -> Result<Trees> {
    of(place::write(db)?)
}

/// Opens for writing, and makes database and trees where there are none.
pub(crate) fn write_or_create(db: Option<&Path>) -> Result<Trees> {
    begun(place::write_or_create(db)?)
}

/// Refuses a database without trees, so that none appear in it.
fn of(open: Open) -> Result<Trees> {
    if !TreeStore::is_in(&open.db).map_err(|e| failure(&open, e))? {
        return Err(Failure::Refused(
            "there are no trees in this database: 'weald tree put' makes them".to_owned(),
        ));
    }
    begun(open)
}

fn begun(open: Open) -> Result<Trees> {
    let store = TreeStore::open(open.db.clone()).map_err(|e| failure(&open, e))?;
    Ok(Trees { store, open })
}

impl Trees {
    /// Says what failed.
    pub(crate) fn failed(&self) -> impl Fn(Error) -> Failure + '_ {
        |e| failure(&self.open, e)
    }

    /// The same of something at a path.
    pub(crate) fn failed_at<'a>(&'a self, path: &'a TreePath) -> impl Fn(Error) -> Failure + 'a {
        |e| match e {
            Error::NoSubtree { depth } => {
                let missing = path.segments()[..=depth.min(path.segments().len() - 1)]
                    .iter()
                    .map(|segment| segment.to_vec())
                    .collect::<Vec<_>>();
                Failure::Refused(format!("there is no subtree {}", TreePath::of(&missing)))
            }
            other => failure(&self.open, other),
        }
    }

    /// Closes the database, with all its data in the one file.
    pub(crate) fn close(self) -> Result<()> {
        let Trees { store, open } = self;
        drop(store);
        open.close()
    }
}

fn failure(open: &Open, e: Error) -> Failure {
    match e {
        Error::Engine(e) => open.failed()(e),
        Error::Damaged(damage) => Failure::Damaged(damage.to_string()),
        e @ (Error::KeyTooLong { .. }
        | Error::PathTooLong { .. }
        | Error::InvalidElement { .. }
        | Error::Overflow
        | Error::Query(_)) => Failure::Usage(e.to_string()),
        e => Failure::Refused(e.to_string()),
    }
}

//! Which database a command works on, and how it may be opened.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weald::{Database, DatabaseOptions};

use crate::cli::failure::{Failure, Result};

/// A database that is open, with its path for messages.
pub(crate) struct Open {
    // Dropped before the database is, so that it is gone before others can open it.
    fresh: Fresh,
    pub(crate) db: Arc<Database>,
    path: PathBuf,
}

impl Open {
    /// Says in which database the engine failed.
    pub(crate) fn failed(&self) -> impl Fn(weald::Error) -> Failure + '_ {
        |e| Failure::Database(self.path.clone(), Box::new(e))
    }

    /// Lets it stay even if what it was made for fails.
    pub(crate) fn keep(&mut self) {
        self.fresh.path = None;
    }

    /// Closes it, with all its data in the one file.
    pub(crate) fn close(self) -> Result<()> {
        let Open { mut fresh, db, path } = self;
        fresh.path = None;
        let db = Arc::into_inner(db).expect("what it was shared with is gone before it is closed");
        db.close().map_err(|e| Failure::Database(path, Box::new(e)))
    }
}

/// A database that this process has made, and that goes again if nothing was ever put into it.
#[derive(Default)]
struct Fresh {
    path: Option<PathBuf>,
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // An empty database that stays does no harm.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What the flag and the environment say of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    path: Option<&'a Path>,
    by_flag: bool,
}

impl<'a> Given<'a> {
    /// `by_flag`: the path is not from the environment.
    pub(crate) fn new(path: Option<&'a Path>, by_flag: bool) -> Given<'a> {
        Given {
            path: path.filter(|path| !path.as_os_str().is_empty()),
            by_flag,
        }
    }

    /// Whether a database is named without a word of the command's own.
    pub(crate) fn is_named(self) -> bool {
        self.path.is_some()
    }

    /// The database, which the command's arguments may name as well: that counts more than the environment, and not beside the flag. `usage` is what to
    /// type where nothing names it.
    pub(crate) fn or(self, argument: Option<&'a Path>, usage: &str) -> Result<&'a Path> {
        match (self.path, argument) {
            (Some(flag), Some(argument)) if self.by_flag && flag != argument => Err(Failure::Usage(format!(
                "two databases are named, {} with --db and {} without: name one",
                flag.display(),
                argument.display()
            ))),
            (_, Some(path)) | (Some(path), None) => Ok(path),
            (None, None) => Err(Failure::Usage(format!(
                "which database? type 'weald {usage}', or name it with --db FILE or in the environment variable WEALD_DB"
            ))),
        }
    }
}

/// The path that was given.
pub(crate) fn path(db: Option<&Path>) -> Result<&Path> {
    match db {
        Some(path) if !path.as_os_str().is_empty() => Ok(path),
        _ => Err(Failure::Usage(
            "which database? name its file with --db FILE, or in the environment variable WEALD_DB"
                .to_owned(),
        )),
    }
}

/// Refuses a path that has no file, so that nothing appears there.
pub(crate) fn existing(db: Option<&Path>) -> Result<&Path> {
    let path = path(db)?;
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Err(Failure::Usage(format!(
            "{} is a directory: name the database's file with --db",
            path.display()
        ))),
        Ok(_) => Ok(path),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Failure::Refused(format!(
            "there is no database {}: name another with --db, or make one with 'weald set' or 'weald load'",
            path.display()
        ))),
        Err(e) => Err(Failure::file("open", path)(e)),
    }
}

/// Opens for reading what is there.
pub(crate) fn read(db: Option<&Path>) -> Result<Open> {
    open(existing(db)?, DatabaseOptions::new().read_only(true))
}

/// Opens for writing what is there.
pub(crate) fn write(db: Option<&Path>) -> Result<Open> {
    open(existing(db)?, DatabaseOptions::new())
}

/// Opens for writing, and makes the database where there is none.
pub(crate) fn write_or_create(db: Option<&Path>) -> Result<Open> {
    let path = path(db)?;
    if path.is_dir() {
        return existing(db).and_then(|path| open(path, DatabaseOptions::new()));
    }
    let was_absent = !path.exists();
    let mut open = open(path, DatabaseOptions::new())?;
    // Another process may have made it in between, and put something into it. From now on it can't.
    if was_absent && open.db.stats().txid.0 == 0 {
        open.fresh.path = Some(path.to_owned());
        let _ = writeln!(std::io::stderr(), "weald: made the database {}", path.display());
    }
    Ok(open)
}

fn open(path: &Path, options: DatabaseOptions) -> Result<Open> {
    match Database::open_with_options(path, options) {
        Ok(db) => Ok(Open {
            fresh: Fresh::default(),
            db: Arc::new(db),
            path: path.to_owned(),
        }),
        Err(e) => Err(Failure::Database(path.to_owned(), Box::new(e))),
    }
}

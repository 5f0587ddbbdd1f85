//! Files that appear whole or not at all: written under another name, flushed, then renamed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::failure::{Failure, Result};
use crate::cli::input;
use crate::cli::interrupt::Unwanted;

/// A file in the making. Dropped before it is finished, it leaves nothing.
pub(crate) struct Nascent {
    path: PathBuf,
    file: File,
    /// Its name until then; none where the path is a device or a pipe, which is written to as it is.
    temporary: Option<Temporary>,
}

struct Temporary {
    path: PathBuf,
    _unwanted: Unwanted,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Once it is renamed there is nothing of this name.
        let _ = fs::remove_file(&self.path);
    }
}

/// Refuses a path that is taken, unless it may be overwritten.
pub(crate) fn refuse_existing(path: &Path, force: bool) -> Result<()> {
    if !force && fs::symlink_metadata(path).is_ok() {
        return Err(Failure::Refused(format!(
            "{} exists already: name another file, or overwrite it with --force",
            path.display()
        )));
    }
    Ok(())
}

impl Nascent {
    pub(crate) fn new(path: &Path, force: bool) -> Result<Nascent> {
        let failed = |e| Failure::file("write", path)(e);
        if fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
            let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
            return Ok(Nascent {
                path: path.to_owned(),
                file,
                temporary: None,
            });
        }
        refuse_existing(path, force)?;
        if path.is_dir() {
            return Err(Failure::Usage(format!(
                "{} is a directory: name a file",
                path.display()
            )));
        }
        // What a link leads to is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut name = path.clone().into_os_string();
        name.push(".part");
        let name = PathBuf::from(name);
        let file = claim(&name)?;
        let temporary = Temporary {
            _unwanted: Unwanted::new(&name),
            path: name,
        };
        file.set_len(0).map_err(Failure::file("write", &temporary.path))?;
        Ok(Nascent {
            path,
            file,
            temporary: Some(temporary),
        })
    }

    /// Gives the file its name, once all of it is on the disk.
    pub(crate) fn finish(self) -> Result<()> {
        let Some(temporary) = &self.temporary else {
            return Ok(());
        };
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&temporary.path, &self.path))
            .and_then(|()| File::open(input::directory_of(&self.path))?.sync_all())
            .map_err(Failure::file("write", &self.path))
    }
}

impl Write for Nascent {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Opens the file for this process alone. One that a killed process has left is taken over.
fn claim(path: &Path) -> Result<File> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Failure::file("write", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::Refused(format!(
                    "another process is writing {}: wait for it, or name another file",
                    path.display()
                )));
            }
            Err(TryLockError::Error(e)) => return Err(Failure::file("lock", path)(e)),
        }
        // Its last owner may have renamed it between the two calls: then it is not ours to write to.
        let ours = file.metadata().map_err(Failure::file("look at", path))?;
        if fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut half = Nascent::new(&path, false).unwrap();
        half.write_all(b"half").unwrap();
        assert!(matches!(Nascent::new(&path, false), Err(Failure::Refused(_))));
        drop(half);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        // Left by a process that was killed.
        fs::write(dir.path().join("out.part"), b"a longer text than the next").unwrap();
        let mut whole = Nascent::new(&path, false).unwrap();
        whole.write_all(b"whole").unwrap();
        whole.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");

        assert!(matches!(Nascent::new(&path, false), Err(Failure::Refused(_))));
        let mut other = Nascent::new(&path, true).unwrap();
        other.write_all(b"other").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        other.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"other");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&path, b"old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut file = Nascent::new(&link, true).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}

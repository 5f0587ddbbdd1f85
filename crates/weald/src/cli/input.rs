//! Where a value comes from: the command line, a file, or standard input, in memory only if it is small.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Cursor, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::cli::failure::{Failure, Result};
use crate::cli::text;

/// What comes from a pipe is kept in memory up to this, and in a file beyond it.
const MEMORY_MAX: u64 = 1 << 20;

/// The bytes that an argument stands for.
pub(crate) fn argument(argument: &OsStr, hex: bool) -> Result<Vec<u8>> {
    if !hex {
        return Ok(argument.as_bytes().to_vec());
    }
    let digits = argument.to_string_lossy();
    text::unhex(&digits).map_err(Failure::Usage)
}

/// A value whose length is known before it is read.
pub(crate) struct Value {
    source: Box<dyn Read>,
    pub(crate) len: u64,
}

impl Read for Value {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.read(buf)
    }
}

impl Value {
    /// A value that is in memory.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Value {
        Value {
            len: bytes.len() as u64,
            source: Box::new(Cursor::new(bytes)),
        }
    }

    /// The value in a file; `-` is standard input. What comes from a pipe is put into an unnamed file in `spool` until its length is known.
    pub(crate) fn file(path: &Path, spool: &Path) -> Result<Value> {
        if path == "-" {
            return Value::stdin(spool);
        }
        let file = File::open(path).map_err(Failure::file("open", path))?;
        Value::of(file, spool).map_err(Failure::file("read", path))
    }

    /// The value on standard input.
    pub(crate) fn stdin(spool: &Path) -> Result<Value> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            let _ = writeln!(io::stderr(), "weald: type the value, and Ctrl-D twice to end it");
        }
        stdin
            .as_fd()
            .try_clone_to_owned()
            .and_then(|fd| Value::of(File::from(fd), spool))
            .map_err(|e| Failure::Io("read the value".to_owned(), e))
    }

    fn of(mut file: File, spool: &Path) -> io::Result<Value> {
        let meta = file.metadata()?;
        // A file that says it is empty may be one of those that the kernel makes up as they are read.
        if meta.is_file() && meta.len() > 0 {
            let at = file.stream_position()?;
            return Ok(Value {
                len: meta.len().saturating_sub(at),
                source: Box::new(file),
            });
        }
        let mut head = Vec::new();
        (&mut file).take(MEMORY_MAX).read_to_end(&mut head)?;
        if (head.len() as u64) < MEMORY_MAX {
            return Ok(Value::bytes(head));
        }
        let mut spooled = tempfile::tempfile_in(spool)?;
        spooled.write_all(&head)?;
        let len = head.len() as u64 + io::copy(&mut file, &mut spooled)?;
        spooled.seek(SeekFrom::Start(0))?;
        Ok(Value {
            len,
            source: Box::new(spooled),
        })
    }

    /// The whole value, for those who can't take it in pieces.
    pub(crate) fn into_bytes(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.source
            .read_to_end(&mut bytes)
            .map_err(|e| Failure::Io("read the value".to_owned(), e))?;
        Ok(bytes)
    }
}

/// The directory of a file.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

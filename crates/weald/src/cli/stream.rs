//! Long streams of bytes: where backups and dumps go to and come from.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Read, StdoutLock, Write};
use std::path::{Path, PathBuf};

use crate::cli::failure::{Failure, Result};
use crate::cli::replace::Nascent;

const BUFFER: usize = 256 << 10;

/// A file in the making, or standard output.
///
/// It keeps the error of a failed write, since what comes back from the engine only says that there was one.
pub(crate) struct Sink {
    path: PathBuf,
    to: To,
    failed: Option<io::Error>,
}

enum To {
    File(BufWriter<Nascent>),
    Stdout(BufWriter<StdoutLock<'static>>),
}

impl Sink {
    /// Writes to `path`, or to standard output for `-`, unless that is a terminal.
    pub(crate) fn new(path: &Path, force: bool) -> Result<Sink> {
        let to = if path.as_os_str() == "-" {
            let stdout = io::stdout().lock();
            if stdout.is_terminal() {
                return Err(Failure::Usage(
                    "this is nothing for a terminal: name a file, or send standard output to one".to_owned(),
                ));
            }
            To::Stdout(BufWriter::with_capacity(BUFFER, stdout))
        } else {
            To::File(BufWriter::with_capacity(BUFFER, Nascent::new(path, force)?))
        };
        Ok(Sink {
            path: path.to_owned(),
            to,
            failed: None,
        })
    }

    /// Lets the engine write, and tells whose fault it was if that failed: ours, or that of the database at `db`.
    pub(crate) fn write<T>(
        &mut self,
        db: &Path,
        body: impl FnOnce(&mut dyn Write) -> weald::Result<T>,
    ) -> Result<T> {
        let result = body(self);
        if let Some(e) = self.failed.take() {
            return Err(blame(&self.path, e));
        }
        result.map_err(|e| Failure::Database(db.to_owned(), Box::new(e)))
    }

    /// Everything was written: now the file gets its name.
    pub(crate) fn finish(self) -> Result<()> {
        match self.to {
            To::File(file) => file
                .into_inner()
                .map_err(|e| blame(&self.path, e.into_error()))?
                .finish(),
            To::Stdout(mut stdout) => stdout.flush().map_err(Failure::output),
        }
    }

    fn keep<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|e| {
            let kind = e.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some(e);
            }
            kind.into()
        })
    }
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let result = match &mut self.to {
            To::File(file) => file.write(buf),
            To::Stdout(stdout) => stdout.write(buf),
        };
        self.keep(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = match &mut self.to {
            To::File(file) => file.flush(),
            To::Stdout(stdout) => stdout.flush(),
        };
        self.keep(result)
    }
}

fn blame(path: &Path, e: io::Error) -> Failure {
    if path.as_os_str() == "-" || e.kind() == io::ErrorKind::BrokenPipe {
        Failure::output(e)
    } else {
        Failure::file("write", path)(e)
    }
}

/// Opens a file, or standard input for `-`, for reading; also its length where that is known.
pub(crate) fn source(path: &Path) -> Result<(Box<dyn Read>, Option<u64>)> {
    if path.as_os_str() == "-" {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Err(Failure::Usage(
                "standard input is the terminal: name a file, or send one there".to_owned(),
            ));
        }
        return Ok((Box::new(stdin.lock()), None));
    }
    let failed = |e| Failure::file("open", path)(e);
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if meta.is_dir() {
        return Err(Failure::Usage(format!(
            "{} is a directory: name a file",
            path.display()
        )));
    }
    let len = meta.is_file().then_some(meta.len());
    Ok((Box::new(BufReader::with_capacity(BUFFER, file)), len))
}

/// Refuses to mix a report into what is written.
pub(crate) fn refuse_report(to: &Path, json: bool) -> Result<()> {
    if json && to.as_os_str() == "-" {
        return Err(Failure::Usage(
            "--json writes to standard output, and so would this: name a file".to_owned(),
        ));
    }
    Ok(())
}

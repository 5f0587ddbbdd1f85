//! Messages of a server: a line each, to standard error or a file.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use log::{LevelFilter, Log, Metadata, Record};

use crate::cli::failure::{Failure, Result};

struct Journal {
    /// Standard error without one.
    file: Option<Mutex<File>>,
}

/// Writes messages of this level, in the words of Redis, and graver ones from now on.
pub(crate) fn start(level: &str, path: &str) -> Result<()> {
    let file = match path {
        "" => None,
        path => {
            let path = Path::new(path);
            let opened = File::options().create(true).append(true).open(path);
            Some(Mutex::new(opened.map_err(Failure::file("open", path))?))
        }
    };
    // Only one server runs in a process, so there is only one journal.
    if log::set_boxed_logger(Box::new(Journal { file })).is_ok() {
        log::set_max_level(match level {
            "debug" => LevelFilter::Trace,
            "verbose" => LevelFilter::Debug,
            "notice" => LevelFilter::Info,
            "warning" => LevelFilter::Warn,
            _ => LevelFilter::Off,
        });
    }
    Ok(())
}

impl Log for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // What clients have sent may be in a message: it stays one line.
        let message = record.args().to_string().replace(['\r', '\n'], " ");
        let level = record.level().as_str().to_ascii_lowercase();
        let line = format!(
            "{} {}.{:03} {level}: {message}\n",
            std::process::id(),
            since.as_secs(),
            since.subsec_millis()
        );
        // A message that can't be written has nobody to be told of it.
        let _ = match &self.file {
            Some(file) => file
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }

    fn flush(&self) {}
}

//! Ctrl-C: what is half made is taken away before the process ends as it would have anyhow.
//!
//! The database itself needs nothing of the kind: what was not committed is gone when it is opened again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Files and directories that nobody wants if the process ends now.
static UNWANTED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();

/// A file or directory that goes if the process is interrupted. Dropping this only forgets it.
pub(crate) struct Unwanted(PathBuf);

impl Unwanted {
    pub(crate) fn new(path: &Path) -> Unwanted {
        // Without the thread an interrupted command leaves the file, which the next one like it writes over.
        WATCH.call_once(|| drop(watch()));
        list().push(path.to_owned());
        Unwanted(path.to_owned())
    }
}

impl Drop for Unwanted {
    fn drop(&mut self) {
        list().retain(|path| *path != self.0);
    }
}

fn list() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    UNWANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                list().iter().for_each(|path| remove(path));
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        })?;
    Ok(())
}

/// The other threads go on meanwhile, so a directory may have got another file just before it was to go.
fn remove(path: &Path) {
    for _ in 0..20 {
        let gone = if path.is_dir() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
        match gone {
            Err(e) if e.kind() != io::ErrorKind::NotFound => std::thread::sleep(Duration::from_millis(5)),
            _ => return,
        }
    }
}

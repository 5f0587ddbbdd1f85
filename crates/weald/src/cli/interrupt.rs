//! Ctrl-C: work that asks is told to stop, what is half made is taken away, and the process ends as it would have anyhow.
//!
//! The database itself needs nothing of the kind: what was not committed is gone when it is opened again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Files and directories that nobody wants if the process ends now.
static UNWANTED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// How much work asks whether it shall stop.
static ASKING: AtomicU32 = AtomicU32::new(0);
/// The signal that came; 0 before.
static CAME: AtomicI32 = AtomicI32::new(0);
static WATCH: Once = Once::new();

/// A file or directory that goes if the process is interrupted. Dropping this only forgets it.
pub(crate) struct Unwanted(PathBuf);

impl Unwanted {
    pub(crate) fn new(path: &Path) -> Unwanted {
        watch();
        list().push(path.to_owned());
        Unwanted(path.to_owned())
    }
}

impl Drop for Unwanted {
    fn drop(&mut self) {
        list().retain(|path| *path != self.0);
    }
}

/// Held by work that asks [`has_come`] now and then, and cleans up behind itself. A second signal does not wait for it.
pub(crate) struct Asking(());

impl Asking {
    pub(crate) fn new() -> Asking {
        watch();
        ASKING.fetch_add(1, Ordering::SeqCst);
        Asking(())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether the process was asked to end.
pub(crate) fn has_come() -> bool {
    CAME.load(Ordering::SeqCst) != 0
}

/// Ends the process by the signal that came, so that a shell sees what happened; returns if none did.
pub(crate) fn die() {
    match CAME.load(Ordering::SeqCst) {
        0 => {}
        signal => drop(emulate_default_handler(signal)),
    }
}

fn list() -> MutexGuard<'static, Vec<PathBuf>> {
    UNWANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Without the thread an interrupted command leaves its file, which the next one like it writes over.
fn watch() {
    WATCH.call_once(|| drop(start()));
}

fn start() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let is_first = CAME.swap(signal, Ordering::SeqCst) == 0;
                if is_first && ASKING.load(Ordering::SeqCst) > 0 {
                    continue;
                }
                list().iter().for_each(|path| remove(path));
                let _ = emulate_default_handler(signal);
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

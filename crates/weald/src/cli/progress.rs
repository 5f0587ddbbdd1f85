//! Progress of long work, on standard error, where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar moves although nothing was reported.
const TICK: Duration = Duration::from_millis(120);

/// A line that says what is going on, gone when it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Work whose extent isn't known.
    pub(crate) fn spinner() -> Progress {
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is well-formed"));
        bar.enable_steady_tick(TICK);
        Progress(bar)
    }

    /// Says what is done now.
    pub(crate) fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

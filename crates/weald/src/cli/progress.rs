//! Progress of long work, on standard error, where that is a terminal.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use weald::Unit;

use crate::cli::interrupt::{self, Asking};

/// How often a bar moves although nothing was reported.
const TICK: Duration = Duration::from_millis(120);

/// A line that says what is going on, gone when it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Begins work of that name, whose extent isn't known yet.
    pub(crate) fn new(what: &str) -> Progress {
        // Nobody would see it, and without its thread there is one thing less that can fail.
        if !std::io::stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        bar.set_style(style("{spinner} {msg}"));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        Progress(bar)
    }

    /// Shows what the engine tells of its work, and stops the work when the process is asked to end. Where the engine can't know the extent,
    /// `total` says it.
    pub(crate) fn follow(&self, total: Option<u64>) -> impl FnMut(weald::Progress) -> ControlFlow<()> {
        let bar = self.0.clone();
        let asking = Asking::new();
        let mut shown = None;
        move |progress| {
            let _held = &asking;
            let total = progress.total.or(total);
            let kind = (progress.unit, total.is_some());
            if shown != Some(kind) {
                bar.set_style(style_of(progress.unit, total.is_some()));
                shown = Some(kind);
            }
            if let Some(total) = total {
                bar.set_length(total.max(progress.done));
            }
            bar.set_position(progress.done);
            if interrupt::has_come() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style_of(unit: Unit, has_end: bool) -> ProgressStyle {
    style(match (unit, has_end) {
        (Unit::Bytes, true) => "{spinner} {msg} {wide_bar} {bytes} of {total_bytes}, {eta} left",
        (Unit::Bytes, false) => "{spinner} {msg} {bytes}",
        (Unit::Pages, true) => "{spinner} {msg} {wide_bar} {human_pos} of {human_len} pages, {eta} left",
        (Unit::Pages, false) => "{spinner} {msg} {human_pos} pages",
        (Unit::Keys, true) => "{spinner} {msg} {wide_bar} {human_pos} of {human_len} keys, {eta} left",
        (Unit::Keys, false) => "{spinner} {msg} {human_pos} keys",
    })
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed")
}

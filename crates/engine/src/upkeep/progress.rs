//! How long work tells how far it is, and is told to stop.

use std::ops::ControlFlow;

use crate::error::{Error, Result};

/// What a [`Progress`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Pages of the file.
    Pages,
    /// Keys.
    Keys,
    /// Bytes of a stream.
    Bytes,
}

/// How far long work is. A callback that is shown it gives [`ControlFlow::Continue`] to go on and [`ControlFlow::Break`] to stop,
/// after which the work returns [`Error::Cancelled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How much is done. It never goes down.
    pub done: u64,
    /// How much there is in all, as far as that is known: an estimate, since others may write meanwhile.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: Unit,
}

/// How often the callback is asked: each time that this much more is done.
const STEP: u64 = 256;

/// Counts what is done, and asks the callback now and then.
pub(crate) struct Meter<'m> {
    callback: &'m mut dyn FnMut(Progress) -> ControlFlow<()>,
    progress: Progress,
    step: u64,
    ask_at: u64,
}

impl<'m> Meter<'m> {
    pub(crate) fn new(
        unit: Unit,
        total: Option<u64>,
        callback: &'m mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Meter<'m> {
        let step = if unit == Unit::Bytes { STEP << 12 } else { STEP };
        Meter {
            callback,
            progress: Progress { done: 0, total, unit },
            step,
            ask_at: 0,
        }
    }

    pub(crate) fn set_total(&mut self, total: u64) {
        self.progress.total = Some(total);
    }

    /// `n` more are done.
    pub(crate) fn add(&mut self, n: u64) -> Result<()> {
        self.progress.done += n;
        if self.progress.done < self.ask_at {
            return Ok(());
        }
        self.ask_at = self.progress.done + self.step;
        self.ask()
    }

    /// Everything is done.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.progress.total = Some(self.progress.done);
        self.ask()
    }

    fn ask(&mut self) -> Result<()> {
        match (self.callback)(self.progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}

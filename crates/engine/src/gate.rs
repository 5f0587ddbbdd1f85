//! One writer at a time.

use std::sync::{Condvar, Mutex};

/// A lock whose guard may move between threads, which the standard one's may not.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

/// The right to write, given back on drop.
pub(crate) struct GateGuard<'g> {
    gate: &'g Gate,
}

impl Gate {
    /// Waits for the right to write.
    pub(crate) fn enter(&self) -> GateGuard<'_> {
        let mut closed = self.closed.lock().expect("no panic while the gate is locked");
        while *closed {
            closed = self
                .opened
                .wait(closed)
                .expect("no panic while the gate is locked");
        }
        *closed = true;
        GateGuard { gate: self }
    }
}

impl Drop for GateGuard<'_> {
    fn drop(&mut self) {
        *self
            .gate
            .closed
            .lock()
            .expect("no panic while the gate is locked") = false;
        self.gate.opened.notify_one();
    }
}

//! One writer at a time.

use std::sync::{Condvar, Mutex, MutexGuard};

/// A lock whose guard may move between threads, which the standard one's may not.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Where nobody waits, opening makes no system call.
    waiting: usize,
}

/// The right to write, given back on drop.
pub(crate) struct GateGuard<'g> {
    gate: &'g Gate,
}

impl Gate {
    /// Waits for the right to write.
    pub(crate) fn enter(&self) -> GateGuard<'_> {
        let mut state = self.state();
        while state.closed {
            state.waiting += 1;
            state = self
                .opened
                .wait(state)
                .expect("no panic while the gate is locked");
            state.waiting -= 1;
        }
        state.closed = true;
        GateGuard { gate: self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the gate is locked")
    }
}

impl Drop for GateGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.closed = false;
        let waiting = state.waiting;
        drop(state);
        if waiting > 0 {
            self.gate.opened.notify_one();
        }
    }
}

//! Bytes that a transaction lends and that no page holds in one piece.

use std::sync::Mutex;

/// Buffers that live as long as the transaction.
#[derive(Default)]
pub(crate) struct Keep {
    buffers: Mutex<Vec<Box<[u8]>>>,
}

impl Keep {
    /// Takes the bytes, and lends them for as long as it lives.
    pub(crate) fn keep(&self, bytes: Box<[u8]>) -> &[u8] {
        let mut buffers = self.buffers.lock().expect("no panic while a buffer is kept");
        buffers.push(bytes);
        let kept: *const [u8] = &**buffers.last().expect("one was pushed just now");
        // SAFETY: the buffer is on the heap and does not move with the vector; nothing changes or drops it before `self` drops,
        // which the returned borrow outlives not.
        unsafe { &*kept }
    }
}

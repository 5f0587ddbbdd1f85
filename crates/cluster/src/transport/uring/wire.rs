//! A connection: bytes that arrive, cut into frames, and bytes that go out, one write at a time.
//!
//! A frame is two bytes of length and as many bytes, in a handshake and after it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use weald_vfs::{Ended, SocketRing};

use super::super::session::HANDSHAKE_MAX;
use super::super::tcp::{Counts, add};

/// The greatest buffer of what arrives. It begins with room for a frame of a handshake, and doubles whenever it was full.
const INPUT_MAX: usize = 128 << 10;
/// What is kept of the buffer of what goes out.
const OUTPUT_KEPT: usize = 64 << 10;

/// Which of a connection's operations a token names, in its last bit.
const SENT: u64 = 1;

/// Whether the token is that of a write.
pub(super) fn is_sent(token: u64) -> bool {
    token & SENT != 0
}

/// The connection that a token names.
pub(super) fn name(token: u64) -> u64 {
    token >> 1
}

/// The token of a connection's arrivals.
pub(super) fn token(name: u64) -> u64 {
    name << 1
}

pub(super) struct Wire {
    socket: Arc<TcpStream>,
    name: u64,
    input: Input,
    /// What goes out after what is being written.
    pub(super) out: Vec<u8>,
    /// Of the write under way: from which byte on, and when the last progress was.
    writing: Option<(usize, Instant)>,
}

impl Wire {
    pub(super) fn new(name: u64, socket: Arc<TcpStream>) -> Wire {
        Wire {
            socket,
            name,
            input: Input::new(),
            out: Vec::new(),
            writing: None,
        }
    }

    /// Begins to wait for what arrives.
    pub(super) fn receive(&mut self, ring: &mut SocketRing) {
        let buffer = self.input.lend();
        ring.receive(token(self.name), &self.socket, buffer);
    }

    /// Takes in what has arrived; an error if the other side has ended it.
    pub(super) fn received(&mut self, ended: Ended, counts: &Counts) -> io::Result<()> {
        let count = ended.result?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        add(&counts.received_bytes, count as u64);
        self.input.give_back(ended.buffer);
        Ok(())
    }

    /// The next whole frame with its length before it, if it is there. `None` as an error: it would be longer than that.
    pub(super) fn frame(&mut self, max: usize) -> Result<Option<&[u8]>, TooLong> {
        self.input.next(max)
    }

    /// Begins to write what there is, unless a write is under way.
    pub(super) fn send(&mut self, ring: &mut SocketRing) {
        if self.writing.is_none() && !self.out.is_empty() {
            self.writing = Some((0, Instant::now()));
            ring.send(
                token(self.name) | SENT,
                &self.socket,
                std::mem::take(&mut self.out),
                0,
            );
        }
    }

    /// Takes in the end of a write: whether all of it is out, or it goes on.
    pub(super) fn sent(&mut self, ended: Ended, ring: &mut SocketRing, counts: &Counts) -> io::Result<bool> {
        let Some((from, _)) = self.writing.take() else {
            return Ok(true);
        };
        let count = ended.result?;
        add(&counts.sent_bytes, count as u64);
        let from = from + count;
        let mut buffer = ended.buffer;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if from < buffer.len() {
            self.writing = Some((from, Instant::now()));
            ring.send(token(self.name) | SENT, &self.socket, buffer, from);
            return Ok(false);
        }
        add(&counts.writes, 1);
        if self.out.is_empty() && buffer.capacity() <= OUTPUT_KEPT {
            buffer.clear();
            self.out = buffer;
        }
        Ok(true)
    }

    /// Since when a write has made no progress.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        self.writing.map(|(_, since)| since)
    }

    /// Ends it for both sides. What is under way ends too.
    pub(super) fn close(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// A frame that is longer than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Bytes that have arrived, from `start` on.
struct Input {
    bytes: Vec<u8>,
    start: usize,
}

impl Input {
    fn new() -> Input {
        Input {
            bytes: Vec::with_capacity(2 + HANDSHAKE_MAX),
            start: 0,
        }
    }

    /// Gives the buffer away to be filled further.
    fn lend(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        // Full of what came at once: more will.
        if bytes.len() == bytes.capacity() && bytes.capacity() < INPUT_MAX {
            bytes.reserve_exact(bytes.capacity().min(INPUT_MAX - bytes.capacity()));
        }
        bytes.drain(..self.start);
        self.start = 0;
        bytes
    }

    fn give_back(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    fn next(&mut self, max: usize) -> Result<Option<&[u8]>, TooLong> {
        let Some(frame) = self.whole(max)? else {
            return Ok(None);
        };
        self.start = frame.end;
        Ok(Some(&self.bytes[frame]))
    }

    fn whole(&self, max: usize) -> Result<Option<Range<usize>>, TooLong> {
        let rest = &self.bytes[self.start..];
        let Some(&[low, high]) = rest.first_chunk::<2>() else {
            return Ok(None);
        };
        let len = usize::from(u16::from_le_bytes([low, high]));
        if len > max {
            return Err(TooLong);
        }
        Ok((rest.len() >= 2 + len).then_some(self.start..self.start + 2 + len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds bytes as a network might cut them, and collects the frames.
    fn frames(bytes: &[u8], piece: usize, max: usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut input = Input::new();
        let mut got = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut buffer = input.lend();
            let room = buffer.capacity() - buffer.len();
            assert!(room > 0, "there is always room for more");
            let (now, later) = rest.split_at(room.min(piece).min(rest.len()));
            buffer.extend(now);
            assert!(buffer.capacity() <= INPUT_MAX);
            input.give_back(buffer);
            rest = later;
            while let Some(frame) = input.next(max)? {
                got.push(frame.to_vec());
            }
        }
        Ok(got)
    }

    #[test]
    fn frames_come_out_whole_however_they_came_in() {
        let lens = [0, 1, 510, 511, 65_535, 3, 65_535, 65_535, 20_000, 0, 7];
        let expected: Vec<Vec<u8>> = lens
            .iter()
            .map(|&len: &u16| [&len.to_le_bytes()[..], &vec![len as u8; usize::from(len)]].concat())
            .collect();
        for piece in [1, 2, 3, 1000, 65_537, usize::MAX] {
            assert_eq!(frames(&expected.concat(), piece, 65_535).as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn a_frame_that_would_be_too_long_is_refused_before_it_has_come() {
        assert_eq!(frames(&[1, 2], 2, 512), Err(TooLong));
        assert_eq!(frames(&[0, 2], 2, 512), Ok(vec![]));
    }
}

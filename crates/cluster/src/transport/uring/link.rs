//! The messages for one address, between those who queue them and the thread that sends.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weald_cluster_proto::{Lane, NodeId};

use super::super::lanes::Lanes;

pub(super) struct Link {
    pub(super) number: u64,
    pub(super) address: Vec<u8>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lanes: Lanes,
    /// Until then the address is not tried again, and messages for it are dropped.
    down_until: Option<Instant>,
    /// The sending thread will look at the lanes without being told.
    attended: bool,
    messages: u64,
}

/// What became of a message.
pub(super) struct Pushed {
    pub(super) queued: bool,
    /// Whether the sending thread has to be told.
    pub(super) tell: bool,
}

/// What a record was filled with.
pub(super) struct Filled {
    pub(super) dropped: u64,
    /// Messages sent, told once there is nothing more.
    pub(super) sent: u64,
    pub(super) more: bool,
}

impl Link {
    pub(super) fn new(number: u64, address: &[u8]) -> Link {
        Link {
            number,
            address: address.to_vec(),
            state: Mutex::default(),
        }
    }

    pub(super) fn push(
        &self,
        to: Option<NodeId>,
        lane: Lane,
        message: Vec<u8>,
        lane_bytes_max: usize,
    ) -> Pushed {
        let mut state = self.lock();
        if state.down_until.is_some_and(|until| Instant::now() < until) {
            return Pushed {
                queued: false,
                tell: false,
            };
        }
        let queued = state.lanes.push(to, lane, message, lane_bytes_max);
        state.messages += u64::from(queued);
        let tell = queued && !std::mem::replace(&mut state.attended, true);
        Pushed { queued, tell }
    }

    /// Whether something waits, or is being sent.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.lock();
        state.attended || !state.lanes.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().lanes.is_empty()
    }

    /// Fills a record for this peer.
    pub(super) fn fill(&self, peer: NodeId, record: &mut Vec<u8>) -> Filled {
        let mut state = self.lock();
        let dropped = state.lanes.fill(peer, record);
        let more = !state.lanes.is_empty();
        let sent = if more {
            0
        } else {
            std::mem::take(&mut state.messages).saturating_sub(dropped)
        };
        Filled { dropped, sent, more }
    }

    /// Leaves the lanes until somebody tells of a message. `false`: there is one.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.lock();
        let empty = state.lanes.is_empty();
        state.attended = !empty;
        empty
    }

    /// Gives up what waits, and the address for a while. How many messages that were.
    pub(super) fn fail(&self, pause: Duration) -> u64 {
        let mut state = self.lock();
        state.lanes.clear();
        state.attended = false;
        state.down_until = Some(Instant::now() + pause);
        std::mem::take(&mut state.messages)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

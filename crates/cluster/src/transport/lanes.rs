//! Queues of messages for one peer, cut into records; and records put together again.
//!
//! A record carries chunks of several lanes. Every lane that waits gets a share of each record, and what is left goes to the most urgent: an answer
//! never waits for more than a record, however long the message before it is. A chunk is a byte of lane, with the top bit at a message's end, two bytes of length, and its bytes.

use std::collections::VecDeque;

use weald_cluster_proto::{Lane, MESSAGE_MAX, NodeId};

use super::session::RECORD_MAX;

const LANES: usize = Lane::ALL.len();
/// Bytes before a chunk.
pub(super) const HEADER: usize = 3;
const LAST: u8 = 0x80;
/// Asks the other side to show that it is there.
pub(super) const PING: u8 = 0x70;
/// Shows it.
pub(super) const PONG: u8 = 0x71;
/// What each lane gets of a record before the urgent ones take the rest.
const SHARE: usize = RECORD_MAX / LANES - HEADER;

fn place(lane: Lane) -> usize {
    Lane::ALL
        .iter()
        .position(|&other| other == lane)
        .expect("all lanes are listed")
}

struct Waiting {
    /// Who it is for, if that is known: the address may be somebody else's by now.
    to: Option<NodeId>,
    message: Vec<u8>,
    sent: usize,
}

/// What waits to be sent to one address.
#[derive(Default)]
pub(super) struct Lanes {
    queues: [VecDeque<Waiting>; LANES],
    bytes: [usize; LANES],
}

impl Lanes {
    /// Queues a message, unless its lane is full.
    pub(super) fn push(
        &mut self,
        to: Option<NodeId>,
        lane: Lane,
        message: Vec<u8>,
        lane_bytes_max: usize,
    ) -> bool {
        let at = place(lane);
        // Short messages take memory too.
        let size = message.len() + 64;
        if message.is_empty() || message.len() > MESSAGE_MAX || self.bytes[at] + size > lane_bytes_max {
            return false;
        }
        self.bytes[at] += size;
        self.queues[at].push_back(Waiting { to, message, sent: 0 });
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Bytes that wait, and a little for each message.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.iter().sum()
    }

    pub(super) fn clear(&mut self) {
        *self = Lanes::default();
    }

    /// Takes a whole message, the most urgent first.
    pub(super) fn pop(&mut self) -> Option<(Option<NodeId>, Vec<u8>)> {
        let at = (0..LANES).find(|&at| !self.queues[at].is_empty())?;
        self.pop_from(at)
    }

    /// Takes a lane's first message.
    pub(super) fn pop_from(&mut self, at: usize) -> Option<(Option<NodeId>, Vec<u8>)> {
        let waiting = self.queues[at].pop_front()?;
        self.bytes[at] -= waiting.message.len() + 64;
        Some((waiting.to, waiting.message))
    }

    /// Fills a record for this peer. Messages for somebody else are dropped, and counted in the answer.
    pub(super) fn fill(&mut self, peer: NodeId, record: &mut Vec<u8>) -> u64 {
        record.clear();
        let mut dropped = 0;
        for at in 0..LANES {
            dropped += self.fill_from(at, peer, SHARE + HEADER, record);
        }
        for at in 0..LANES {
            dropped += self.fill_from(at, peer, RECORD_MAX, record);
        }
        dropped
    }

    /// Appends whole messages for this peer, as many as there is room for: one of each lane, then the urgent ones. Counts those, and those for somebody else, which are dropped.
    /// A message that is greater than the room alone must not be queued.
    pub(super) fn fill_whole(&mut self, peer: NodeId, room: usize, out: &mut Vec<u8>) -> (u64, u64) {
        let end = out.len() + room;
        let (mut filled, mut dropped) = (0, 0);
        for most in [1, usize::MAX] {
            for at in 0..LANES {
                let mut taken = 0;
                while taken < most
                    && let Some(first) = self.queues[at].front()
                {
                    let size = first.message.len();
                    let other = first.to.is_some_and(|to| to != peer);
                    if !other && out.len() + HEADER + size > end {
                        break;
                    }
                    if other {
                        dropped += 1;
                    } else {
                        out.push(at as u8 | LAST);
                        out.extend((size as u16).to_le_bytes());
                        out.extend(&first.message);
                        (filled, taken) = (filled + 1, taken + 1);
                    }
                    self.bytes[at] -= size + 64;
                    self.queues[at].pop_front();
                }
            }
        }
        (filled, dropped)
    }

    fn fill_from(&mut self, at: usize, peer: NodeId, share: usize, record: &mut Vec<u8>) -> u64 {
        let end = (record.len() + share).min(RECORD_MAX);
        let mut dropped = 0;
        while let Some(first) = self.queues[at].front_mut() {
            let other = first.to.is_some_and(|to| to != peer);
            let room = end.saturating_sub(record.len() + HEADER);
            if !other && room == 0 {
                break;
            }
            let rest = &first.message[first.sent..];
            let len = rest.len().min(room);
            let last = other || len == rest.len();
            if other {
                dropped += 1;
            } else {
                record.push(at as u8 | if last { LAST } else { 0 });
                record.extend((len as u16).to_le_bytes());
                record.extend(&rest[..len]);
                first.sent += len;
            }
            if last {
                self.bytes[at] -= first.message.len() + 64;
                self.queues[at].pop_front();
            }
        }
        dropped
    }
}

/// A record that no node sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What a record's chunk turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived<'a> {
    Message(&'a [u8]),
    Ping,
    Pong,
}

/// Messages of which parts have arrived: at most one of each lane, none longer than a message may be.
#[derive(Default)]
pub(super) struct Assembly {
    parts: [Vec<u8>; LANES],
}

impl Assembly {
    /// Whether no message has come in part.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.iter().all(Vec::is_empty)
    }

    /// Takes in a record, and hands on what is complete.
    pub(super) fn take<E: From<Malformed>>(
        &mut self,
        mut record: &[u8],
        arrived: &mut dyn FnMut(Arrived<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some((&[kind, low, high], rest)) = record.split_first_chunk::<HEADER>() {
            let len = usize::from(u16::from_le_bytes([low, high]));
            let (chunk, rest) = rest.split_at_checked(len).ok_or(Malformed)?;
            record = rest;
            match kind {
                PING => arrived(Arrived::Ping)?,
                PONG => arrived(Arrived::Pong)?,
                _ => {
                    let part = self.parts.get_mut(usize::from(kind & !LAST)).ok_or(Malformed)?;
                    if chunk.is_empty() || part.len() + chunk.len() > MESSAGE_MAX {
                        return Err(Malformed.into());
                    }
                    match (kind & LAST != 0, part.is_empty()) {
                        // Most come whole.
                        (true, true) => arrived(Arrived::Message(chunk))?,
                        (true, false) => {
                            part.extend(chunk);
                            arrived(Arrived::Message(&std::mem::take(part)))?;
                        }
                        (false, _) => part.extend(chunk),
                    }
                }
            }
        }
        if record.is_empty() {
            Ok(())
        } else {
            Err(Malformed.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(1);

    fn drain(lanes: &mut Lanes) -> Vec<Vec<u8>> {
        let mut assembly = Assembly::default();
        let mut got = Vec::new();
        let mut record = Vec::new();
        while !lanes.is_empty() {
            lanes.fill(PEER, &mut record);
            assert!(record.len() <= RECORD_MAX);
            let mut take = |arrived: Arrived<'_>| {
                let Arrived::Message(message) = arrived else {
                    panic!("{arrived:?}")
                };
                got.push(message.to_vec());
                Ok::<(), Malformed>(())
            };
            assembly.take(&record, &mut take).expect("well formed");
        }
        got
    }

    #[test]
    fn an_answer_overtakes_what_is_long() {
        let mut lanes = Lanes::default();
        let long = vec![9; 1 << 20];
        assert!(lanes.push(None, Lane::Transfer, long.clone(), 2 << 20));
        assert!(lanes.push(Some(PEER), Lane::Request, vec![2; 100_000], 2 << 20));
        assert!(lanes.push(Some(PEER), Lane::Answer, vec![1], 2 << 20));
        assert!(lanes.push(Some(NodeId(2)), Lane::Answer, vec![7], 2 << 20));
        let got = drain(&mut lanes);
        assert_eq!(got, [vec![1], vec![2; 100_000], long]);
        assert_eq!(lanes.bytes, [0; LANES]);
    }

    #[test]
    fn a_full_lane_takes_no_more_and_others_do() {
        let mut lanes = Lanes::default();
        assert!(lanes.push(None, Lane::Request, vec![1; 900], 1000));
        assert!(!lanes.push(None, Lane::Request, vec![1; 900], 1000));
        assert!(lanes.push(None, Lane::Answer, vec![1; 900], 1000));
        assert!(!lanes.push(None, Lane::Gossip, vec![1; MESSAGE_MAX + 1], usize::MAX));
        lanes.clear();
        assert!(lanes.push(None, Lane::Request, vec![1; 900], 1000));
    }

    #[test]
    fn what_no_node_sends_is_refused() {
        let refuse = |record: &[u8]| {
            Assembly::default().take(record, &mut |_| Ok::<(), Malformed>(())) == Err(Malformed)
        };
        assert!(refuse(&[0]), "half a header");
        assert!(refuse(&[0, 5, 0, 1]), "half a chunk");
        assert!(refuse(&[LANES as u8, 1, 0, 1]), "no such lane");
        assert!(refuse(&[0, 0, 0]), "an empty chunk");
        let mut assembly = Assembly::default();
        let chunk = [&[0, 0xff, 0xff][..], &[1; 0xffff]].concat();
        let none = &mut |_: Arrived<'_>| Ok::<(), Malformed>(());
        let taken = (0..1000)
            .take_while(|_| assembly.take(&chunk, none).is_ok())
            .count();
        assert_eq!(taken, MESSAGE_MAX / 0xffff, "a message without end is cut off");
    }
}

//! The last things that happened, for an operator.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use weald_cluster_proto::{Event, NodeId};

/// An event, its number, and when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// They are numbered from 1, without gaps.
    pub number: u64,
    /// By the node's wall clock, in milliseconds since 1970.
    pub wall_ms: u64,
    /// What happened.
    pub event: Event,
}

impl Logged {
    /// What happened, in one line: a word, and what it is about. Nodes are named as everywhere that an operator sees them.
    pub fn text(&self) -> String {
        text(&self.event)
    }
}

fn text(event: &Event) -> String {
    let of = |what: &str, node: &NodeId| format!("{what} node={:016x}", node.0);
    match event {
        Event::Alive(node) => of("Alive", node),
        Event::Suspected(node) => of("Suspected", node),
        Event::Dead(node) => of("Dead", node),
        Event::Left(node) => of("Left", node),
        Event::Refused(node) => of("Refused", node),
        Event::CopyRefused { copy } => format!("CopyRefused copy={:016x}", copy.0),
        Event::Layout { version } => format!("Layout version={version}"),
        Event::CaughtUp { version } => format!("CaughtUp version={version}"),
        Event::Ready => "Ready".to_owned(),
        Event::ClockJumped => "ClockJumped".to_owned(),
        Event::ClockRefused => "ClockRefused".to_owned(),
    }
}

pub(super) struct Events {
    max: usize,
    kept: Mutex<(u64, VecDeque<Logged>)>,
}

impl Events {
    pub(super) fn new(max: usize) -> Events {
        Events {
            max: max.max(1),
            kept: Mutex::default(),
        }
    }

    pub(super) fn add(&self, wall_ms: u64, event: Event) {
        log::info!("{}", text(&event));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, events) = &mut *kept;
        *number += 1;
        if events.len() == self.max {
            events.pop_front();
        }
        events.push_back(Logged {
            number: *number,
            wall_ms,
            event,
        });
    }

    pub(super) fn after(&self, number: u64) -> Vec<Logged> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let later = kept.1.iter().filter(|logged| logged.number > number);
        later.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_named_as_elsewhere() {
        let named = text(&Event::Dead(NodeId(0xab)));
        assert_eq!(named, "Dead node=00000000000000ab");
        assert_eq!(text(&Event::Layout { version: 7 }), "Layout version=7");
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let events = Events::new(2);
        for number in 1..=3 {
            events.add(number, Event::Ready);
        }
        let numbers = |after| {
            events
                .after(after)
                .iter()
                .map(|logged| logged.number)
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(0), [2, 3]);
        assert_eq!(numbers(2), [3]);
    }
}

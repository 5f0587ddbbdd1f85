//! The last things that happened, for an operator.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use weald_cluster_proto::Event;

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
        log::info!("{event:?}");
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

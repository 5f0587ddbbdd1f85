//! Registers: is there an order of the operations, each between its question and its answer, in which every answer is right?
//!
//! The search of Wing and Gong, with states that were seen remembered (after Lowe). An operation of unknown outcome may take effect at any time after it was asked, or never.

use std::collections::HashSet;

use weald_cluster_proto::Bytes;

use crate::history::{Action, Event, Outcome};

type State = Option<Bytes>;

/// Whether the operation can be next in this state, and the state after. An unknown one can always be; what it leads to depends on the state.
fn step(event: &Event, state: &State) -> Option<State> {
    match (&event.action, &event.outcome) {
        (Action::Read | Action::Get, Outcome::Found(_, value, _)) => (value == state).then(|| state.clone()),
        (Action::Swap(expect, value), Outcome::Swapped(true)) => (expect == state).then(|| value.clone()),
        (Action::Swap(expect, _), Outcome::Swapped(false)) => (expect != state).then(|| state.clone()),
        (Action::Swap(expect, value), Outcome::Unknown) => Some(if expect == state {
            value.clone()
        } else {
            state.clone()
        }),
        (Action::Put(value, _), Outcome::Written(_) | Outcome::Unknown) => Some(value.clone()),
        _ => Some(state.clone()),
    }
}

/// Checks the history of one register.
pub fn check_register(events: &[&Event]) -> Result<(), String> {
    let mut events: Vec<&Event> = events
        .iter()
        .copied()
        .filter(|event| event.outcome != Outcome::Nothing)
        // What may or may not have read something says nothing.
        .filter(|event| {
            event.outcome != Outcome::Unknown || matches!(event.action, Action::Swap(..) | Action::Put(..))
        })
        .collect();
    events.sort_by_key(|event| event.start);
    let ends: Vec<u64> = events
        .iter()
        .map(|event| {
            if event.outcome == Outcome::Unknown {
                u64::MAX
            } else {
                event.end
            }
        })
        .collect();
    let mut done = vec![false; events.len()];
    let mut seen = HashSet::new();
    if search(&events, &ends, &mut done, &None, &mut seen) {
        Ok(())
    } else {
        let list: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
        Err(format!("no order explains:\n{}", list.join("\n")))
    }
}

fn search(
    events: &[&Event],
    ends: &[u64],
    done: &mut Vec<bool>,
    state: &State,
    seen: &mut HashSet<(Vec<bool>, State)>,
) -> bool {
    let open = |index: &usize| !done[*index];
    // Whatever comes next must have begun before every other open one ended.
    let Some(horizon) = (0..events.len()).filter(open).map(|index| ends[index]).min() else {
        return true;
    };
    if horizon == u64::MAX {
        // Only unknown ones are left, and they need not have happened.
        return true;
    }
    if !seen.insert((done.clone(), state.clone())) {
        return false;
    }
    let candidates: Vec<usize> = (0..events.len())
        .filter(open)
        .filter(|&index| events[index].start <= horizon)
        .collect();
    for index in candidates {
        let Some(next) = step(events[index], state) else {
            continue;
        };
        done[index] = true;
        if search(events, ends, done, &next, seen) {
            return true;
        }
        done[index] = false;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> State {
        Some(text.as_bytes().into())
    }

    fn swap(expect: State, to: &str, start: u64, end: u64, outcome: Outcome) -> Event {
        event(Action::Swap(expect, value(to)), start, end, outcome)
    }

    fn read(found: State, start: u64, end: u64) -> Event {
        event(Action::Read, start, end, Outcome::Found(None, found, None))
    }

    fn event(action: Action, start: u64, end: u64, outcome: Outcome) -> Event {
        Event {
            key: b"k"[..].into(),
            action,
            strong: true,
            start,
            end,
            outcome,
        }
    }

    fn check(events: &[Event]) -> bool {
        check_register(&events.iter().collect::<Vec<_>>()).is_ok()
    }

    #[test]
    fn histories_are_told_apart() {
        let set = |end| swap(None, "a", 0, end, Outcome::Swapped(true));
        assert!(check(&[set(5), read(value("a"), 6, 7)]));
        assert!(!check(&[set(5), read(None, 6, 7)]), "stale");
        assert!(check(&[set(8), read(None, 6, 7)]), "they overlap");
        assert!(
            !check(&[set(8), read(value("a"), 1, 2), read(None, 3, 4)]),
            "backwards"
        );
        let twice = swap(None, "b", 1, 6, Outcome::Swapped(true));
        assert!(!check(&[set(5), twice]), "both found nothing");
        let unknown = swap(None, "a", 0, 1, Outcome::Unknown);
        assert!(check(&[
            unknown.clone(),
            read(None, 2, 3),
            read(value("a"), 4, 5)
        ]));
        assert!(!check(&[
            unknown,
            read(None, 2, 3),
            read(value("a"), 4, 5),
            read(None, 6, 7)
        ]));
    }
}

//! Plain keys, by their versions: nothing acknowledged is lost, nothing goes backwards, nothing that was deleted or has expired comes back.

use std::collections::BTreeMap;

use weald_cluster_proto::{Bytes, Version};

use crate::history::{Action, Event, Outcome};

/// What a reader must see at least, from a certain time on.
struct Bound {
    from: u64,
    version: Version,
    /// A reader may find nothing, without a version: it is a deletion, or it expires at that time.
    gone_from_ms: Option<u64>,
}

/// Checks the history of one key. `wall_ms` gives the true wall clock at a time, `slack_ms` how far clocks may be off.
pub fn check_plain(events: &[&Event], wall_ms: impl Fn(u64) -> u64, slack_ms: u64) -> Result<(), String> {
    let mut bounds = Vec::new();
    let erasers: Vec<&Event> = events.iter().copied().filter(|event| may_erase(event)).collect();
    let mut values: BTreeMap<Version, Option<Bytes>> = BTreeMap::new();
    for event in events {
        values_agree(event, &mut values)?;
        bounds.extend(bound(event));
    }
    for event in events {
        check_event(event, &bounds, &erasers, &wall_ms, slack_ms)?;
    }
    Ok(())
}

fn bound(event: &Event) -> Option<Bound> {
    if !event.strong {
        return None;
    }
    match (&event.action, &event.outcome) {
        (Action::Put(value, ttl_ms), Outcome::Written(version)) => Some(Bound {
            from: event.end,
            version: *version,
            gone_from_ms: match (value, ttl_ms) {
                (None, _) => Some(0),
                (Some(_), Some(ttl)) => Some(version.ms() + ttl),
                (Some(_), None) => None,
            },
        }),
        (_, Outcome::Found(Some(version), value, expires_ms)) => Some(Bound {
            from: event.end,
            version: *version,
            gone_from_ms: if value.is_none() { Some(0) } else { *expires_ms },
        }),
        _ => None,
    }
}

/// Whether what a reader finds may be nothing because of this.
fn may_erase(event: &Event) -> bool {
    let done = matches!(event.outcome, Outcome::Unknown | Outcome::Written(_));
    done && matches!(event.action, Action::Put(None, _) | Action::Put(_, Some(_)))
}

/// A version names one value, wherever it is read. (An expired one reads as nothing.)
fn values_agree(event: &Event, values: &mut BTreeMap<Version, Option<Bytes>>) -> Result<(), String> {
    let Outcome::Found(Some(version), Some(value), _) = &event.outcome else {
        return Ok(());
    };
    let known = values.entry(*version).or_insert_with(|| Some(value.clone()));
    if known.as_ref() == Some(value) {
        Ok(())
    } else {
        Err(format!("two values under {version:?}: {event:?}"))
    }
}

fn check_event(
    event: &Event,
    bounds: &[Bound],
    erasers: &[&Event],
    wall_ms: impl Fn(u64) -> u64,
    slack_ms: u64,
) -> Result<(), String> {
    if let Outcome::Found(_, Some(_), Some(expires_ms)) = event.outcome
        && wall_ms(event.start) > expires_ms + slack_ms
    {
        return Err(format!("it had expired: {event:?}"));
    }
    if !event.strong {
        return Ok(());
    }
    let greatest = bounds
        .iter()
        .filter(|bound| bound.from < event.start)
        .max_by_key(|bound| bound.version);
    let Some(least) = greatest else { return Ok(()) };
    match &event.outcome {
        Outcome::Found(Some(version), ..) if *version < least.version => Err(format!(
            "a reader goes back to before {:?}: {event:?}",
            least.version
        )),
        Outcome::Found(None, ..) => {
            let gone = least
                .gone_from_ms
                .is_some_and(|from| wall_ms(event.end) + slack_ms >= from);
            // Or by one that nobody was told about, or that was not bound to be seen.
            let erased = |eraser: &&Event| match eraser.outcome {
                Outcome::Written(version) => version > least.version,
                _ => eraser.start < event.end,
            };
            if gone || erasers.iter().any(erased) {
                Ok(())
            } else {
                Err(format!("{:?} is lost: {event:?}", least.version))
            }
        }
        Outcome::Written(version) if *version <= least.version => {
            Err(format!("a later write loses to {:?}: {event:?}", least.version))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weald_cluster_proto::NodeId;

    fn version(stamp: u64) -> Version {
        Version {
            stamp,
            node: NodeId(1),
        }
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

    fn value() -> Option<Bytes> {
        Some(b"v"[..].into())
    }

    fn check(events: &[Event]) -> bool {
        check_plain(&events.iter().collect::<Vec<_>>(), |us| us / 1000, 10).is_ok()
    }

    #[test]
    fn planted_histories_are_told_apart() {
        let put = |stamp, start, end| {
            event(
                Action::Put(value(), None),
                start,
                end,
                Outcome::Written(version(stamp)),
            )
        };
        let get = |stamp, start, end| {
            event(
                Action::Get,
                start,
                end,
                Outcome::Found(Some(version(stamp)), value(), None),
            )
        };
        let none = |start, end| event(Action::Get, start, end, Outcome::Found(None, None, None));
        assert!(check(&[put(5, 0, 10), get(5, 11, 12)]));
        assert!(check(&[put(5, 0, 10), none(9, 12)]), "they overlap");
        assert!(!check(&[put(5, 0, 10), none(11, 12)]), "lost");
        assert!(!check(&[put(5, 0, 10), get(4, 11, 12)]), "stale");
        assert!(
            !check(&[put(5, 0, 10), put(4, 11, 12)]),
            "a later write with an earlier version"
        );
        assert!(!check(&[get(5, 0, 10), get(4, 11, 12)]), "backwards");
        let delete = event(Action::Put(None, None), 11, 12, Outcome::Written(version(6)));
        assert!(check(&[put(5, 0, 10), delete.clone(), none(13, 14)]));
        assert!(
            !check(&[put(5, 0, 10), delete, get(5, 13, 14)]),
            "deleted, and back"
        );
    }
}

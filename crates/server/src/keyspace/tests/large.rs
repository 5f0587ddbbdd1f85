//! Collections of a hundred thousand members, or of as many as `WEALD_LARGE` says: with a million it takes half a minute.

use super::{Store, end_tick, keyspace, ok};
use crate::keyspace::{Keyspace, Kind, Scored};

fn members() -> u64 {
    let given = std::env::var("WEALD_LARGE")
        .ok()
        .and_then(|text| text.parse().ok());
    given.unwrap_or(100_000)
}

/// What one change of a large collection writes, in bytes of the log.
fn bytes_logged(keyspace: &mut Keyspace<'_>, change: impl FnOnce(&mut Keyspace<'_>)) -> u64 {
    end_tick(keyspace, true);
    let appended = |keyspace: &mut Keyspace<'_>| {
        keyspace
            .tick()
            .db()
            .stats()
            .log
            .expect("the database has a log")
            .appended_bytes
    };
    let before = appended(keyspace);
    change(keyspace);
    end_tick(keyspace, true);
    appended(keyspace) - before
}

#[test]
fn adding_a_member_to_a_large_collection_writes_little() {
    let store = Store::new();
    let db = store.open();
    let mut keyspace = keyspace(&db);
    for (key, kind) in [(b"h", Kind::Hash), (b"z", Kind::ZSet), (b"l", Kind::List)] {
        let mut entry = ok(keyspace.entry_or_new(0, key, kind));
        for n in 0..members() {
            add(&mut keyspace, &mut entry, n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            if n % 100_000 == 0 {
                ok(keyspace.save(&entry));
                end_tick(&mut keyspace, true);
                entry = ok(keyspace.entry_or_new(0, key, kind));
            }
        }
        ok(keyspace.save(&entry));
        assert_eq!(entry.count(), members());
        let bytes = bytes_logged(&mut keyspace, |keyspace| {
            let mut entry = ok(keyspace.entry(0, key, kind)).expect("it was filled");
            add(keyspace, &mut entry, 7);
            ok(keyspace.save(&entry));
        });
        assert!(bytes < 1000, "one more in {kind:?} took {bytes} bytes");
    }
    let record = ok(keyspace.find(0, b"z")).expect("it was filled");
    let mut last = None;
    for n in [0, 1, 12_345, members() - 1] {
        let score = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64;
        let member = n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_string();
        let scored = Scored {
            member: member.as_bytes(),
            score,
        };
        let rank = ok(keyspace.rank(0, &record, scored));
        let lower = (0..members()).filter(|n| ((n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64) < score);
        assert_eq!(rank, lower.count() as u64 + u64::from(score > 0.0));
        last = Some(rank);
    }
    assert!(last.is_some());
}

fn add(keyspace: &mut Keyspace<'_>, entry: &mut crate::keyspace::Entry, n: u64) {
    let member = n.to_string();
    match entry.kind {
        Kind::Hash => drop(ok(keyspace.put_field(entry, member.as_bytes(), b"value"))),
        Kind::ZSet => drop(ok(keyspace.put_score(entry, member.as_bytes(), (n >> 11) as f64))),
        _ => ok(keyspace.push_element(entry, false, member.as_bytes())),
    }
}

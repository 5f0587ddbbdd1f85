//! Ranges from both ends, against a sorted list.

use std::ops::Bound;
use std::time::Duration;

use crate::transaction::{Iter, Pair, Readable, Writable};
use crate::{Database, Result};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
type Ends = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n as u64) as usize
    }

    fn bound(&mut self, keys: usize) -> Bound<Vec<u8>> {
        let key = key(self.below(2 * keys + 2));
        match self.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(key),
            _ => Bound::Excluded(key),
        }
    }
}

/// Half of the keys are longer than what a range keeps without allocating.
fn key(n: usize) -> Vec<u8> {
    let mut key = format!("{n:06}").into_bytes();
    if n.is_multiple_of(4) {
        key.resize(50, b'x');
    }
    key
}

/// Every second key is there, so that bounds fall between keys as well.
fn pairs(count: usize) -> Pairs {
    (0..count)
        .map(|i| (key(2 * i + 1), vec![i as u8; i % 60]))
        .chain((0..count).map(|i| (key(2 * i), vec![i as u8; i % 60])).step_by(2))
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_iter()
        .collect()
}

fn database(pairs: &Pairs) -> Result<Database> {
    let db = Database::in_memory()?;
    let mut tx = db.write()?;
    for (key, value) in pairs {
        tx.put(key, value)?;
    }
    tx.commit()?;
    Ok(db)
}

fn is_within(key: &[u8], (start, end): &Ends) -> bool {
    let after = match start {
        Bound::Unbounded => true,
        Bound::Included(start) => key >= &start[..],
        Bound::Excluded(start) => key > &start[..],
    };
    let before = match end {
        Bound::Unbounded => true,
        Bound::Included(end) => key <= &end[..],
        Bound::Excluded(end) => key < &end[..],
    };
    after && before
}

/// Takes pairs from both ends, `back` times out of ten from the back, until they have met.
fn check_ends(mut iter: Iter<'_>, expected: &Pairs, ends: &Ends, back: usize, random: &mut Random) {
    let mut expected = expected.iter().filter(|(key, _)| is_within(key, ends));
    let plain = |pair: Option<Result<Pair<'_>>>| {
        pair.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
            .transpose()
            .expect("nothing is damaged")
    };
    loop {
        let (got, expected) = match random.below(10) < back {
            true => (plain(iter.next_back()), expected.next_back()),
            false => (plain(iter.next()), expected.next()),
        };
        assert_eq!(got.as_ref(), expected, "in {ends:?}");
        if got.is_none() {
            break;
        }
    }
    assert!(iter.next().is_none() && iter.next_back().is_none(), "{ends:?}");
}

fn check(tx: &impl Readable, expected: &Pairs, keys: usize) {
    let mut random = Random(keys as u64);
    for round in 0..400 {
        let mut ends = (random.bound(keys), random.bound(keys));
        // Narrow ones have both ends in one leaf.
        if round % 2 == 0 {
            let n = random.below(2 * keys + 1);
            ends = (Bound::Included(key(n)), Bound::Excluded(key(n + random.below(9))));
        }
        let back = [0, 10, 5, 1, 9][round % 5];
        check_ends(
            tx.range::<Vec<u8>>(ends.clone()),
            expected,
            &ends,
            back,
            &mut random,
        );
    }
    let all = (Bound::Unbounded, Bound::Unbounded);
    for back in [0, 10, 5, 1, 9] {
        check_ends(tx.iter(), expected, &all, back, &mut random);
    }
    let same = Bound::Included(key(7));
    for end in [same.clone(), Bound::Excluded(key(7)), Bound::Included(key(3))] {
        for back in [0, 10] {
            let ends = (same.clone(), end.clone());
            check_ends(
                tx.range::<Vec<u8>>(ends.clone()),
                expected,
                &ends,
                back,
                &mut random,
            );
        }
    }
}

#[test]
fn both_ends_meet_whatever_the_range_and_the_size() -> Result<()> {
    for count in [0, 1, 2, 5, 60, 700] {
        let pairs = pairs(count);
        let db = database(&pairs)?;
        check(&db.read()?, &pairs, count);
        check(&db.optimistic()?, &pairs, count);
    }
    Ok(())
}

#[test]
fn keys_that_expired_are_passed_over() -> Result<()> {
    let mut pairs = pairs(300);
    let db = database(&pairs)?;
    let mut tx = db.write()?;
    for (i, (key, value)) in pairs.iter().enumerate() {
        // Some leaves have none, some have all.
        let ttl = match i % 100 {
            0..30 => Duration::ZERO,
            30..50 if i % 2 == 0 => Duration::ZERO,
            50..60 => Duration::from_secs(3600),
            _ => continue,
        };
        tx.put_with_ttl(key, value, ttl)?;
    }
    tx.commit()?;
    let mut i = 0;
    pairs.retain(|_| {
        i += 1;
        let place = (i - 1) % 100;
        !(place < 30 || (place < 50 && (i - 1) % 2 == 0))
    });
    std::thread::sleep(Duration::from_millis(2));
    check(&db.read()?, &pairs, 300);
    Ok(())
}

#[test]
fn large_values_are_read_from_both_ends() -> Result<()> {
    let mut pairs = pairs(80);
    for (_, value) in pairs.iter_mut().step_by(17) {
        *value = vec![7; 9000];
    }
    let db = database(&pairs)?;
    check(&db.read()?, &pairs, 80);
    Ok(())
}

#[test]
fn a_stage_that_only_deletes_hides_what_the_tree_has() -> Result<()> {
    let stored = pairs(300);
    let db = database(&stored)?;

    let mut left = stored.clone();
    let mut tx = db.write()?;
    check(&tx, &stored, 300);
    let gone: Vec<_> = stored.iter().step_by(3).map(|(key, _)| key.clone()).collect();
    for key in &gone {
        tx.delete(key)?;
    }
    left.retain(|(key, _)| !gone.contains(key));
    check(&tx, &left, 300);
    drop(tx);

    let mut left = stored.clone();
    let mut tx = db.optimistic()?;
    let ends = (Bound::Included(key(100)), Bound::Excluded(key(420)));
    tx.delete_range::<Vec<u8>>(ends.clone())?;
    left.retain(|(key, _)| !is_within(key, &ends));
    check(&tx, &left, 300);
    drop(tx);

    let mut tx = db.write()?;
    tx.delete_range::<Vec<u8>>(..)?;
    check(&tx, &Vec::new(), 300);
    Ok(())
}

#[test]
fn what_is_staged_elsewhere_does_not_matter() -> Result<()> {
    let stored = pairs(100);
    let db = database(&stored)?;
    let mut tx = db.write()?;
    tx.create_bucket(b"other")?.put(b"000001", b"elsewhere")?;
    check(&tx, &stored, 100);
    Ok(())
}

#[test]
fn a_bucket_is_opened_again_in_its_own_state_only() -> Result<()> {
    let options = crate::DatabaseOptions::new()
        .transaction_bytes_max(1 << 20)
        .bulk_bytes(1 << 20)
        .vfs(std::sync::Arc::new(weald_vfs::Memory::new()));
    let db = Database::open_with_options("memory.weald", options)?;
    let other = Database::in_memory()?;
    for db in [&db, &other] {
        let mut tx = db.write()?;
        tx.create_bucket(b"b")?.put(b"k", b"1")?;
        tx.commit()?;
    }
    let opened = db.read()?.bucket(b"b")?.opened();
    assert!(other.read()?.root().reopen(&opened).is_none());
    let value = |bucket: crate::Bucket<'_>| bucket.get(b"k");
    {
        // The same state, whatever the transaction.
        let tx = db.write()?;
        let again = tx.root().reopen(&opened).expect("nothing was committed");
        assert_eq!(value(again)?.as_deref(), Some(&b"1"[..]));
    }
    let mut tx = db.write()?;
    let id = opened.id();
    tx.bucket_mut_by_id(id).put(b"k", b"2")?;
    // What is staged is seen through it.
    let again = tx.root().reopen(&opened).expect("nothing was committed");
    assert_eq!(value(again)?.as_deref(), Some(&b"2"[..]));
    // Each state that was spilled to is one of its own.
    let mut spilled = opened;
    for round in 0..3_u32 {
        let mut n = 0_u32;
        while tx.root().reopen(&spilled).is_some() {
            tx.bucket_mut_by_id(id)
                .put(&[round.to_be_bytes(), n.to_be_bytes()].concat(), &[7; 500])?;
            n += 1;
        }
        spilled = tx.bucket_by_id(id)?.opened();
        assert!(tx.root().reopen(&spilled).is_some());
    }
    assert!(db.read()?.root().reopen(&spilled).is_none());
    tx.commit()?;
    let tx = db.read()?;
    assert!(tx.root().reopen(&opened).is_none());
    assert_eq!(value(tx.bucket_by_id(id)?)?.as_deref(), Some(&b"2"[..]));
    Ok(())
}

//! Contexts, immediate and in transactions, with and without a batch: one suite for all, against a map in memory.

mod chance;

use std::collections::BTreeMap;
use std::sync::Arc;

use chance::Chance;
use weald_engine::Database;
use weald_tree::{
    Context, Error, Family, OperationCost, Result, Source, Storage, StorageBatch, StorageContext, path_prefix,
};

fn storage() -> Storage {
    Storage::open(Database::in_memory().unwrap()).unwrap()
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a context shows of a family is what the model has, from the start, from the end, and from any place.
fn agrees(context: &impl StorageContext, family: Family, model: &Model, chance: &mut Chance) {
    let mut iter = context.raw_iter(family);
    let mut forward = Vec::new();
    while iter.next().value.unwrap() {
        forward.push((iter.key().unwrap().to_vec(), iter.value().unwrap().to_vec()));
    }
    assert!(!iter.valid() && !iter.next().value.unwrap());
    assert!(forward.iter().map(|(k, v)| (k, v)).eq(model.iter()));
    let mut backward = Vec::new();
    while iter.prev().value.unwrap() {
        backward.push((iter.key().unwrap().to_vec(), iter.value().unwrap().to_vec()));
    }
    backward.reverse();
    assert_eq!(backward, forward);
    for _ in 0..5 {
        let key = chance.key();
        assert_eq!(
            context.get_in(family, &key).value.unwrap(),
            model.get(&key).cloned()
        );
        iter.seek(&key).value.unwrap();
        assert_eq!(iter.key(), model.range(key.clone()..).next().map(|(k, _)| &k[..]));
        iter.seek_for_prev(&key).value.unwrap();
        assert_eq!(iter.key(), model.range(..=key).next_back().map(|(k, _)| &k[..]));
    }
}

/// Random writes to two neighbouring subtrees in all families.
fn exercise<S: Source>(a: &Context<S>, b: &Context<S>, models: &mut [BTreeMap<Family, Model>; 2], seed: u64) {
    let mut chance = Chance::new(seed);
    for round in 0..200 {
        let which = chance.below(2);
        let context = [a, b][which];
        let family = Family::ALL[chance.below(5)];
        let (key, value) = (chance.key(), vec![round as u8; chance.below(50)]);
        // The one family that both share.
        let owners = if family == Family::GlobalMeta {
            0..2
        } else {
            which..which + 1
        };
        if chance.below(3) == 0 {
            context.delete_in(family, &key).value.unwrap();
            models[owners].iter_mut().for_each(|model| {
                model.entry(family).or_default().remove(&key);
            });
        } else {
            context.put_in(family, &key, &value).value.unwrap();
            models[owners].iter_mut().for_each(|model| {
                model
                    .entry(family)
                    .or_default()
                    .insert(key.clone(), value.clone());
            });
        }
        if round % 20 == 0 {
            compare(a, b, models, &mut chance);
        }
    }
}

fn compare(
    a: &impl StorageContext,
    b: &impl StorageContext,
    models: &[BTreeMap<Family, Model>; 2],
    chance: &mut Chance,
) {
    for family in Family::ALL {
        let empty = Model::new();
        agrees(a, family, models[0].get(&family).unwrap_or(&empty), chance);
        agrees(b, family, models[1].get(&family).unwrap_or(&empty), chance);
    }
}

#[test]
fn contexts_of_every_kind_show_their_subtree_and_nothing_else() {
    for (seed, prefix) in [(1, [0x42u8; 32]), (2, [0xff; 32])] {
        let storage = storage();
        let mut neighbour = prefix;
        neighbour[31] = neighbour[31].wrapping_sub(1);
        let mut models = Default::default();
        let mut chance = Chance::new(seed);

        let (a, b) = (
            storage.context_by_prefix(prefix),
            storage.context_by_prefix(neighbour),
        );
        exercise(&a, &b, &mut models, seed);

        let committed = models.clone();
        let tx = storage.begin().unwrap();
        let (ta, tb) = (tx.context_by_prefix(prefix), tx.context_by_prefix(neighbour));
        exercise(&ta, &tb, &mut models, seed + 10);
        compare(&a, &b, &committed, &mut chance);

        let before = models.clone();
        let batch = Arc::new(StorageBatch::new());
        let gathering = [&ta, &tb].map(|context| context.clone().with_batch(batch.clone()));
        exercise(&gathering[0], &gathering[1], &mut models, seed + 20);
        compare(&ta, &tb, &before, &mut chance);
        let estimate = tx.estimate(&batch).unwrap();
        let applied = tx.apply(&batch);
        applied.value.unwrap();
        assert_eq!(applied.cost, estimate);
        assert!(batch.is_empty());
        compare(&ta, &tb, &models, &mut chance);

        // The contexts are still about, and nothing is lost.
        tx.commit().unwrap();
        compare(&a, &b, &models, &mut chance);
        assert!(matches!(ta.get(b"k").value, Err(Error::Finished)));
        assert!(matches!(tb.put(b"k", b"v").value, Err(Error::Finished)));
    }
}

#[test]
fn a_batch_is_filled_by_threads_and_applied_whole() {
    let storage = storage();
    let batch = Arc::new(StorageBatch::new());
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let context = storage.context(&[&[thread]]).with_batch(batch.clone());
            scope.spawn(move || {
                for n in 0..100u8 {
                    context.put(&[n % 50], &[n]).value.unwrap();
                }
                context.delete(&[0]).value.unwrap();
                context.delete(&[1]).value.unwrap();
                context.put(&[1], b"again").value.unwrap();
            });
        }
    });
    assert_eq!(batch.len(), 4 * 50);
    let read = |thread: u8, key: u8| storage.context(&[&[thread]]).get(&[key]).value.unwrap();
    assert_eq!(read(0, 1), None);
    storage.apply(&batch).value.unwrap();
    for thread in 0..4 {
        assert_eq!(read(thread, 0), None);
        assert_eq!(read(thread, 1).as_deref(), Some(&b"again"[..]));
        assert_eq!(read(thread, 2), Some(vec![52]));
    }
}

#[test]
fn a_batch_that_fails_changes_nothing_and_stays() {
    let storage = storage();
    let batch = Arc::new(StorageBatch::new());
    let gathering = storage.context(&[b"t"]).with_batch(batch.clone());
    gathering.put(b"a", b"1").value.unwrap();
    gathering.put(&[b'b'; 5_000], b"too long a key").value.unwrap();
    assert!(storage.apply(&batch).value.is_err());
    let tx = storage.begin().unwrap();
    assert!(tx.apply(&batch).value.is_err());
    assert_eq!(batch.len(), 2);
    assert_eq!(tx.context(&[b"t"]).get(b"a").value.unwrap(), None);
    tx.commit().unwrap();
    assert_eq!(storage.context(&[b"t"]).get(b"a").value.unwrap(), None);
}

#[test]
fn costs_are_exact_and_nothing_unless_asked_for() {
    let storage = storage();
    let free = storage.context(&[b"t"]);
    assert_eq!(free.put(b"free", b"12345").cost, OperationCost::default());
    let context = free.metered();
    let cost = |seeks, added_bytes, replaced_bytes, removed_bytes, loaded_bytes| OperationCost {
        seeks,
        added_bytes,
        replaced_bytes,
        removed_bytes,
        loaded_bytes,
        hash_calls: 0,
    };
    assert_eq!(context.put(b"key", b"value").cost, cost(1, 32 + 3 + 5, 0, 0, 0));
    assert_eq!(context.put(b"key", b"values").cost, cost(1, 1, 5, 0, 0));
    assert_eq!(context.put(b"key", b"val").cost, cost(1, 0, 3, 3, 0));
    assert_eq!(context.get(b"key").cost, cost(1, 0, 0, 0, 3));
    assert_eq!(context.get(b"none").cost, cost(1, 0, 0, 0, 0));
    let mut iter = context.raw_iter(Family::Main);
    assert_eq!(iter.seek(b"k").cost, cost(1, 0, 0, 0, 3 + 3));
    assert_eq!(context.delete(b"key").cost, cost(1, 0, 0, 32 + 3 + 3, 0));
    assert_eq!(context.delete(b"key").cost, cost(1, 0, 0, 0, 0));
    // In a transaction it costs the same, and asking is no read that could conflict.
    let tx = storage.begin().unwrap();
    let blind = tx.context(&[b"t"]).metered();
    assert_eq!(blind.put(b"key", b"value").cost, cost(1, 32 + 3 + 5, 0, 0, 0));
    context.put(b"key", b"other").value.unwrap();
    tx.commit().unwrap();
    assert_eq!(context.get(b"key").value.unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn transactions_are_serializable_and_conflicts_are_typed() {
    let storage = storage();
    let [a, b] = [storage.begin().unwrap(), storage.begin().unwrap()];
    // Phantom: each counts the empty subtree and adds to it.
    for (tx, key) in [(&a, b"a"), (&b, b"b")] {
        let context = tx.context(&[b"t"]);
        assert!(!context.raw_iter(Family::Main).seek_to_first().value.unwrap());
        context.put(key, b"first").value.unwrap();
    }
    a.commit().unwrap();
    let refused = b.commit().unwrap_err();
    assert!(matches!(refused, Error::Conflict) && refused.is_retryable());
    // Different subtrees.
    let [a, b] = [storage.begin().unwrap(), storage.begin().unwrap()];
    for (tx, name) in [(&a, b"x"), (&b, b"y")] {
        let context = tx.context(&[name]);
        let mut iter = context.raw_iter(Family::Aux);
        assert!(!iter.seek_to_last().value.unwrap());
        drop(iter);
        context.put_aux(b"k", b"v").value.unwrap();
    }
    a.commit().unwrap();
    b.commit().unwrap();
}

#[test]
fn a_transaction_goes_back_to_savepoints_and_is_rolled_back_when_dropped() {
    let storage = storage();
    let tx = storage.begin().unwrap();
    let context = tx.context(&[b"t"]);
    context.put(b"a", b"1").value.unwrap();
    let savepoint = tx.savepoint().unwrap();
    context.put(b"a", b"2").value.unwrap();
    context.put_meta(b"m", b"2").value.unwrap();
    tx.rollback_to(&savepoint).unwrap();
    assert_eq!(context.get(b"a").value.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(context.get_meta(b"m").value.unwrap(), None);
    let other = storage.begin().unwrap();
    assert!(matches!(other.rollback_to(&savepoint), Err(Error::SavepointGone)));
    drop(tx);
    assert!(matches!(context.get(b"a").value, Err(Error::Finished)));
    assert_eq!(storage.context(&[b"t"]).get(b"a").value.unwrap(), None);
}

#[test]
fn contexts_go_to_other_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let storage = storage();
    let tx = storage.begin().unwrap();
    let context = tx.context(&[b"t"]);
    shared(&context);
    shared(&storage.context(&[]));
    std::thread::scope(|scope| {
        for n in 0..4u8 {
            let context = context.clone();
            scope.spawn(move || context.put(&[n], b"v").value.unwrap());
        }
    });
    tx.commit().unwrap();
    let count = |storage: &Storage| -> Result<usize> {
        let context = storage.context(&[b"t"]);
        let mut iter = context.raw_iter(Family::Main);
        let mut count = 0;
        while iter.next().value? {
            count += 1;
        }
        Ok(count)
    };
    assert_eq!(count(&storage).unwrap(), 4);
    assert_eq!(storage.context(&[b"t"]).prefix(), &path_prefix(&[b"t"]));
}

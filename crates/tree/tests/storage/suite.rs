//! What every storage does: contexts, immediate and in transactions, with and without a batch, against a map in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use weald_tree::{
    Backend, Context, CostResult, Error, Family, OperationCost, Result, Source, Storage, StorageBatch,
    StorageContext, Transaction, path_prefix,
};

use crate::chance::Chance;

/// A storage to test, empty.
pub(crate) trait Subject {
    type Backend: Backend;
    /// What lives as long as it does.
    type Kept;

    fn open() -> (Storage<Self::Backend>, Self::Kept);
}

type Tx<'s, S> = Transaction<<<S as Subject>::Backend as Backend>::Transacted<'s>>;

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

pub(crate) fn contexts_of_every_kind_show_their_subtree_and_nothing_else<S: Subject>() {
    for (seed, prefix) in [(1, [0x42u8; 32]), (2, [0xff; 32])] {
        let (storage, _kept) = S::open();
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

pub(crate) fn a_batch_is_filled_by_threads_and_applied_whole<S: Subject>() {
    let (storage, _kept) = S::open();
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

pub(crate) fn a_batch_that_fails_changes_nothing_and_stays<S: Subject>() {
    let (storage, _kept) = S::open();
    let batch = Arc::new(StorageBatch::new());
    let gathering = storage.context(&[b"t"]).with_batch(batch.clone());
    gathering.put(b"a", b"1").value.unwrap();
    let long = vec![b'b'; storage.key_len_max() - 31];
    gathering.put(&long, b"too long a key").value.unwrap();
    assert!(storage.apply(&batch).value.is_err());
    let tx = storage.begin().unwrap();
    assert!(tx.apply(&batch).value.is_err());
    assert_eq!(batch.len(), 2);
    // A byte less will do.
    gathering.delete(&long).value.unwrap();
    let longest = &long[1..];
    assert!(tx.context(&[b"t"]).put(&long, b"").value.is_err());
    tx.context(&[b"t"]).put(longest, b"longest").value.unwrap();
    assert_eq!(tx.context(&[b"t"]).get(b"a").value.unwrap(), None);
    tx.commit().unwrap();
    assert_eq!(storage.context(&[b"t"]).get(b"a").value.unwrap(), None);
}

pub(crate) fn costs_are_exact_and_nothing_unless_asked_for<S: Subject>() {
    let (storage, _kept) = S::open();
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

pub(crate) fn transactions_are_serializable_and_conflicts_are_typed<S: Subject>() {
    let (storage, _kept) = S::open();
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

pub(crate) fn a_transaction_goes_back_to_savepoints_and_is_rolled_back_when_dropped<S: Subject>() {
    let (storage, _kept) = S::open();
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

pub(crate) fn contexts_go_to_other_threads<S: Subject>() {
    fn shared<T: Send + Sync>(_: &T) {}
    let (storage, _kept) = S::open();
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
    assert_eq!(keys(&storage.context(&[b"t"])).unwrap().len(), 4);
    assert_eq!(storage.context(&[b"t"]).prefix(), &path_prefix(&[b"t"]));
}

/// All keys of a subtree.
fn keys(context: &impl StorageContext) -> Result<Vec<Vec<u8>>> {
    let mut iter = context.raw_iter(Family::Main);
    let mut keys = Vec::new();
    while iter.next().value? {
        keys.extend(iter.key().map(<[u8]>::to_vec));
    }
    Ok(keys)
}

/// What two transactions do, and whether both may commit: the first does, then the second is asked.
fn check<S: Subject>(
    what: &str,
    first: impl Fn(&Tx<'_, S>) -> Result<()>,
    second: impl Fn(&Tx<'_, S>) -> Result<()>,
    both: bool,
) {
    let (storage, _kept) = S::open();
    let subtree = storage.context(&[b"t"]);
    for key in [b"b", b"d", b"f"] {
        subtree.put(key, b"1").value.unwrap();
    }
    let [a, b] = [storage.begin().unwrap(), storage.begin().unwrap()];
    // The second reads before the first commits, and writes.
    second(&b).unwrap();
    first(&a).unwrap();
    a.commit().unwrap_or_else(|error| panic!("{what}: {error}"));
    match b.commit() {
        Ok(_) => assert!(both, "{what}: the conflict was missed"),
        Err(error) => assert!(
            !both && error.is_retryable() && matches!(error, Error::Conflict),
            "{what}: {error}"
        ),
    }
}

pub(crate) fn conflicts_are_those_that_are_documented<S: Subject>() {
    let put = |key: &'static [u8]| move |tx: &Tx<'_, S>| tx.context(&[b"t"]).put(key, b"2").value;
    let delete = |key: &'static [u8]| move |tx: &Tx<'_, S>| tx.context(&[b"t"]).delete(key).value;
    let read_put = |read: &'static [u8], write: &'static [u8]| {
        move |tx: &Tx<'_, S>| {
            let context = tx.context(&[b"t"]);
            context.get(read).value?;
            context.put(write, b"3").value
        }
    };
    // Looks for the first key from there on, and writes elsewhere.
    let seek_put = |from: &'static [u8], forwards: bool| {
        move |tx: &Tx<'_, S>| {
            let context = tx.context(&[b"t"]);
            let mut iter = context.raw_iter(Family::Main);
            if forwards {
                iter.seek(from).value?;
            } else {
                iter.seek_for_prev(from).value?;
            }
            drop(iter);
            tx.context(&[b"elsewhere"]).put(b"k", b"3").value
        }
    };
    check::<S>("lost update", read_put(b"b", b"b"), read_put(b"b", b"b"), false);
    check::<S>("write skew", read_put(b"b", b"d"), read_put(b"d", b"b"), false);
    check::<S>("a key that was absent", put(b"a"), read_put(b"a", b"x"), false);
    check::<S>("a key that goes", delete(b"b"), read_put(b"b", b"x"), false);
    check::<S>("blind writes of one key", put(b"b"), put(b"b"), true);
    check::<S>("a blind write and a blind delete", put(b"b"), delete(b"b"), true);
    check::<S>("different keys", read_put(b"b", b"b"), read_put(b"d", b"d"), true);
    check::<S>("a phantom in a gap", put(b"c"), seek_put(b"bb", true), false);
    check::<S>(
        "a phantom in a gap, backwards",
        put(b"c"),
        seek_put(b"cc", false),
        false,
    );
    check::<S>("the pair that was found", put(b"d"), seek_put(b"c", true), false);
    check::<S>(
        "the pair that was found goes",
        delete(b"d"),
        seek_put(b"c", true),
        false,
    );
    check::<S>("a phantom at the end", put(b"g"), seek_put(b"ff", true), false);
    check::<S>("a phantom at the start", put(b"a"), seek_put(b"aa", false), false);
    check::<S>(
        "beyond where an iterator stopped",
        put(b"f"),
        seek_put(b"c", true),
        true,
    );
    check::<S>("before where it began", put(b"b"), seek_put(b"c", true), true);
    check::<S>(
        "a key read by who only reads",
        put(b"b"),
        |tx| tx.context(&[b"t"]).get(b"b").value.map(drop),
        true,
    );
    let other_family = |tx: &Tx<'_, S>| tx.context(&[b"t"]).put_aux(b"b", b"2").value;
    check::<S>("another family", other_family, read_put(b"b", b"b"), true);
    let global = |tx: &Tx<'_, S>| tx.context(&[b"u"]).put_in(Family::GlobalMeta, b"g", b"2").value;
    let reads_global = |tx: &Tx<'_, S>| {
        let context = tx.context(&[b"t"]);
        context.get_in(Family::GlobalMeta, b"g").value?;
        context.put(b"x", b"2").value
    };
    check::<S>("what subtrees share", global, reads_global, false);
    // After going back the write is gone and the read is not.
    let back = |read: &'static [u8]| {
        move |tx: &Tx<'_, S>| {
            let context = tx.context(&[b"t"]);
            context.put(b"x", b"1").value?;
            let savepoint = tx.savepoint()?;
            context.get(read).value?;
            context.put(b"b", b"4").value?;
            tx.rollback_to(&savepoint)
        }
    };
    check::<S>("a read that was gone back from", put(b"d"), back(b"d"), false);
    check::<S>(
        "a write that was gone back from",
        read_put(b"b", b"y"),
        back(b"f"),
        true,
    );
}

pub(crate) fn no_update_is_lost_among_threads<S: Subject>() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 25;
    let (storage, _kept) = S::open();
    let number = |bytes: Option<Vec<u8>>| bytes.map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap()));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let storage = &storage;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let key = [((thread + round) % 3) as u8];
                    let add = |tx: &Tx<'_, S>| {
                        let context = tx.context(&[b"counters"]);
                        let value = number(context.get(&key).value?) + 1;
                        context.put(&key, &value.to_le_bytes()).value
                    };
                    storage.transact(add).unwrap();
                }
            });
        }
    });
    let context = storage.context(&[b"counters"]);
    let sum: u64 = (0..3).map(|key| number(context.get(&[key]).value.unwrap())).sum();
    assert_eq!(sum, THREADS * ROUNDS);
}

pub(crate) fn a_snapshot_stays_as_it_is<S: Subject>() {
    let (storage, _kept) = S::open();
    let now = storage.context(&[b"t"]);
    now.put(b"a", b"1").value.unwrap();
    let tx = storage.begin().unwrap();
    let context = tx.context(&[b"t"]);
    now.put(b"a", b"2").value.unwrap();
    now.put(b"b", b"2").value.unwrap();
    assert_eq!(context.get(b"a").value.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(context.get(b"b").value.unwrap(), None);
    assert_eq!(keys(&context).unwrap(), [b"a"]);
    context.put(b"c", b"3").value.unwrap();
    assert_eq!(keys(&context).unwrap(), [b"a", b"c"]);
    assert_eq!(keys(&now).unwrap(), [b"a", b"b"]);
    tx.rollback();
    assert_eq!(keys(&now).unwrap(), [b"a", b"b"]);
}

pub(crate) fn savepoints_lie_within_each_other<S: Subject>() {
    let (storage, _kept) = S::open();
    let tx = storage.begin().unwrap();
    let context = tx.context(&[b"t"]);
    let put = |key: &[u8], value: &[u8]| context.put(key, value).value.unwrap();
    let shown = || {
        let keys = keys(&context).unwrap();
        let pairs = keys
            .into_iter()
            .map(|key| (context.get(&key).value.unwrap().unwrap(), key));
        pairs
            .map(|(value, key)| [key, value].concat())
            .collect::<Vec<_>>()
    };
    put(b"a", b"1");
    let outer = tx.savepoint().unwrap();
    put(b"a", b"2");
    put(b"b", b"2");
    let inner = tx.savepoint().unwrap();
    context.delete(b"a").value.unwrap();
    put(b"c", b"3");
    tx.rollback_to(&inner).unwrap();
    assert_eq!(shown(), [b"a2", b"b2"]);
    put(b"b", b"4");
    // It stays good.
    tx.rollback_to(&inner).unwrap();
    assert_eq!(shown(), [b"a2", b"b2"]);
    tx.rollback_to(&outer).unwrap();
    assert_eq!(shown(), [b"a1"]);
    assert!(matches!(tx.rollback_to(&inner), Err(Error::SavepointGone)));
    tx.rollback_to(&outer).unwrap();
    tx.commit().unwrap();
    assert_eq!(
        storage.context(&[b"t"]).get(b"a").value.unwrap().as_deref(),
        Some(&b"1"[..])
    );
}

pub(crate) fn a_long_run_costs_what_is_written_down<S: Subject>() {
    let mut total = OperationCost::default();
    costs::<S>().into_iter().for_each(|cost| total += cost);
    let written_down = OperationCost {
        seeks: 1_012,
        added_bytes: 10_755,
        replaced_bytes: 1_029,
        removed_bytes: 3_499,
        loaded_bytes: 5_510,
        hash_calls: 0,
    };
    assert_eq!(total, written_down);
}

/// What a long run of the same operations costs, each of them.
pub(crate) fn costs<S: Subject>() -> Vec<OperationCost> {
    let (storage, _kept) = S::open();
    let mut chance = Chance::new(77);
    let mut costs = Vec::new();
    let batch = Arc::new(StorageBatch::new());
    for round in 0..12 {
        let prefix = [round % 3; 32];
        work(
            &storage.context_by_prefix(prefix).metered(),
            &mut chance,
            &mut costs,
        );
        let tx = storage.begin().unwrap();
        let context = tx.context_by_prefix([7; 32]).metered();
        work(&context, &mut chance, &mut costs);
        work(
            &context.clone().with_batch(batch.clone()),
            &mut chance,
            &mut costs,
        );
        costs.push(tx.estimate(&batch).unwrap());
        costs.push(tx.apply(&batch).cost);
        tx.commit().unwrap();
    }
    assert!(
        costs.iter().any(|cost| cost.replaced_bytes > 0) && costs.iter().any(|cost| cost.removed_bytes > 0)
    );
    costs
}

fn work(context: &impl StorageContext, chance: &mut Chance, costs: &mut Vec<OperationCost>) {
    let note = |done: CostResult<()>, costs: &mut Vec<OperationCost>| {
        done.value.unwrap();
        costs.push(done.cost);
    };
    for _ in 0..25 {
        let (family, key) = (Family::ALL[chance.below(5)], chance.key());
        match chance.below(4) {
            0 => note(context.delete_in(family, &key), costs),
            1 => costs.push(context.get_in(family, &key).cost),
            2 => costs.push(context.raw_iter(family).seek(&key).cost),
            _ => {
                let value = vec![1; chance.below(40)];
                note(context.put_in(family, &key, &value), costs);
            }
        }
    }
}

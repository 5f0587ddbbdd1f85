//! Transactions whose commits are halved, with others between the halves, against a forest in memory.

#[path = "../../tests/histories/serial.rs"]
mod serial;

use std::sync::Arc;

use serial::{Footprint, Record, Step, replay};
use weald_engine::{Committed, Database, DatabaseOptions, Readable, SyncPolicy};
use weald_proof::{Element, Forest, Query, verify};
use weald_vfs::Memory;

use super::meter::Meter;
use super::planted::{Planted, with};
use super::prepared::Prepared;
use super::{TreeKind, TreeStore, TreeTurns, TreeTx};
use crate::chance::Chance;
use crate::cost::{CostResult, OperationCost};
use crate::error::{Error, Result};

fn store(cache_bytes: usize) -> TreeStore {
    let options = DatabaseOptions::new()
        .vfs(Arc::new(Memory::new()))
        .sync(SyncPolicy::None)
        .background(false);
    let db = Database::open_with_options("trees.weald", options).unwrap();
    TreeStore::with_cache(db, cache_bytes).unwrap()
}

/// Where a transaction is.
enum At<'s> {
    Open(TreeTx<'s>),
    Prepared(Prepared<'s>),
}

struct Running<'s> {
    at: At<'s>,
    record: Record,
    began: usize,
}

/// What a history came to.
#[derive(Default)]
struct Outcome {
    refused: usize,
    costs: Vec<OperationCost>,
    turns: TreeTurns,
}

fn prepare(tx: TreeTx<'_>) -> Result<Prepared<'_>> {
    Meter::run(|meter| tx.prepare(meter)).value
}

fn commit(prepared: Prepared<'_>) -> CostResult<Committed> {
    Meter::run(|meter| prepared.commit(meter, None))
}

fn agrees(store: &TreeStore, forest: &Forest) -> std::result::Result<(), String> {
    let all = || -> Result<_> {
        let snapshot = store.snapshot()?;
        let query = Query::all().below(Query::all().below(Query::all()));
        Ok((
            snapshot.root()?,
            snapshot.prove(&query)?,
            snapshot.query(&query)?,
            query,
        ))
    };
    let (root, proof, answer, query) = all().map_err(|error| error.to_string())?;
    if root != forest.root() {
        return Err("another root hash".to_owned());
    }
    match verify(&proof, &root, &query) {
        Ok(proven) if proven == answer => Ok(()),
        other => Err(format!("proven is {other:?}")),
    }
}

/// Five transactions side by side; at each turn one of them takes a step, is prepared, or is committed.
fn history(seed: u64) -> std::result::Result<Outcome, String> {
    let mut chance = Chance::new(seed);
    let store = store(20_000);
    let (mut forest, mut outcome) = (Forest::new(), Outcome::default());
    let mut commits: Vec<Footprint> = Vec::new();
    let mut running: Vec<Running<'_>> = Vec::new();
    for turn in 0..1_500 {
        if running.len() < 5 {
            running.push(Running {
                at: At::Open(store.begin().unwrap()),
                record: Record::new(),
                began: commits.len(),
            });
        }
        let at = chance.below(running.len());
        let goes_on = running[at].record.len() < 1 + chance.below(8);
        if let (At::Open(tx), true) = (&mut running[at].at, goes_on) {
            let step = Step::random(&mut chance);
            let seen = step.take(tx).map_err(|error| error.to_string())?;
            running[at].record.push((step, seen));
            continue;
        }
        let one = running.swap_remove(at);
        if !Step::writes(&one.record) {
            continue;
        }
        let done = match one.at {
            At::Open(tx) => match prepare(tx) {
                Ok(prepared) => {
                    running.push(Running {
                        at: At::Prepared(prepared),
                        ..one
                    });
                    continue;
                }
                Err(error) => Err(error),
            },
            At::Prepared(prepared) => {
                let done = commit(prepared);
                if done.value.is_ok() {
                    outcome.costs.push(done.cost);
                }
                done.value
            }
        };
        let footprint = Footprint::of(&one.record);
        match done {
            Ok(_) => {
                replay(&mut forest, &one.record)?;
                commits.push(footprint);
            }
            Err(Error::Conflict) => {
                let others = &commits[one.began..];
                if !others.iter().any(|other| footprint.may_conflict_with(other)) {
                    return Err(format!("refused without a cause: {:?}", one.record));
                }
                outcome.refused += 1;
            }
            Err(error) => return Err(error.to_string()),
        }
        if turn % 10 == 0 {
            agrees(&store, &forest)?;
        }
    }
    agrees(&store, &forest)?;
    outcome.turns = store.turns();
    Ok(outcome)
}

const SEEDS: std::ops::Range<u64> = 0..8;

#[test]
fn what_is_settled_ahead_comes_to_the_same_and_costs_the_same() {
    let mut turns = TreeTurns::default();
    for seed in SEEDS {
        println!("seed {seed}");
        let ahead = history(seed).unwrap();
        let in_turn = with(Planted::NothingAhead, || history(seed)).unwrap();
        assert_eq!((in_turn.turns.ahead, in_turn.turns.again), (0, 0));
        assert_eq!(ahead.costs, in_turn.costs);
        assert!(ahead.refused > 5 && ahead.costs.len() > 50);
        turns.ahead += ahead.turns.ahead;
        turns.in_turn += ahead.turns.in_turn;
        turns.again += ahead.turns.again;
    }
    println!("{turns:?}");
    assert!(
        turns.ahead > 200 && turns.in_turn > 500 && turns.again > 30,
        "{turns:?}"
    );
}

#[test]
fn taking_over_what_has_changed_is_noticed() {
    let noticed = SEEDS.filter(|seed| with(Planted::TakesOverChanged, || history(*seed)).is_err());
    assert_eq!(noticed.count(), SEEDS.count());
}

#[test]
fn a_writer_alone_has_everything_ahead_and_two_in_subtrees_all_but_what_holds_both() {
    let store = store(1 << 20);
    let names: [&[u8]; 2] = [b"a", b"b"];
    store
        .transact(|tx| {
            for name in names {
                tx.create_tree(&[], name, TreeKind::Plain)?;
                tx.create_tree(&[name], b"within", TreeKind::Sum)?;
            }
            Ok(())
        })
        .unwrap();
    let begin = |name: &[u8], n: u64| {
        let mut tx = store.begin().unwrap();
        tx.put(&[name, b"within"], &n.to_be_bytes(), Element::SumItem(1))
            .unwrap();
        prepare(tx).unwrap()
    };
    let before = store.turns();
    for n in 0..20 {
        commit(begin(b"a", n)).value.unwrap();
    }
    let alone = store.turns();
    assert_eq!(alone.ahead - before.ahead, 60);
    assert_eq!(alone.in_turn, before.in_turn);
    for n in 20..40 {
        let both = names.map(|name| begin(name, n));
        for prepared in both {
            commit(prepared).value.unwrap();
        }
    }
    let two = store.turns();
    assert!(two.ahead - alone.ahead >= 80, "{two:?}");
    assert!(two.in_turn - alone.in_turn <= 40, "{two:?}");
    assert!(two.again - alone.again <= 3, "{two:?}");
}

/// The database has what is committed and nothing else, whatever was staged and taken back.
#[test]
fn nothing_of_what_was_settled_in_vain_is_left() {
    let (one, other) = (store(1 << 20), store(1 << 20));
    for n in 0..200u64 {
        let put = |store: &'_ TreeStore, n: u64| -> Result<()> {
            store.transact(|tx| tx.put(&[], &n.to_be_bytes(), Element::SumItem(1)))
        };
        let mut tx = one.begin().unwrap();
        tx.put(&[], &(2 * n).to_be_bytes(), Element::SumItem(1)).unwrap();
        let prepared = prepare(tx).unwrap();
        put(&one, 2 * n + 1).unwrap();
        commit(prepared).value.unwrap();
        put(&other, 2 * n).unwrap();
        put(&other, 2 * n + 1).unwrap();
    }
    assert!(one.turns().again > 5);
    let contents = |store: &TreeStore| -> Vec<(Vec<u8>, Vec<u8>)> {
        let tx = store.database().read().unwrap();
        let all = tx.bucket(b"weald tree all").unwrap();
        all.iter()
            .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
            .collect()
    };
    assert!(contents(&one) == contents(&other));
}

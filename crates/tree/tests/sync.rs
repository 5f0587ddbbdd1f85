//! Replicas filled from sources that lie, stop and change: in every order, the same trees come out or an error.

mod chance;

use std::collections::BTreeSet;
use std::sync::Arc;

use chance::Chance;
use weald_engine::{Database, DatabaseOptions, SyncPolicy};
use weald_tree::{
    Applied, ChunkId, Element, Error, Hash, Query, Reference, Result, TreeKind, TreeSnapshot, TreeStore,
    TreeSync, verify_chunk,
};
use weald_vfs::Memory;

fn open(vfs: &Arc<Memory>) -> TreeStore {
    let options = DatabaseOptions::new()
        .vfs(vfs.clone())
        .sync(SyncPolicy::None)
        .background(false);
    TreeStore::open(Database::open_with_options("trees.weald", options).unwrap()).unwrap()
}

fn store() -> TreeStore {
    open(&Arc::new(Memory::new()))
}

/// Three entries, a sum tree of two, and in that an empty tree: four chunks of up to two entries.
fn small() -> TreeStore {
    let store = store();
    store
        .transact(|tx| {
            tx.put(&[], b"a", Element::Item(b"apple".to_vec()))?;
            tx.create_tree(&[], b"b", TreeKind::Sum)?;
            tx.put(&[], b"c", Element::SumItem(-3))?;
            tx.put(&[b"b"], b"five", Element::SumItem(5))?;
            tx.create_tree(&[b"b"], b"none", TreeKind::Count)?;
            tx.create_tree(&[b"b"], b"some", TreeKind::Count)?;
            let elsewhere = Reference::Absolute(vec![b"a".to_vec()]);
            tx.put(&[b"b", b"some"], b"ref", Element::Reference(elsewhere))
        })
        .unwrap();
    store
}

/// Trees of all kinds within each other, some large.
fn large(chance: &mut Chance) -> TreeStore {
    let store = store();
    let mut paths: Vec<Vec<Vec<u8>>> = vec![vec![]];
    store
        .transact(|tx| {
            paths.truncate(1);
            for n in 0..12u8 {
                let path = paths[chance.below(paths.len())].clone();
                let at: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
                let kind = [TreeKind::Plain, TreeKind::Sum, TreeKind::Count][chance.below(3)];
                let key = [b"tree ".as_slice(), &[n]].concat();
                tx.create_tree(&at, &key, kind)?;
                if path.len() < 4 {
                    paths.push(path.iter().cloned().chain([key]).collect());
                }
            }
            for (index, path) in paths.iter().enumerate() {
                let at: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
                for n in 0..[900, 40, 3, 0][index % 4] {
                    let key = [&chance.key()[..], &chance.below(1 << 30).to_be_bytes()].concat();
                    let element = match n % 3 {
                        0 => Element::SumItem(chance.below(1_000) as i64 - 500),
                        _ => Element::Item(vec![7; chance.below(300)]),
                    };
                    tx.put(&at, &key, element)?;
                }
            }
            Ok(())
        })
        .unwrap();
    store
}

fn same(replica: &TreeStore, source: &TreeSnapshot<'_>) {
    let copy = replica.snapshot().unwrap();
    assert_eq!(copy.root().unwrap(), source.root().unwrap());
    assert_eq!(copy.diff(source).unwrap(), []);
    let all = Query::all().below(Query::all().below(Query::all()));
    assert_eq!(copy.query(&all).unwrap(), source.query(&all).unwrap());
    assert_eq!(copy.prove(&all).unwrap(), source.prove(&all).unwrap());
}

/// All chunks of at most `limit` entries, each after the one that makes it known; a tree in each.
fn chunks(source: &TreeSnapshot<'_>, limit: u64) -> Vec<Vec<u8>> {
    chunks_of(source, limit, false)
}

/// The same, with what is in small subtrees or without.
fn chunks_of(source: &TreeSnapshot<'_>, limit: u64, within: bool) -> Vec<Vec<u8>> {
    let replica = store();
    let sync = TreeSync::begin(&replica, source.root().unwrap()).unwrap();
    let mut chunks = Vec::new();
    while let Some(id) = sync.wanted(1).unwrap().pop() {
        assert!(id.within, "a replica has no use for chunks without");
        let id = ChunkId {
            limit: id.limit.min(limit),
            within,
            ..id
        };
        let chunk = source.chunk(&id).unwrap();
        assert!(matches!(sync.apply(&chunk).unwrap(), Applied::New { .. }));
        chunks.push(chunk);
    }
    sync.finish().unwrap();
    same(&replica, source);
    chunks
}

/// Applies the chunks in that order, again and again those that are not wanted yet.
fn fetch(root: Hash, chunks: &[&Vec<u8>]) -> TreeStore {
    let replica = store();
    let sync = TreeSync::begin(&replica, root).unwrap();
    let mut waiting = chunks.to_vec();
    while !sync.is_complete().unwrap() {
        let before = waiting.len();
        waiting.retain(|chunk| sync.apply(chunk).unwrap() == Applied::NotWanted);
        assert!(waiting.len() < before);
    }
    assert!(waiting.is_empty());
    sync.finish().unwrap();
    replica
}

fn orders(rest: usize, order: &mut Vec<usize>, each: &mut impl FnMut(&[usize])) {
    if order.len() == rest {
        return each(order);
    }
    for next in 0..rest {
        if !order.contains(&next) {
            order.push(next);
            orders(rest, order, each);
            order.pop();
        }
    }
}

#[test]
fn chunks_in_every_order_give_the_same_trees() {
    let source = small();
    let snapshot = source.snapshot().unwrap();
    let chunks = chunks(&snapshot, 2);
    assert_eq!(chunks.len(), 5);
    let mut count = 0;
    orders(chunks.len(), &mut Vec::new(), &mut |order| {
        let chunks: Vec<&Vec<u8>> = order.iter().map(|index| &chunks[*index]).collect();
        same(&fetch(snapshot.root().unwrap(), &chunks), &snapshot);
        count += 1;
    });
    assert_eq!(count, 120);
}

#[test]
fn large_trees_come_whole_from_several_threads_in_any_order() {
    for seed in 0..3 {
        let mut chance = Chance::new(seed);
        let source = large(&mut chance);
        let snapshot = source.snapshot().unwrap();
        let replica = store();
        let sync = TreeSync::begin(&replica, snapshot.root().unwrap()).unwrap();
        while !sync.is_complete().unwrap() {
            let mut ids = sync.wanted(16).unwrap();
            assert!(!ids.is_empty() && ids.len() <= 16);
            let some = 1 + chance.below(ids.len());
            while ids.len() > some {
                ids.swap_remove(chance.below(ids.len()));
            }
            let smaller: Vec<u64> = ids
                .iter()
                .map(|id| 1 + chance.below(id.limit as usize) as u64)
                .collect();
            std::thread::scope(|scope| {
                for (id, limit) in ids.into_iter().zip(smaller) {
                    let (sync, source) = (&sync, &source);
                    scope.spawn(move || {
                        let id = ChunkId { limit, ..id };
                        let chunk = source.snapshot().unwrap().chunk(&id).unwrap();
                        sync.apply(&chunk).unwrap();
                    });
                }
            });
        }
        sync.finish().unwrap();
        same(&replica, &snapshot);
    }
}

/// Nothing of it is taken, and the store is as it was.
fn refused(sync: &TreeSync<'_>, replica: &TreeStore, chunk: &[u8], what: &str) {
    let before = (replica.root().unwrap(), sync.wanted(100).unwrap());
    let refused = sync.apply(chunk);
    assert!(matches!(refused, Err(Error::Chunk(_))), "{what}: {refused:?}");
    assert_eq!(
        (replica.root().unwrap(), sync.wanted(100).unwrap()),
        before,
        "{what}"
    );
}

#[test]
fn every_changed_cut_or_extended_chunk_is_refused() {
    let source = small();
    let snapshot = source.snapshot().unwrap();
    let root = snapshot.root().unwrap();
    let replica = store();
    let sync = TreeSync::begin(&replica, root).unwrap();
    let mut tried = 0;
    let plain = chunks(&snapshot, 2);
    for chunk in plain.iter().chain(&chunks_of(&snapshot, 2, true)) {
        for at in 0..chunk.len() {
            for bit in 0..8 {
                let mut changed = chunk.clone();
                changed[at] ^= 1 << bit;
                assert!(verify_chunk(&changed, &root).is_err(), "byte {at}, bit {bit}");
                tried += 1;
            }
            assert!(verify_chunk(&chunk[..at], &root).is_err(), "cut at {at}");
        }
        assert!(verify_chunk(&[&chunk[..], &[0]].concat(), &root).is_err());
        let mut changed = chunk.clone();
        let last = changed.len() - 1;
        changed[last] ^= 1;
        refused(&sync, &replica, &changed, "changed");
        refused(&sync, &replica, &chunk[..last], "cut");
        refused(&sync, &replica, &[&chunk[..], &[0]].concat(), "extended");
        let other = [&[3 - chunk[0]], &chunk[1..]].concat();
        refused(&sync, &replica, &other, "under another first byte");
        sync.apply(chunk).unwrap();
    }
    assert!(tried > 1_000);
    sync.finish().unwrap();
    same(&replica, &snapshot);
}

#[test]
fn chunks_of_other_trees_and_other_states_are_refused() {
    let source = small();
    let snapshot = source.snapshot().unwrap();
    let mut chance = Chance::new(5);
    let other = large(&mut chance);
    let replica = store();
    let sync = TreeSync::begin(&replica, snapshot.root().unwrap()).unwrap();
    for chunk in chunks(&other.snapshot().unwrap(), 100) {
        refused(&sync, &replica, &chunk, "another store's");
    }
    for bytes in [&b""[..], b"\x01", b"\x02", b"\x01\x00\x00\x00\x00", &[0xff; 100]] {
        refused(&sync, &replica, bytes, "nothing");
    }
    // The source goes on. What it has now is another state; what the snapshot holds is not.
    source
        .transact(|tx| tx.put(&[], b"d", Element::SumItem(1)))
        .unwrap();
    source.transact(|tx| tx.drop_tree(&[], b"b").map(drop)).unwrap();
    source.reclaim(u64::MAX).unwrap();
    let later = source.snapshot().unwrap();
    while let Some(id) = sync.wanted(1).unwrap().pop() {
        match later.chunk(&id) {
            Ok(chunk) => refused(&sync, &replica, &chunk, "a later state's"),
            Err(error) => assert!(
                matches!(error, Error::NoSubtree { .. } | Error::NoSuchChunk),
                "{error}"
            ),
        }
        sync.apply(&snapshot.chunk(&id).unwrap()).unwrap();
    }
    sync.finish().unwrap();
    same(&replica, &snapshot);
}

#[test]
fn an_interrupted_sync_goes_on_where_it_was() {
    let mut chance = Chance::new(9);
    let source = large(&mut chance);
    let snapshot = source.snapshot().unwrap();
    let root = snapshot.root().unwrap();
    let vfs = Arc::new(Memory::new());
    let mut seen = BTreeSet::new();
    loop {
        // Opened anew for each chunk.
        let replica = open(&vfs);
        let sync = TreeSync::begin(&replica, root).unwrap();
        let ids = sync.wanted(8).unwrap();
        if ids.is_empty() {
            sync.finish().unwrap();
            break;
        }
        let id = ids[chance.below(ids.len())].clone();
        let applied = sync.apply(&snapshot.chunk(&id).unwrap()).unwrap();
        assert!(matches!(applied, Applied::New { entries } if entries > 0));
        assert!(seen.insert((id.path, id.offset)), "nothing is fetched twice");
    }
    same(&open(&vfs), &snapshot);
}

#[test]
fn a_store_takes_one_sync_at_a_time_and_only_if_it_is_empty() {
    let source = small();
    let root = source.root().unwrap();
    let other = Hash([7; 32]);
    let replica = store();
    assert!(matches!(TreeSync::abandon(&replica), Err(Error::NoSync)));
    let sync = TreeSync::begin(&replica, root).unwrap();
    let id = sync.wanted(1).unwrap().remove(0);
    let chunk = source.snapshot().unwrap().chunk(&id).unwrap();
    sync.apply(&chunk).unwrap();
    assert_eq!(sync.apply(&chunk).unwrap(), Applied::NotWanted);
    let begun = TreeSync::begin(&replica, other);
    assert!(matches!(begun, Err(Error::SyncOfAnother { root: at }) if at == root));
    assert!(matches!(
        TreeSync::begin(&replica, root).unwrap().finish(),
        Err(Error::Incomplete)
    ));

    TreeSync::abandon(&replica).unwrap();
    assert!(matches!(sync.wanted(1), Err(Error::NoSync)));
    assert!(matches!(sync.apply(&chunk), Err(Error::NoSync)));
    assert_eq!(replica.root().unwrap(), store().root().unwrap());
    let sync = TreeSync::begin(&replica, root).unwrap();
    while let Some(id) = sync.wanted(1).unwrap().pop() {
        sync.apply(&source.snapshot().unwrap().chunk(&id).unwrap())
            .unwrap();
    }
    // Somebody writes in between, so the root hash is not what was asked for.
    replica
        .transact(|tx| tx.put(&[], b"mine", Element::SumItem(1)))
        .unwrap();
    assert!(matches!(sync.finish(), Err(Error::OtherRoot { .. })));
    replica.transact(|tx| tx.delete(&[], b"mine").map(drop)).unwrap();
    TreeSync::begin(&replica, root).unwrap().finish().unwrap();
    same(&replica, &source.snapshot().unwrap());
    assert!(matches!(TreeSync::begin(&replica, other), Err(Error::NotEmpty)));

    // The empty trees are there at once.
    let nothing = store();
    let empty = nothing.root().unwrap();
    let sync = TreeSync::begin(&nothing, empty).unwrap();
    assert!(sync.wanted(9).unwrap().is_empty());
    sync.finish().unwrap();
}

#[test]
fn chunks_are_small_unless_an_entry_is_large() {
    let source = store();
    source
        .transact(|tx| {
            for n in 0..3_000u32 {
                tx.put(&[], &n.to_be_bytes(), Element::Item(vec![1; 400]))?;
            }
            for n in 0..3u8 {
                tx.put(&[], &[b'l', n], Element::Item(vec![n; 300_000]))?;
            }
            Ok(())
        })
        .unwrap();
    let snapshot = source.snapshot().unwrap();
    let chunks = chunks(&snapshot, u64::MAX);
    let lens: Vec<usize> = chunks.iter().map(Vec::len).collect();
    assert!(lens.iter().all(|len| *len < 310_000), "{lens:?}");
    assert!(lens.len() > 5 && lens.len() < 15, "{lens:?}");
}

#[test]
fn a_checkpoint_stays_and_can_be_fetched_from() {
    let vfs = Arc::new(Memory::new());
    let source = open(&vfs);
    let mut chance = Chance::new(3);
    for n in 0..40 {
        let element = Element::Item(vec![n; chance.below(400)]);
        source.transact(|tx| tx.put(&[], &[n], element.clone())).unwrap();
    }
    let root = source.root().unwrap();
    let options = || DatabaseOptions::new().vfs(vfs.clone()).background(false);
    source.checkpoint("monday.weald", options()).unwrap();
    source
        .transact(|tx| tx.put(&[], b"later", Element::SumItem(1)))
        .unwrap();
    let again = source.checkpoint("monday.weald", options());
    assert!(
        matches!(again, Err(Error::Engine(weald_engine::Error::Exists { .. }))),
        "{again:?}"
    );
    drop(source);
    let monday = Database::open_with_options("monday.weald", options().read_only(true)).unwrap();
    let monday = TreeStore::open(monday).unwrap();
    let snapshot = monday.snapshot().unwrap();
    assert_eq!(snapshot.root().unwrap(), root);
    chunks(&snapshot, 7);
}

/// Wrong questions get a typed answer.
#[test]
fn a_source_refuses_what_it_does_not_have() -> Result<()> {
    let source = small();
    let snapshot = source.snapshot()?;
    let id = |path: &[&[u8]], offset| ChunkId {
        path: path.iter().map(|segment| segment.to_vec()).collect(),
        offset,
        limit: 3,
        within: false,
    };
    assert!(matches!(
        snapshot.chunk(&id(&[b"x"], 0)),
        Err(Error::NoSubtree { depth: 0 })
    ));
    assert!(matches!(
        snapshot.chunk(&id(&[b"a"], 0)),
        Err(Error::NoSubtree { depth: 0 })
    ));
    assert!(matches!(snapshot.chunk(&id(&[], 3)), Err(Error::NoSuchChunk)));
    assert!(matches!(
        snapshot.chunk(&id(&[], u64::MAX)),
        Err(Error::NoSuchChunk)
    ));
    assert!(matches!(
        snapshot.chunk(&id(&[&[b'p'][..]; 40], 0)),
        Err(Error::PathTooLong { .. })
    ));
    let empty = verify_chunk(&snapshot.chunk(&id(&[b"b", b"none"], 0))?, &snapshot.root()?).unwrap();
    assert_eq!((empty.entries.len(), empty.count), (0, Some(0)));
    Ok(())
}

/// Subtrees of each size: many small ones, some of them with subtrees, and a few that are large.
fn grown() -> TreeStore {
    let source = store();
    source
        .transact(|tx| {
            for n in 0..600u32 {
                let name = n.to_be_bytes();
                tx.create_tree(&[], &name, TreeKind::Sum)?;
                let entries = if n % 150 == 140 { 2_000 } else { n % 4 };
                for m in 0..entries {
                    tx.put(&[&name], &m.to_be_bytes(), Element::SumItem(i64::from(n)))?;
                }
                if n % 100 == 50 {
                    tx.create_tree(&[&name], b"deep", TreeKind::Count)?;
                    tx.put(&[&name, b"deep"], b"down", Element::Item(vec![1; 20]))?;
                }
            }
            Ok(())
        })
        .unwrap();
    source
}

#[test]
fn small_subtrees_come_with_the_entries_that_hold_them() {
    let source = grown();
    let snapshot = source.snapshot().unwrap();
    let (apart, within) = (chunks(&snapshot, 1_000), chunks_of(&snapshot, 1_000, true));
    let bytes = |chunks: &[Vec<u8>]| chunks.iter().map(Vec::len).sum::<usize>();
    assert!(apart.len() > 450, "{}", apart.len());
    assert!(
        within.len() * 4 < apart.len(),
        "{} of {}",
        within.len(),
        apart.len()
    );
    assert!(
        bytes(&within) * 2 < bytes(&apart),
        "{} of {}",
        bytes(&within),
        bytes(&apart)
    );
    assert!(within.iter().all(|chunk| chunk.len() < 400_000));
    // Some of each kind, and in any order.
    let mut chance = Chance::new(11);
    let mut mixed: Vec<&Vec<u8>> = within.iter().chain(&apart).collect();
    for last in (1..mixed.len()).rev() {
        mixed.swap(last, chance.below(last + 1));
    }
    let replica = store();
    let sync = TreeSync::begin(&replica, snapshot.root().unwrap()).unwrap();
    while !sync.is_complete().unwrap() {
        for chunk in &mixed {
            sync.apply(chunk).unwrap();
        }
    }
    sync.finish().unwrap();
    same(&replica, &snapshot);
}

/// What was written down stays readable.
#[test]
fn the_golden_chunks_are_made_and_read() {
    let source = small();
    let snapshot = source.snapshot().unwrap();
    let golden = include_bytes!("golden/small.chunks");
    let made = chunks(&snapshot, 2);
    let listed: Vec<u8> = made
        .iter()
        .flat_map(|chunk| {
            (chunk.len() as u32)
                .to_le_bytes()
                .into_iter()
                .chain(chunk.iter().copied())
        })
        .collect();
    assert!(
        listed == golden,
        "the chunks of the small trees are {listed:02x?}"
    );
    assert_eq!(snapshot.root().unwrap().to_string(), GOLDEN_ROOT);
    let (mut rest, mut read) = (&golden[..], Vec::new());
    while let Some((len, after)) = rest.split_first_chunk() {
        let (chunk, after) = after.split_at(u32::from_le_bytes(*len) as usize);
        read.push(chunk.to_vec());
        rest = after;
    }
    let root = Hash::from_hex(GOLDEN_ROOT).unwrap();
    same(&fetch(root, &read.iter().collect::<Vec<_>>()), &snapshot);
}

const GOLDEN_ROOT: &str = "ac3148459f99f7a3af5ee2cd240e4375fc278f6da2085eca05dec05cd90f47d5";

//! Records of trees that are not what was written, as if the engine's checksums had been forged along: typed errors or right answers.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use weald_engine::{Database, DatabaseOptions, Readable, SyncPolicy, Writable};
use weald_tree::{
    Answer, ChunkId, Element, Hash, Query, Range, Reference, TreeKind, TreeStore, TreeSync, verify,
    verify_chunk,
};
use weald_vfs::Memory;

use crate::input::Input;

const BUCKETS: [&[u8]; 3] = [b"weald tree all", b"weald tree dropped", b"weald tree sync"];

/// All records, by bucket and key.
type Records = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

/// Honest trees, and what they answer.
struct Template {
    records: Records,
    root: Hash,
    answers: Vec<(Query, Answer)>,
}

/// Changes records and then reads, proves, writes and reclaims: nothing panics or goes on for ever, and what is proven is right.
pub(crate) fn run(data: &[u8]) {
    let template = template();
    let mut input = Input(data);
    let mut records = template.records.clone();
    let writes = input.byte();
    while !input.is_empty() {
        change(&mut records, &mut input);
    }
    let db = database().expect("memory does not fail");
    TreeStore::open(db.clone()).expect("it is empty");
    fill(&db, &records);
    // Without a cache, so that everything is read.
    let store = TreeStore::with_cache(db, 0).expect("its format is known");
    read(&store, template);
    write(&store, writes);
}

/// One without a log and threads, of which there are very many.
fn database() -> weald_tree::Result<Arc<Database>> {
    let options = DatabaseOptions::new()
        .vfs(Arc::new(Memory::new()))
        .background(false)
        .wal(false)
        .sync(SyncPolicy::None);
    Ok(Arc::new(Database::open_with_options("/fuzz.weald", options)?))
}

/// Changes a record as the input says.
fn change(records: &mut Records, input: &mut Input<'_>) {
    let any = |records: &Records, at: usize| {
        let record = records.iter().nth(at % records.len().max(1));
        record.map(|(key, value)| (key.clone(), value.clone()))
    };
    let Some((at, mut value)) = any(records, input.short()) else {
        return;
    };
    match input.byte() % 5 {
        0 => drop(records.remove(&at)),
        1 => {
            let mut key = at.1.clone();
            input.patch(&mut key);
            records.remove(&at);
            records.insert((at.0, key), value);
        }
        2 => {
            // A record of another time or place: right in itself.
            if let Some((other, held)) = any(records, input.short()) {
                records.insert(at, held);
                records.insert(other, value);
            }
        }
        _ => {
            input.patch(&mut value);
            records.insert(at, value);
        }
    }
}

fn fill(db: &Database, records: &Records) {
    let mut tx = db.write().expect("there is no other writer");
    for ((bucket, key), value) in records {
        let mut bucket = tx.bucket_mut(BUCKETS[*bucket]).expect("the store was opened");
        // Keys can have become too long, which the engine says.
        let _ = bucket.put(key, value);
    }
    tx.commit().expect("memory does not fail");
}

fn read(store: &TreeStore, template: &Template) {
    let snapshot = store.snapshot().expect("memory does not fail");
    let own = snapshot.root();
    for (query, honest) in &template.answers {
        let _ = snapshot.query(query);
        let Ok(proof) = snapshot.prove(query) else {
            continue;
        };
        if let Ok(told) = verify(&proof, &template.root, query) {
            assert_eq!(told, *honest, "{query:?}");
        }
        if let Ok(root) = &own {
            let _ = verify(&proof, root, query);
        }
    }
    let _ = snapshot.follow(&[b"sums"], b"there");
    let _ = snapshot.diff(&snapshot);
    for path in [vec![], vec![b"sums".to_vec()]] {
        let id = ChunkId {
            path,
            offset: 3,
            limit: 20,
            within: true,
        };
        if let Ok(chunk) = snapshot.chunk(&id)
            && let Ok(proven) = verify_chunk(&chunk, &template.root)
        {
            assert_eq!(proven.offset, 3);
        }
    }
}

fn write(store: &TreeStore, how: u8) {
    let written = store.transact(|tx| {
        tx.put(&[b"sums"], &[how % 64], Element::SumItem(-1))?;
        tx.delete(&[b"sums", b"counts"], &[b'k', how % 40])?;
        if how & 64 != 0 {
            tx.drop_tree(&[], b"sums")?;
        }
        if how & 128 != 0 {
            tx.create_tree(&[], b"gone", TreeKind::Count)?;
            tx.put(&[b"gone"], b"back", Element::Item(vec![how]))?;
        }
        tx.root()
    });
    if let Ok(root) = written {
        // Another root may come of damage, but not of two looks at it.
        assert_eq!(store.root().expect("it was just read"), root);
    }
    let _ = store.reclaim(1_000);
    if let Ok(sync) = TreeSync::begin(store, Hash([7; 32])) {
        let _ = sync.wanted(50);
        let _ = sync.finish();
    }
    let _ = TreeSync::abandon(store);
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| honest().expect("memory does not fail"))
}

fn honest() -> weald_tree::Result<Template> {
    let db = database()?;
    let store = TreeStore::open(db.clone())?;
    store.transact(|tx| {
        tx.create_tree(&[], b"sums", TreeKind::Sum)?;
        tx.create_tree(&[b"sums"], b"counts", TreeKind::Count)?;
        for n in 0..40u8 {
            tx.put(&[b"sums"], &[n], Element::SumItem(i64::from(n)))?;
            tx.put(&[b"sums", b"counts"], &[b'k', n], Element::Item(vec![n; 3]))?;
        }
        let to = Reference::Relative {
            up: 1,
            down: vec![b"item".to_vec()],
        };
        tx.put(&[b"sums"], b"there", Element::Reference(to))?;
        tx.put(&[], b"item", Element::Item(b"here".to_vec()))?;
        tx.create_tree(&[], b"gone", TreeKind::Plain)?;
        tx.put(&[b"gone"], b"key", Element::SumItem(1))?;
        Ok(())
    })?;
    store.transact(|tx| tx.drop_tree(&[], b"gone"))?;
    let snapshot = store.snapshot()?;
    let answers = queries().into_iter().map(|query| {
        let answer = snapshot.query(&query)?;
        Ok((query, answer))
    });
    let answers = answers.collect::<weald_tree::Result<_>>()?;
    let mut records = records(&db)?;
    records.extend(begun_sync()?);
    Ok(Template {
        records,
        root: snapshot.root()?,
        answers,
    })
}

/// The records of a sync that has some way to go.
fn begun_sync() -> weald_tree::Result<Records> {
    let db = database()?;
    TreeSync::begin(&TreeStore::open(db.clone())?, Hash([7; 32]))?;
    records(&db)
}

fn records(db: &Database) -> weald_tree::Result<Records> {
    let tx = db.read()?;
    let mut records = Records::new();
    for (index, name) in BUCKETS.iter().enumerate() {
        for pair in tx.bucket(name)?.iter() {
            let (key, value) = pair?;
            records.insert((index, key.to_vec()), value.to_vec());
        }
    }
    Ok(records)
}

fn queries() -> Vec<Query> {
    vec![
        Query::all().below(Query::all().below(Query::all())),
        Query::key(&[7]).at(["sums"]),
        Query::key(b"absent").at(["sums"]),
        Query::totals(Range::of(&[b'k', 3][..]..&[b'k', 30][..])).at(["sums", "counts"]),
        Query::entries([Range::of(&[5][..]..)])
            .at(["sums"])
            .offset(3)
            .limit(4),
        Query::all().at(["gone"]),
    ]
}

//! Changed chunks of trees: none but the honest one may pass.

use std::sync::OnceLock;

use weald_engine::Database;
use weald_proof::{Element, Hash};
use weald_tree::{ChunkId, TreeKind, TreeStore, verify_chunk};

use crate::input::Input;

/// A store of trees, and all its chunks of a few entries.
struct Template {
    store: TreeStore,
    root: Hash,
    chunks: Vec<Vec<u8>>,
}

/// Changes a chunk and checks it: what passes is the chunk that the store gives for that place.
pub(crate) fn run(data: &[u8]) {
    let template = template();
    let mut input = Input(data);
    let mut chunk = match input.byte() % 4 {
        0 => input.0.to_vec(),
        _ => template.chunks[usize::from(input.byte()) % template.chunks.len()].clone(),
    };
    while !input.is_empty() {
        input.patch(&mut chunk);
    }
    if let Ok(proven) = verify_chunk(&chunk, &template.root) {
        let id = ChunkId {
            path: proven.path,
            offset: proven.offset,
            limit: proven.entries.len().max(1) as u64,
            within: proven.entries.iter().any(|entry| entry.below.is_some()),
        };
        let snapshot = template.store.snapshot().expect("it is in memory");
        let honest = snapshot.chunk(&id).expect("what is proven is there");
        assert_eq!(
            chunk, honest,
            "for each place, length and kind exactly one chunk is accepted"
        );
    }
    if let Ok(id) = ChunkId::decode(data) {
        assert_eq!(id.encode(), data, "a name has one form only");
    }
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let store = store().expect("it is in memory");
        let snapshot = store.snapshot().expect("it is in memory");
        let places = [(&[][..], 42), (&[b"sums".to_vec()], 9), (&[b"none".to_vec()], 1)];
        let chunks = places.into_iter().flat_map(|(path, count)| {
            let snapshot = &snapshot;
            (0..2 * count).step_by(5).map(move |place| {
                let id = ChunkId {
                    path: path.to_vec(),
                    offset: place % count,
                    limit: 5,
                    within: place < count,
                };
                snapshot.chunk(&id).expect("the tree is that long")
            })
        });
        let (chunks, root) = (chunks.collect(), snapshot.root().expect("it is in memory"));
        drop(snapshot);
        Template { store, root, chunks }
    })
}

fn store() -> weald_tree::Result<TreeStore> {
    let store = TreeStore::open(Database::in_memory()?)?;
    store.transact(|tx| {
        for i in 0..40_u8 {
            tx.put(&[], &[b'k', i], Element::Item(vec![i; usize::from(i % 7)]))?;
        }
        tx.create_tree(&[], b"none", TreeKind::Count)?;
        tx.create_tree(&[], b"sums", TreeKind::Sum)?;
        for i in 0..9_u8 {
            tx.put(&[b"sums"], &[i], Element::SumItem(i64::from(i) - 4))?;
        }
        Ok(())
    })?;
    Ok(store)
}

//! Iterators over a context that fails.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

use weald_engine::Database;
use weald_tree::{
    Context, CostResult, Direction, Error, Family, Immediate, OwnedPair, PREFIX_LEN, Storage, StorageContext,
};

/// A context whose reads fail while that is asked for.
struct Failing<'s> {
    context: Context<Immediate<'s>>,
    fails: AtomicBool,
}

impl StorageContext for Failing<'_> {
    fn prefix(&self) -> &[u8; PREFIX_LEN] {
        self.context.prefix()
    }

    fn get_in(&self, family: Family, key: &[u8]) -> CostResult<Option<Vec<u8>>> {
        self.context.get_in(family, key)
    }

    fn put_in(&self, family: Family, key: &[u8], value: &[u8]) -> CostResult<()> {
        self.context.put_in(family, key, value)
    }

    fn delete_in(&self, family: Family, key: &[u8]) -> CostResult<()> {
        self.context.delete_in(family, key)
    }

    fn neighbour(
        &self,
        family: Family,
        place: Bound<&[u8]>,
        direction: Direction,
    ) -> CostResult<Option<OwnedPair>> {
        let mut found = self.context.neighbour(family, place, direction);
        if self.fails.load(Ordering::Relaxed) {
            found.value = Err(Error::Conflict);
        }
        found
    }
}

#[test]
fn an_iterator_reports_an_error_and_stays_where_it_was() {
    let storage = Storage::open(Database::in_memory().unwrap()).unwrap();
    let context = Failing {
        context: storage.context(&[b"t"]),
        fails: AtomicBool::new(false),
    };
    for family in Family::ALL {
        for key in [b"a", b"b", b"c"] {
            context.put_in(family, key, key).value.unwrap();
        }
        let mut iter = context.raw_iter(family);
        let fails = |yes| context.fails.store(yes, Ordering::Relaxed);
        fails(true);
        assert!(iter.next().value.is_err() && !iter.valid());
        fails(false);
        assert!(iter.next().value.unwrap());
        assert!(iter.next().value.unwrap());
        fails(true);
        assert!(iter.next().value.is_err() && iter.prev().value.is_err() && iter.seek(b"a").value.is_err());
        assert_eq!((iter.key(), iter.value()), (Some(&b"b"[..]), Some(&b"b"[..])));
        fails(false);
        assert!(iter.next().value.unwrap());
        assert_eq!(iter.key(), Some(&b"c"[..]));
        assert!(!iter.next().value.unwrap());
        fails(true);
        assert!(iter.prev().value.is_err());
        fails(false);
        assert!(iter.prev().value.unwrap());
        assert_eq!(iter.key(), Some(&b"c"[..]));
    }
}

//! Every backend of this build against the suite, and what only some of them promise.

#[cfg(any(
    feature = "memory",
    feature = "file",
    feature = "lsm",
    feature = "cache",
    feature = "rocksdb"
))]
use weald_storage::conformance;
use weald_storage::{Error, Options, Registry};
#[cfg(any(feature = "memory", feature = "file", feature = "lsm", feature = "rocksdb"))]
use weald_storage::{Item, Outcome, Version};

#[cfg(any(
    feature = "memory",
    feature = "file",
    feature = "lsm",
    feature = "cache",
    feature = "rocksdb"
))]
fn in_fresh_folders(name: &str) {
    let dirs = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    conformance::run(|| {
        count.set(count.get() + 1);
        let options = Options::in_dir(dirs.path().join(count.get().to_string()));
        Registry::compiled().open(name, &options).unwrap()
    });
}

/// What was acknowledged is there when the store is opened again.
#[cfg(any(feature = "file", feature = "lsm", feature = "rocksdb"))]
fn survives_a_reopen(name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::in_dir(dir.path());
    let open = || Registry::compiled().open(name, &options).unwrap();
    let store = open();
    assert!(store.limits().durable);
    let item = Item::value(Version::new(1, 2), "kept").expiring(1 << 40);
    store.set(b"k", item.clone()).unwrap();
    store.delete(b"gone", Version::new(3, 4)).unwrap();
    store.close().unwrap();
    drop(store);
    let store = open();
    assert_eq!(store.get(b"k").unwrap(), Some(item));
    assert_eq!(
        store.get(b"gone").unwrap(),
        Some(Item::tombstone(Version::new(3, 4)))
    );
    assert_eq!(
        store
            .set(b"gone", Item::value(Version::new(3, 3), "late"))
            .unwrap(),
        Outcome::Stale
    );
}

#[cfg(feature = "memory")]
#[test]
fn memory_conforms() {
    in_fresh_folders("memory");
}

#[cfg(feature = "file")]
#[test]
fn file_conforms() {
    in_fresh_folders("file");
    survives_a_reopen("file");
}

#[cfg(all(feature = "memory", feature = "file"))]
#[test]
fn a_tier_before_a_backend_conforms() {
    let dirs = tempfile::tempdir().unwrap();
    for backend in ["memory", "file"] {
        let count = std::cell::Cell::new(0);
        conformance::run(|| {
            count.set(count.get() + 1);
            let options = Options {
                hot_bytes: 8 << 20,
                ..Options::in_dir(dirs.path().join(format!("{backend} {}", count.get())))
            };
            Registry::compiled().open(backend, &options).unwrap()
        });
    }
}

#[cfg(feature = "lsm")]
#[test]
fn lsm_conforms() {
    in_fresh_folders("lsm");
    survives_a_reopen("lsm");
}

#[cfg(feature = "cache")]
#[test]
fn cache_conforms() {
    in_fresh_folders("cache");
}

#[cfg(feature = "cache")]
#[test]
fn a_cache_stays_within_its_budget() {
    use weald_storage::{Durability, Entry, Item, Version};

    let options = Options {
        memory_bytes: 1 << 20,
        ..Options::new()
    };
    let store = Registry::compiled().open("cache", &options).unwrap();
    for n in 0..10_000_u64 {
        let item = Item::value(Version::new(n, 0), vec![0; 1000]);
        store
            .apply(&[Entry::new(n.to_be_bytes(), item)], Durability::None)
            .unwrap();
    }
    let stats = store.stats().unwrap();
    assert!(stats.bytes <= 1 << 20 && stats.keys > 500, "{stats:?}");
}

#[cfg(feature = "rocksdb")]
#[test]
fn rocksdb_conforms() {
    in_fresh_folders("rocksdb");
    survives_a_reopen("rocksdb");
}

#[cfg(feature = "memory")]
#[test]
fn memory_that_is_full_says_so_and_goes_on() {
    let options = Options {
        memory_bytes: 16 << 20,
        ..Options::new()
    };
    let store = Registry::compiled().open("memory", &options).unwrap();
    let put = |n: u64| {
        store.set(
            &n.to_be_bytes(),
            Item::value(Version::new(1, 0), vec![1; 100_000]),
        )
    };
    let full = (0..1000)
        .find(|n| put(*n).is_err())
        .expect("16 MiB don't hold 100 MB");
    assert!(full > 50, "only {full} values of 100 kB fitted");
    assert!(matches!(
        put(full),
        Err(Error::Backend {
            backend: "memory",
            ..
        })
    ));
    for n in 0..full {
        assert!(store.purge(&n.to_be_bytes(), Version::new(1, 0)).unwrap());
    }
    assert_eq!(put(full).unwrap(), Outcome::Applied);
}

#[test]
fn unknown_names_and_settings_are_refused_with_what_there_is() {
    let registry = Registry::compiled();
    let error = registry
        .open("papyrus", &Options::new())
        .err()
        .unwrap()
        .to_string();
    for name in registry.names() {
        assert!(error.contains(name), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::in_dir(dir.path());
        options.settings.insert("colour".into(), "green".into());
        let refused = registry
            .open(name, &options)
            .err()
            .expect("no backend has a colour");
        assert!(matches!(refused, Error::Option { .. }), "{refused}");
    }
}

#[cfg(feature = "file")]
#[test]
fn a_backend_with_files_needs_a_folder() {
    let refused = Registry::compiled().open("file", &Options::new()).err().unwrap();
    assert!(refused.to_string().contains("folder"), "{refused}");
}

//! What the node knows about itself: an item for each name.
//!
//! Changes of several names are all or nothing on every backend. Where the storage's batches are, one batch does it. Elsewhere the changes are first
//! written down as one item, the journal, and carried out again when the store is opened and finds one.

use weald_cluster_proto::{Meta, Wire};
use weald_storage::{Durability, Error, Item, Range, Result, Storage, Version};

use super::place::{JOURNAL, META, meta_key};

/// A name, and what it holds from now on.
type NameChange = (Vec<u8>, Option<Vec<u8>>);

const VERSION: Version = Version::new(1, 0);

/// Finishes what was begun, and reads everything.
pub(super) fn load(storage: &dyn Storage) -> Result<Meta> {
    if let Some(changes) = storage.get(&JOURNAL)?.and_then(|item| item.value) {
        let damaged = |_| Error::Corrupt {
            key: JOURNAL.to_vec(),
            problem: "it is no list of changes",
        };
        carry_out(storage, &decode(&changes).map_err(damaged)?)?;
        storage.update(&[&JOURNAL], Durability::Immediate, &mut |_, _| {
            Ok(Some(Item::tombstone(VERSION)))
        })?;
    }
    let mut meta = Meta::new();
    let mut gone = Vec::new();
    storage.scan(&Range::prefix(&META), &mut |key, item| {
        match item.value {
            Some(value) => drop(meta.insert(key.get(META.len()..).unwrap_or_default().to_vec(), value)),
            None => gone.push((key.to_vec(), item.version)),
        }
        Ok(true)
    })?;
    for (key, version) in gone {
        storage.purge(&key, version)?;
    }
    Ok(meta)
}

/// Applies changes in their order, durably.
pub(super) fn apply(storage: &dyn Storage, changes: &[NameChange]) -> Result<()> {
    if changes.len() == 1 || storage.limits().atomic {
        return carry_out(storage, changes);
    }
    let journal = encode(changes);
    storage.update(&[&JOURNAL], Durability::Immediate, &mut |_, _| {
        Ok(Some(Item::value(VERSION, journal.clone())))
    })?;
    carry_out(storage, changes)?;
    storage.update(&[&JOURNAL], Durability::Immediate, &mut |_, _| {
        Ok(Some(Item::tombstone(VERSION)))
    })
}

fn carry_out(storage: &dyn Storage, changes: &[NameChange]) -> Result<()> {
    let keys: Vec<Vec<u8>> = changes.iter().map(|(name, _)| meta_key(name)).collect();
    let names: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    storage.update(&names, Durability::Immediate, &mut |at, _| {
        Ok(Some(match &changes[at].1 {
            Some(value) => Item::value(VERSION, value.clone()),
            None => Item::tombstone(VERSION),
        }))
    })?;
    // A mark that is left, or comes back after a power cut, goes when the store is opened.
    for (at, (name, value)) in changes.iter().enumerate() {
        let last = changes[at + 1..].iter().all(|(other, _)| other != name);
        if value.is_none() && last {
            storage.purge(&keys[at], VERSION)?;
        }
    }
    Ok(())
}

fn encode(changes: &[NameChange]) -> Vec<u8> {
    let put = |bytes: &[u8], out: &mut Vec<u8>| {
        (bytes.len() as u64).put(out);
        out.extend(bytes);
    };
    let mut out = Vec::new();
    for (name, value) in changes {
        put(name, &mut out);
        u8::from(value.is_some()).put(&mut out);
        put(value.as_deref().unwrap_or_default(), &mut out);
    }
    out
}

/// The journal was cut short, or is something else.
struct NoJournal;

fn decode(mut bytes: &[u8]) -> Result<Vec<NameChange>, NoJournal> {
    fn take(bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let (len, rest) = bytes.split_first_chunk::<8>()?;
        let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
        let (taken, rest) = rest.split_at_checked(len)?;
        *bytes = rest;
        Some(taken.to_vec())
    }
    let mut changes = Vec::new();
    while !bytes.is_empty() {
        let name = take(&mut bytes).ok_or(NoJournal)?;
        let (&flag, rest) = bytes.split_first().ok_or(NoJournal)?;
        bytes = rest;
        let value = take(&mut bytes).ok_or(NoJournal)?;
        changes.push((name, (flag == 1).then_some(value)));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use weald_storage::{Options, Registry};

    use super::*;

    fn change(name: &str, value: Option<&str>) -> NameChange {
        (name.into(), value.map(Into::into))
    }

    #[test]
    fn what_was_begun_is_finished_when_the_store_is_opened() {
        let store = Registry::compiled()
            .open("memory", &Options::new())
            .expect("a store");
        apply(&*store, &[change("a", Some("1")), change("b", Some("2"))]).expect("applied");
        // Power went after the journal was written.
        let journal = encode(&[change("a", None), change("c", Some("")), change("b", Some("3"))]);
        store
            .update(&[&JOURNAL], Durability::Immediate, &mut |_, _| {
                Ok(Some(Item::value(VERSION, journal.clone())))
            })
            .expect("written");
        let meta = load(&*store).expect("loaded");
        let want = [("b", "3"), ("c", "")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(meta, Meta::from(want));
        assert_eq!(load(&*store).expect("loaded"), meta);
        assert_eq!(store.get(b"\xff\xffa").expect("read"), None);
    }

    #[test]
    fn a_damaged_journal_is_an_error() {
        let store = Registry::compiled()
            .open("memory", &Options::new())
            .expect("a store");
        for bytes in [&b"junk"[..], &[255; 20]] {
            store
                .update(&[&JOURNAL], Durability::Immediate, &mut |_, _| {
                    Ok(Some(Item::value(VERSION, bytes)))
                })
                .expect("written");
            assert!(matches!(load(&*store), Err(Error::Corrupt { .. })));
        }
    }
}

//! Regions of shared memory: histories against a model, and regions that somebody has written into.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use weald_hot::{Change, Expected, Object, Reader, Region, RegionOptions, Session, Swap, View};

use crate::input::Input;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

impl Input<'_> {
    /// Small regions of every kind.
    fn region_options(&mut self) -> RegionOptions {
        let kind = self.byte();
        RegionOptions {
            capacity: 8 << 20,
            volume_size: 1 << 16,
            sessions: 4,
            ordered: kind & 1 != 0,
            paranoid: kind & 2 != 0,
            views: kind & 12 == 4,
            cache_bytes: if kind & 12 == 8 { 30_000 } else { 0 },
            ..RegionOptions::default()
        }
    }

    fn hot_key(&mut self) -> Vec<u8> {
        let byte = self.byte();
        let mut key = vec![byte % 5; usize::from(byte % 11)];
        key.push(byte / 4);
        key
    }

    fn hot_value(&mut self) -> Vec<u8> {
        let byte = self.byte();
        vec![byte; usize::from(byte) * usize::from(byte % 7)]
    }
}

/// Plays the history that the bytes describe, on a region and on a model.
pub(crate) fn operations(data: &[u8]) {
    let mut input = Input(data);
    let options = RegionOptions {
        // What a cache evicts no model knows.
        cache_bytes: 0,
        ..input.region_options()
    };
    let region = Region::anonymous(&options).expect("the options are right");
    let session = region.join("fuzz").expect("there is a slot");
    let mut model = Model::new();
    let mut views: Vec<(View<'_>, Model)> = Vec::new();
    while !input.is_empty() {
        let key = input.hot_key();
        step(&session, &mut model, &mut input, key);
        if options.views && input.byte() % 8 == 0 {
            match views.len() {
                0..3 => views.push((session.view().expect("there are four"), model.clone())),
                _ => drop(views.remove(usize::from(input.byte() % 3))),
            }
        }
        for (view, then) in &views {
            let key = input.hot_key();
            assert_eq!(view.get(&key).expect("no damage").as_ref(), then.get(&key));
        }
    }
    for (view, then) in views {
        let seen: Model = view.scan().map(|item| item.expect("no damage")).collect();
        assert_eq!(seen, then);
    }
    let scanned: Model = session.scan().map(|item| item.expect("no damage")).collect();
    assert_eq!(scanned, model);
    if options.ordered {
        let ranged = session.range(..).expect("it is ordered");
        assert!(ranged.map(|item| item.expect("no damage")).eq(model.clone()));
    }
    let report = session.verify().expect("nothing is damaged");
    assert_eq!((report.entries, report.versions), (model.len() as u64, 0));
}

/// One change, and what it answers.
fn step(session: &Session, model: &mut Model, input: &mut Input<'_>, key: Vec<u8>) {
    match input.byte() % 8 {
        0..3 => {
            let value = input.hot_value();
            session.put(&key, &value).expect("there is room");
            model.insert(key, value);
        }
        3 => assert_eq!(
            session.remove(&key).expect("no damage"),
            model.remove(&key).is_some()
        ),
        4 => {
            let value = input.hot_value();
            let inserted = session.insert(&key, &value).expect("there is room");
            assert_eq!(inserted, !model.contains_key(&key));
            model.entry(key).or_insert(value);
        }
        5 => {
            let (old, new) = (input.hot_value(), input.hot_value());
            let swapped = session
                .compare_and_swap(&key, Expected::Value(&old), Some(&new))
                .expect("there is room");
            assert_eq!(swapped == Swap::Done, model.get(&key) == Some(&old));
            if swapped == Swap::Done {
                model.insert(key, new);
            }
        }
        6 => {
            let flip = |old: Option<&[u8]>| match old {
                Some(_) => Change::Remove,
                None => Change::Put(vec![1; 20].into()),
            };
            session.update(&key, flip).expect("there is room");
            if model.remove(&key).is_none() {
                model.insert(key, vec![1; 20]);
            }
        }
        _ => session.trim().expect("no damage"),
    }
    assert_eq!(session.len().expect("no damage"), model.len() as u64);
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Fills a region, writes into its file what the bytes say, and works on in it and in one that is opened anew: anything may come of it but a panic, a signal
/// or a loop without end.
pub(crate) fn scribbles(data: &[u8]) {
    let mut input = Input(data);
    let thread = std::thread::current().id();
    let name = format!("weald-fuzz-hot-{}-{thread:?}", std::process::id());
    let scratch = Scratch(PathBuf::from("/dev/shm").join(name.replace(['(', ')'], "-")));
    let options = input.region_options();
    let _ = std::fs::remove_file(&scratch.0);
    let region = Region::create(&scratch.0, &options).expect("there is memory");
    let session = region.join("honest").expect("there is a slot");
    for n in 0..200u64 {
        let _ = session.put(&n.to_le_bytes(), &vec![n as u8; n as usize]);
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&scratch.0)
        .expect("it was just made");
    let len = region.info().map_or(0, |info| info.len);
    while !input.is_empty() {
        scribble(&file, &mut input, len);
        for _ in 0..4 {
            meddle(&session, &mut input);
        }
    }
    let _ = (session.recover(), session.verify(), session.trim());
    drop(session);
    if let Ok(reader) = Reader::open(&scratch.0) {
        let _ = reader.get(&7u64.to_le_bytes());
        reader.scan().take(300).for_each(drop);
        if let Ok(range) = reader.range(..) {
            range.take(20).for_each(drop);
        }
        if let Ok(range) = reader.range(..) {
            range.rev().take(20).for_each(drop);
        }
        let _ = reader.members();
    }
    if let Ok(session) = Region::open(&scratch.0).and_then(|region| region.join("late")) {
        let mut input = Input(data);
        (0..40).for_each(|_| meddle(&session, &mut input));
        let _ = (session.members(), session.verify());
    }
}

/// Writes a word into the file: chosen, or one that stands elsewhere with a bit changed.
fn scribble(file: &File, input: &mut Input<'_>, len: u64) {
    // Most of what matters stands at the front.
    let at = match input.byte() % 4 {
        0 => input.short() as u64 % 512 * 8,
        1 => input.short() as u64 * 8,
        _ => (input.short() as u64) << 8 | u64::from(input.byte()),
    };
    let at = (at & !7) % len.max(8);
    let mut word = [0; 8];
    match input.byte() % 4 {
        0 => word[..].iter_mut().for_each(|byte| *byte = input.byte()),
        1 => word[0] = input.byte(),
        2 => word = (input.short() as u64 * 16).to_le_bytes(),
        _ => {
            let _ = file.read_exact_at(&mut word, at);
            word[usize::from(input.byte() % 8)] ^= 1 << (input.byte() % 8);
        }
    }
    let _ = file.write_all_at(&word, at);
}

/// An operation, whose answer nobody minds.
fn meddle(session: &Session, input: &mut Input<'_>) {
    let key = (input.short() as u64 % 220).to_le_bytes();
    match input.byte() % 12 {
        0..3 => drop(session.put(&key, &input.hot_value())),
        3 => drop(session.remove(&key)),
        4 => drop(session.get_many(&[key, key], |_, _| {})),
        5 => drop(session.fetch_add(&key, 1)),
        6 => drop(session.free(Object::at(input.short() as u64 * 16))),
        7 => {
            if let Ok(range) = session.range(&key[..]..) {
                range.take(20).for_each(drop);
            }
        }
        8 => {
            if let Ok(view) = session.view() {
                let _ = session.put(&key, b"later");
                let _ = view.get(&key);
                let _ = view.get_many(&[key, key], |_, _| {});
            }
        }
        9 => session.scan().take(50).for_each(drop),
        10 => drop(session.put_expiring(&key, b"short", Duration::from_millis(1))),
        _ => drop(session.get(&key)),
    }
}

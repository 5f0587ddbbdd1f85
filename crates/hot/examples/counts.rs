//! How many instructions an operation takes, counted by valgrind, which has to be installed: the same on a machine that has much else to do.
//!
//! `cargo run --release -p weald-hot --example counts`
//!
//! The program starts itself under valgrind, twice for each kind of work and with different numbers of rounds, so that what is done once cancels out.

use std::error::Error;
use std::process::Command;

use weald_hot::{Region, RegionOptions, Session};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Key = [u8; 32];

/// What is counted, and what it is called in the table.
const WORK: [(&str, &str); 7] = [
    ("get", "get, copied into a vector that has room"),
    ("miss", "a key that is absent"),
    ("get-many", "`get_many` of 32, each"),
    ("put", "put in place of another value"),
    (
        "insert",
        "put of a key that was absent, with what the table's growth costs",
    ),
    ("alloc", "allocate and free 64 bytes"),
    (
        "share",
        "allocate 64 bytes, share them, and free them in another session",
    ),
];
const KEYS: u64 = 4096;
const ROUNDS: [u64; 2] = [2, 6];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [name, rounds] => work(name, rounds.parse()?),
        _ => count_all(),
    }
}

fn count_all() -> Result<()> {
    println!("| work | instructions |\n| --- | --- |");
    for (name, shown) in WORK {
        let more = count(name, ROUNDS[1])?.saturating_sub(count(name, ROUNDS[0])?);
        println!("| {shown} | {} |", more / ((ROUNDS[1] - ROUNDS[0]) * KEYS));
    }
    Ok(())
}

fn count(name: &str, rounds: u64) -> Result<u64> {
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([name, &rounds.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    let counted = said
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    match counted {
        Some(counted) if done.status.success() => Ok(counted),
        _ => Err(format!("{name} under valgrind: {said}").into()),
    }
}

/// What a process under valgrind does.
fn work(name: &str, rounds: u64) -> Result<()> {
    let region = Region::anonymous(&RegionOptions {
        capacity: 256 << 20,
        ..Default::default()
    })?;
    let session = region.join("counted")?;
    let other = region.join("other")?;
    let keys = keys_from(0);
    let absent = keys_from(1 << 40);
    put_all(&session, &keys)?;
    for round in 0..rounds {
        match name {
            "get" => get_all(&session, &keys, true)?,
            "miss" => get_all(&session, &absent, false)?,
            "get-many" => get_many(&session, &keys)?,
            "put" => put_all(&session, &keys)?,
            "insert" => put_all(&session, &keys_from((round + 1) << 20))?,
            "alloc" => alloc_all(&session)?,
            "share" => share_all(&session, &other)?,
            _ => return Err(format!("no work {name:?}").into()),
        }
    }
    Ok(())
}

fn keys_from(first: u64) -> Vec<Key> {
    let key = |n: u64| {
        let mut key = [0; 32];
        for (at, part) in key.chunks_mut(8).enumerate() {
            let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(at as u32 * 13);
            part.copy_from_slice(&mixed.to_le_bytes());
        }
        key
    };
    (first..first + KEYS).map(key).collect()
}

#[inline(never)]
fn put_all(session: &Session, keys: &[Key]) -> Result<()> {
    Ok(keys.iter().try_for_each(|key| session.put(key, &[7; 16]))?)
}

#[inline(never)]
fn get_all(session: &Session, keys: &[Key], are_there: bool) -> Result<()> {
    let mut value = Vec::new();
    for key in keys {
        value.clear();
        if session.get_into(key, &mut value)?.is_some() != are_there {
            return Err("a look-up gave the wrong answer".into());
        }
    }
    Ok(())
}

#[inline(never)]
fn get_many(session: &Session, keys: &[Key]) -> Result<()> {
    let mut found = 0;
    for keys in keys.chunks(32) {
        session.get_many(keys, |_, value| found += usize::from(value.is_some()))?;
    }
    if found == keys.len() {
        Ok(())
    } else {
        Err("a key was not found".into())
    }
}

#[inline(never)]
fn alloc_all(session: &Session) -> Result<()> {
    for _ in 0..KEYS {
        session.free(session.alloc(64, 0, 1)?)?;
    }
    Ok(())
}

#[inline(never)]
fn share_all(session: &Session, other: &Session) -> Result<()> {
    let mut objects = Vec::new();
    for _ in 0..2 {
        for _ in 0..KEYS / 2 {
            let object = session.alloc(64, 0, 1)?;
            session.share(object)?;
            objects.push(object);
        }
        for object in objects.drain(..) {
            other.free(object)?;
        }
    }
    Ok(())
}

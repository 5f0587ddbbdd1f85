//! Many threads move money between accounts in optimistic transactions, which are run again when they conflict.
//!
//! Run it with `cargo run --example transfer`.

use std::sync::atomic::{AtomicU32, Ordering};

use weald::{Database, Error, Readable, Writable};

const ACCOUNTS: u64 = 10;
const START: u64 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Database::open(dir.path().join("bank.weald"))?;
    let mut tx = db.write()?;
    for account in 0..ACCOUNTS {
        tx.put(&account.to_be_bytes(), &START.to_be_bytes())?;
    }
    tx.commit()?;

    let refused = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (db, refused) = (&db, &refused);
            scope.spawn(move || {
                for n in 0..50 {
                    let (from, to) = ((thread + n) % ACCOUNTS, (thread * 3 + n * 7) % ACCOUNTS);
                    match transfer(db, from, to, 30) {
                        Ok(()) => {}
                        Err(TransferError::Short) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                        Err(TransferError::Database(e)) => panic!("{e}"),
                    }
                }
            });
        }
    });

    let tx = db.read()?;
    let mut sum = 0;
    for pair in tx.iter() {
        sum += amount(Some(pair?.1));
    }
    println!("{refused:?} transfers were refused, and there are still {sum} coins");
    println!(
        "{} transactions conflicted and were run again",
        db.stats().conflicts
    );
    assert_eq!(sum, ACCOUNTS * START);
    Ok(())
}

#[derive(Debug)]
enum TransferError {
    Short,
    Database(Error),
}

impl From<Error> for TransferError {
    fn from(e: Error) -> TransferError {
        TransferError::Database(e)
    }
}

/// The body may run several times, so it has no effects but on the transaction. An error ends it, and nothing was written.
fn transfer(db: &Database, from: u64, to: u64, coins: u64) -> Result<(), TransferError> {
    db.transact(|tx| {
        let balance = amount(tx.get_ref(&from.to_be_bytes())?);
        let rest = balance.checked_sub(coins).ok_or(TransferError::Short)?;
        tx.put(&from.to_be_bytes(), &rest.to_be_bytes())?;
        // Read after that write, so that it is right where both accounts are the same.
        let balance = amount(tx.get_ref(&to.to_be_bytes())?);
        tx.put(&to.to_be_bytes(), &(balance + coins).to_be_bytes())?;
        Ok(())
    })
}

fn amount(value: Option<&[u8]>) -> u64 {
    let bytes = value.and_then(|value| value.try_into().ok());
    u64::from_be_bytes(bytes.expect("every account has eight bytes"))
}

//! Open a database, write to it in a transaction, and read it in order.
//!
//! Run it with `cargo run --example quick_start`.

use weald::{Database, Readable, Writable};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Database::open(dir.path().join("my.weald"))?;

    // All of it is on the disk when `commit` returns, or none.
    let mut tx = db.write()?;
    tx.put(b"version", b"1")?;
    let mut cities = tx.create_bucket(b"cities")?;
    cities.put(b"Lisbon", b"545000")?;
    cities.put(b"London", b"8982000")?;
    cities.put(b"Madrid", b"3223000")?;
    tx.commit()?;

    // A snapshot: nothing that is written from now on shows in it, and nobody waits for it.
    let tx = db.read()?;
    assert_eq!(tx.get_ref(b"version")?, Some(&b"1"[..]));
    for pair in tx.bucket(b"cities")?.prefix(b"L") {
        let (city, people) = pair?;
        println!("{}: {}", city.escape_ascii(), people.escape_ascii());
    }
    Ok(())
}

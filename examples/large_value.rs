//! A value of 64 MiB goes in and out as a stream, without ever being whole in memory.
//!
//! Run it with `cargo run --example large_value`.

use std::io::{self, Read};

use weald::{Database, Readable, Writable};

const LEN: u64 = 64 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Database::open(dir.path().join("media.weald"))?;

    // Anything that is `Read` will do: a file, a socket. Its length must be known.
    let mut tx = db.write()?;
    tx.put_reader(b"film", Frames(0), LEN)?;
    tx.commit()?;

    // Each piece is verified before it is given.
    let tx = db.read()?;
    let mut film = tx.get_reader(b"film")?.ok_or("the film is gone")?;
    let copied = io::copy(&mut film, &mut io::sink())?;
    assert_eq!(copied, LEN);
    println!("{copied} bytes went in and out");
    Ok(())
}

/// An endless source of bytes.
struct Frames(u8);

impl Read for Frames {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        buf.fill(self.0);
        self.0 = self.0.wrapping_add(1);
        Ok(buf.len())
    }
}

//! Everything in a database as a stream that does not depend on how it is stored. `docs/dump.md` has the format.

use std::io::{Read, Write};
use std::path::Path;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::TreeId;
use crate::op::Value;
use crate::transaction::{Bucket, ReadTx, Readable};
use crate::tree;
use crate::upkeep::blocks::{BLOCK_MAX, BlockWriter, Format};
use crate::upkeep::progress::Meter;
use crate::upkeep::walk::name_entry;
use crate::values::ValueReader;

pub(crate) const FORMAT: Format = Format {
    magic: *b"WEALDDMP",
    version: 1,
    name: "dump",
};

/// A block of records.
pub(crate) const RECORDS: u32 = 1;
/// The last block: how many buckets, keys and bytes there were.
pub(crate) const END: u32 = 2;

/// What records begin with.
pub(crate) mod tag {
    pub(crate) const ENTER: u8 = 1;
    pub(crate) const LEAVE: u8 = 2;
    pub(crate) const SEQUENCE: u8 = 3;
    pub(crate) const PAIR: u8 = 4;
    pub(crate) const LARGE: u8 = 5;
    pub(crate) const CHUNK: u8 = 6;
    /// Added to a pair or a large one: the time at which it expires follows.
    pub(crate) const EXPIRES: u8 = 0x80;
}

/// Bytes of a large value in one record.
pub(crate) const CHUNK_MAX: usize = 256 << 10;
/// A block is written when it is this long.
const BLOCK: usize = 256 << 10;

/// What was dumped or loaded; see [`Database::dump`](crate::Database::dump) and [`Database::load`](crate::Database::load).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpInfo {
    /// Buckets, without the root bucket.
    pub buckets: u64,
    /// Keys in all of them.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl DumpInfo {
    pub(crate) fn encode(&self) -> [u8; 24] {
        let mut out = [0; 24];
        for (chunk, n) in out.chunks_exact_mut(8).zip([self.buckets, self.keys, self.bytes]) {
            chunk.copy_from_slice(&n.to_le_bytes());
        }
        out
    }
}

/// Dumps what is visible now.
pub(crate) fn dump(core: &Core, sink: &mut dyn Write, meter: &mut Meter<'_>) -> Result<DumpInfo> {
    let tx = ReadTx::begin(core);
    let root = tx.root();
    meter.set_total(root.record.len);
    let mut dump = Dump {
        blocks: BlockWriter::new(sink, FORMAT)?,
        records: Vec::with_capacity(BLOCK_MAX),
        info: DumpInfo::default(),
        meter,
    };
    dump.all(root)?;
    dump.flush()?;
    let info = dump.info;
    dump.blocks.block(END, &info.encode())?;
    dump.blocks.flush()?;
    meter.finish()?;
    Ok(info)
}

struct Dump<'w, 'm> {
    blocks: BlockWriter<'w>,
    records: Vec<u8>,
    info: DumpInfo,
    meter: &'w mut Meter<'m>,
}

impl Dump<'_, '_> {
    /// Buckets within buckets without recursion: they may be nested as deeply as anybody likes.
    fn all(&mut self, root: Bucket<'_>) -> Result<()> {
        let view = root.view;
        self.contents(root)?;
        // The buckets on the way down, each with the name of the one in it that was last entered.
        let mut path: Vec<(TreeId, Vec<u8>)> = vec![(TreeId::ROOT, Vec::new())];
        while let Some((parent, last)) = path.last_mut() {
            // No name is empty and none has a zero before its end that others don't: the next key is the least that is greater.
            let after = [&parent.0.to_be_bytes(), &last[..], &[0]].concat();
            let mut cursor = tree::Cursor::new(view.pages, view.roots.fixed[TreeId::NAMES.0 as usize].root);
            let found = cursor.seek(if last.is_empty() { &after[..8] } else { &after })?;
            let child = found.filter(|(key, _)| key.starts_with(&parent.0.to_be_bytes()));
            let Some((key, entry)) = child else {
                path.pop();
                if !path.is_empty() {
                    self.begin(tag::LEAVE, 0)?;
                }
                continue;
            };
            let (_, id) = name_entry(key, &entry).ok_or_else(|| {
                Error::corrupt(&view.core.path, None, "the name of a bucket leads to no bucket")
            })?;
            let name = &key[8..];
            *last = name.to_vec();
            self.begin(tag::ENTER, name.len())?;
            self.bytes(name);
            self.info.buckets += 1;
            self.contents(Bucket::of(view, TreeId(id))?)?;
            path.push((TreeId(id), Vec::new()));
        }
        Ok(())
    }

    fn contents(&mut self, bucket: Bucket<'_>) -> Result<()> {
        let sequence = bucket.sequence()?;
        if sequence > 0 {
            self.begin(tag::SEQUENCE, 0)?;
            self.number(sequence);
        }
        let view = bucket.view;
        let mut cursor = tree::Cursor::new(view.pages, bucket.record.root);
        while let Some((key, entry)) = cursor.next()? {
            if !view.is_visible(&entry) {
                continue;
            }
            let (kind, value) = match entry.value {
                Value::Inline(value) => (tag::PAIR, value),
                Value::Large(_) => (tag::LARGE, &[][..]),
            };
            let expires = if entry.expires.is_some() { tag::EXPIRES } else { 0 };
            self.begin(kind | expires, key.len() + value.len())?;
            if let Some(at) = entry.expires {
                self.number(at);
            }
            self.bytes(key);
            let len = match entry.value {
                Value::Inline(value) => {
                    self.bytes(value);
                    value.len() as u64
                }
                Value::Large(large) => {
                    self.number(large.len);
                    self.chunks(ValueReader::large(&view.core.store, large)?)?;
                    large.len
                }
            };
            self.info.keys += 1;
            self.info.bytes += key.len() as u64 + len;
            self.meter.add(1)?;
        }
        view.check_mapping()
    }

    fn chunks(&mut self, mut value: ValueReader<'_>) -> Result<()> {
        let mut left = value.len();
        let mut chunk = vec![0; CHUNK_MAX.min(usize::try_from(left).unwrap_or(CHUNK_MAX))];
        while left > 0 {
            let n = chunk.len().min(usize::try_from(left).unwrap_or(CHUNK_MAX));
            value
                .read_exact(&mut chunk[..n])
                .map_err(|e| Error::io("read a large value for", Path::new(FORMAT.name), None, e))?;
            self.begin(tag::CHUNK, n)?;
            self.bytes(&chunk[..n]);
            left -= n as u64;
        }
        Ok(())
    }

    /// Begins a record that holds about so many bytes.
    fn begin(&mut self, tag: u8, bytes: usize) -> Result<()> {
        if self.records.len() + bytes > BLOCK {
            self.flush()?;
        }
        self.records.push(tag);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if !self.records.is_empty() {
            self.blocks.block(RECORDS, &self.records)?;
            self.records.clear();
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.records.extend_from_slice(bytes);
    }

    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.records.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.records.push(n as u8);
    }
}

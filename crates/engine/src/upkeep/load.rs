//! Puts what a dump holds into a database.

use std::io::{self, Read};

use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::TreeId;
use crate::transaction::names::{self, NAME_MAX};
use crate::transaction::{Bucket, BucketMut, Draft, WriteTx};
use crate::upkeep::blocks::BlockReader;
use crate::upkeep::dump::{CHUNK_MAX, DumpInfo, END, FORMAT, RECORDS, tag};
use crate::upkeep::progress::Meter;

/// How a dump is loaded; see [`Database::load`](crate::Database::load).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    batch_bytes: Option<u64>,
}

impl LoadOptions {
    /// One transaction: all of the dump, or nothing. It takes as much room in the file as what it loads.
    pub fn new() -> LoadOptions {
        LoadOptions::default()
    }

    /// A commit after each so many bytes, so that others can write in between. A load that fails has loaded what came before.
    pub fn batch_bytes(mut self, bytes: u64) -> LoadOptions {
        self.batch_bytes = Some(bytes.max(1));
        self
    }
}

pub(crate) fn load(
    core: &Core,
    source: &mut dyn Read,
    options: LoadOptions,
    meter: &mut Meter<'_>,
) -> Result<DumpInfo> {
    let records = Records {
        blocks: BlockReader::new(source, FORMAT)?,
        rest: Vec::new(),
        at: 0,
        end: None,
    };
    let mut load = Load {
        core,
        tx: Some(WriteTx::begin(core)?),
        records,
        options,
        path: Vec::new(),
        tree: TreeId::ROOT,
        since_commit: 0,
        info: DumpInfo::default(),
    };
    let mut metered = 0;
    while load.record()? {
        let seen = load.records.blocks.bytes();
        meter.add(seen - metered)?;
        metered = seen;
    }
    let info = load.info;
    load.take_tx().commit()?;
    meter.finish()?;
    Ok(info)
}

struct Load<'l> {
    core: &'l Core,
    tx: Option<WriteTx<'l>>,
    records: Records<'l>,
    options: LoadOptions,
    /// The names of the buckets on the way to the one that is loaded.
    path: Vec<Vec<u8>>,
    tree: TreeId,
    since_commit: u64,
    info: DumpInfo,
}

impl<'l> Load<'l> {
    /// Loads one record; `false` at the end.
    fn record(&mut self) -> Result<bool> {
        let Some(tag) = self.records.tag()? else {
            return self.end();
        };
        match tag {
            tag::ENTER => {
                let name = self.records.bytes()?;
                if name.is_empty() || name.len() > NAME_MAX {
                    return Err(self.records.damaged("a bucket has an impossible name"));
                }
                let name = name.to_vec();
                let parent = self.tree;
                self.tree = enter(self.draft(), parent, &name)?;
                self.path.push(name);
                self.info.buckets += 1;
            }
            tag::LEAVE => {
                if self.path.pop().is_none() {
                    return Err(self.records.damaged("it leaves a bucket that it did not enter"));
                }
                self.find_again()?;
            }
            tag::SEQUENCE => {
                let sequence = self.records.number()?;
                self.sequence(sequence)?;
            }
            _ => self.pair(tag)?,
        }
        Ok(true)
    }

    fn pair(&mut self, tag: u8) -> Result<()> {
        let expires = match tag & tag::EXPIRES {
            0 => None,
            _ => Some(self.records.number()?),
        };
        let key = self.records.bytes()?.to_vec();
        let tx = self.tx.as_mut().expect("as in `take_tx`");
        let draft = tx.draft_mut();
        let len = match tag & !tag::EXPIRES {
            tag::PAIR => {
                let value = self.records.bytes()?;
                draft.put_until(self.tree, &key, value, expires)?;
                value.len() as u64
            }
            tag::LARGE => {
                let len = self.records.number()?;
                let mut chunks = Chunks {
                    records: &mut self.records,
                    left: 0,
                    failure: None,
                };
                let put = draft.put_reader(self.tree, &key, &mut chunks, len, expires);
                // Why the stream ended says more than that it did.
                match chunks.failure.take() {
                    Some(failure) => return Err(failure),
                    None => put?,
                }
                if chunks.left > 0 {
                    return Err(self.records.damaged("a large value is longer than it should be"));
                }
                len
            }
            _ => return Err(self.records.damaged("a record is of an unknown kind")),
        };
        let bytes = key.len() as u64 + len;
        self.info.keys += 1;
        self.info.bytes = self.info.bytes.saturating_add(bytes);
        self.since_commit += bytes;
        if self
            .options
            .batch_bytes
            .is_some_and(|max| self.since_commit >= max)
        {
            self.commit_batch()?;
        }
        Ok(())
    }

    fn take_tx(&mut self) -> WriteTx<'l> {
        self.tx
            .take()
            .expect("there is one but for a moment in `commit_batch`, which fails for good")
    }

    fn draft(&mut self) -> &mut Draft<'l> {
        let tx = self.tx.as_mut().expect("as in `take_tx`");
        tx.draft_mut()
    }

    /// Lets others write, and begins anew.
    fn commit_batch(&mut self) -> Result<()> {
        self.since_commit = 0;
        self.take_tx().commit()?;
        self.tx = Some(WriteTx::begin(self.core)?);
        self.find_again()
    }

    /// The bucket that the path leads to: created anew if somebody deleted it meanwhile.
    fn find_again(&mut self) -> Result<()> {
        let mut tree = TreeId::ROOT;
        for name in &self.path {
            let tx = self.tx.as_mut().expect("as in `take_tx`");
            tree = enter(tx.draft_mut(), tree, name)?;
        }
        self.tree = tree;
        Ok(())
    }

    /// Numbers that were given out must not be again.
    fn sequence(&mut self, sequence: u64) -> Result<()> {
        let tree = self.tree;
        let draft = self.draft();
        let before = Bucket::of(draft.view(), tree)?.sequence()?;
        let key = names::sequence_key(tree);
        draft.put_internal(TreeId::ATTRIBUTES, &key, &sequence.max(before).to_le_bytes());
        Ok(())
    }

    fn end(&self) -> Result<bool> {
        if !self.path.is_empty() || self.records.end != Some(self.info.encode()) {
            return Err(self.records.damaged("it does not hold what its end mark says"));
        }
        Ok(false)
    }
}

/// The bucket of that name in another, created where there is none.
fn enter(draft: &mut Draft<'_>, parent: TreeId, name: &[u8]) -> Result<TreeId> {
    let bucket = BucketMut::of(draft, parent).into_created_if_absent(name)?;
    Ok(bucket.tree())
}

/// The records of a dump, block by block.
struct Records<'r> {
    blocks: BlockReader<'r>,
    /// The contents of the block at hand.
    rest: Vec<u8>,
    at: usize,
    end: Option<[u8; 24]>,
}

impl Records<'_> {
    /// What the next record begins with; `None` at the end of the dump.
    fn tag(&mut self) -> Result<Option<u8>> {
        while self.at == self.rest.len() {
            let (kind, contents) = self.blocks.next()?;
            match kind {
                RECORDS => {
                    self.rest.clear();
                    self.rest.extend_from_slice(contents);
                    self.at = 0;
                }
                END => {
                    self.end = contents.try_into().ok();
                    return Ok(None);
                }
                _ => return Err(self.damaged("a block is of an unknown kind")),
            }
        }
        Ok(Some(self.take(1)?[0]))
    }

    fn number(&mut self) -> Result<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(self.damaged("a number is too large"));
            }
            n |= bits << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(self.damaged("a number is too long"))
    }

    fn bytes(&mut self) -> Result<&[u8]> {
        let len = self.number()?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn take(&mut self, n: usize) -> Result<&[u8]> {
        if n > self.rest.len() - self.at {
            return Err(self.damaged("a record ends after its block"));
        }
        self.at += n;
        Ok(&self.rest[self.at - n..self.at])
    }

    fn damaged(&self, what: &str) -> Error {
        self.blocks.damaged(what)
    }
}

/// The chunks of a large value as one stream.
struct Chunks<'c, 'r> {
    records: &'c mut Records<'r>,
    /// Bytes of the chunk at hand that were not read yet.
    left: usize,
    failure: Option<Error>,
}

impl Chunks<'_, '_> {
    fn next(&mut self) -> Result<()> {
        if self.records.tag()? != Some(tag::CHUNK) {
            return Err(self.records.damaged("a large value is shorter than it should be"));
        }
        let len = self.records.number()?;
        match usize::try_from(len) {
            Ok(len) if (1..=CHUNK_MAX).contains(&len) => self.left = len,
            _ => return Err(self.records.damaged("a chunk has an impossible length")),
        }
        Ok(())
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<usize> {
        if self.left == 0 {
            self.next()?;
        }
        let n = buf.len().min(self.left);
        buf[..n].copy_from_slice(self.records.take(n)?);
        self.left -= n;
        Ok(n)
    }
}

impl Read for Chunks<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.fill(buf).map_err(|e| {
            let kind = io::ErrorKind::InvalidData;
            let shown = io::Error::new(kind, e.to_string());
            self.failure = Some(e);
            shown
        })
    }
}

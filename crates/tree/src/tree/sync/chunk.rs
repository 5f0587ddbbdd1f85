//! Chunks as bytes, and what they prove.

use std::fmt;

use weald_proof::{Answer, Entry, Hash, NESTING_MAX, PROOF_LEN_MAX, Query, Range, verify};

/// Longer chunks are refused unread.
pub const CHUNK_LEN_MAX: usize = PROOF_LEN_MAX;

/// The first byte of a chunk, and of an id that asks for none but such.
const PLAIN: u8 = 1;
/// The first byte of a chunk whose entries bring what is in their subtrees, and of an id that asks for such too.
const WITHIN: u8 = 2;

/// Which entries of which tree: what a replica asks a source for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    /// The path of the tree.
    pub path: Vec<Vec<u8>>,
    /// How many entries come before the first.
    pub offset: u64,
    /// How many entries there may be at most; the source may give fewer, but one at least if there is one. Not 0.
    pub limit: u64,
    /// Whether entries may bring what is in their subtrees, where that is little: many small subtrees then need no chunks of their own.
    pub within: bool,
}

/// Why a chunk, or what should name one, is refused. Nothing was learnt from it then: ask another source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The bytes are no chunk.
    #[error("the bytes are no chunk: {what}, at byte {at}")]
    Malformed {
        /// Offset of what is wrong.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// It is longer than [`CHUNK_LEN_MAX`].
    #[error("a chunk has at most {CHUNK_LEN_MAX} bytes, not {len}")]
    TooLong {
        /// Its bytes.
        len: usize,
    },
    /// It does not prove what it says: it was forged, cut, or is of another state of the trees.
    #[error("the chunk proves nothing: {0}")]
    Proof(weald_proof::Error),
    /// It proves that there is no subtree at its path.
    #[error("the chunk is of a path that leads to no subtree")]
    NoSubtree,
    /// It proves fewer entries than it says, which would leave some out.
    #[error("the chunk proves {proven} entries and says that they are {said}")]
    Count {
        /// How many it says.
        said: u64,
        /// How many it proves.
        proven: u64,
    },
}

impl ChunkId {
    /// Its bytes, to ask a source for it.
    ///
    /// ```
    /// use weald_tree::ChunkId;
    ///
    /// let id = ChunkId { path: vec![b"users".to_vec()], offset: 300, limit: 100, within: true };
    /// assert_eq!(ChunkId::decode(&id.encode()), Ok(id));
    /// ```
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![first_byte(self.within)];
        put_place(&mut out, &self.path, self.offset);
        put_number(&mut out, self.limit);
        out
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<ChunkId, ChunkError> {
        let (mut reader, within) = Reader::new(bytes)?;
        let (path, offset) = reader.place()?;
        let at = reader.at;
        let limit = reader.number()?;
        if limit == 0 {
            return Err(malformed(at, "a limit of 0"));
        }
        reader.end()?;
        Ok(ChunkId {
            path,
            offset,
            limit,
            within,
        })
    }

    /// The entries that the chunk is of: as many of them as `taken`, and what is in their subtrees if so.
    pub(super) fn query(path: &[Vec<u8>], offset: u64, taken: u64, within: bool) -> Query {
        let entries = Query::all().at(path).offset(offset).limit(taken);
        if within {
            entries.below(Query::all())
        } else {
            entries
        }
    }

    /// The count of its tree.
    pub(super) fn extent(path: &[Vec<u8>]) -> Query {
        Query::totals(Range::all()).at(path)
    }
}

/// A chunk before it is checked.
struct Chunk<'a> {
    path: Vec<Vec<u8>>,
    offset: u64,
    taken: u64,
    within: bool,
    /// The proof of the tree's count, in its first chunk.
    extent: Option<&'a [u8]>,
    /// The proof of the entries; empty if there are none.
    proof: &'a [u8],
}

/// What a chunk has proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenChunk {
    /// The path of the tree.
    pub path: Vec<Vec<u8>>,
    /// How many entries come before.
    pub offset: u64,
    /// The entries; those that are subtrees with what is in them, if the chunk has that.
    pub entries: Vec<Entry>,
    /// How many entries the tree has, told by its first chunk.
    pub count: Option<u64>,
}

/// Checks a chunk against the root hash over everything. What passes is true, wherever it comes from: for each state of the trees there is
/// exactly one chunk with that place and number of entries, and one more with what is in their subtrees if there are any.
pub fn verify_chunk(chunk: &[u8], root: &Hash) -> Result<ProvenChunk, ChunkError> {
    Chunk::decode(chunk)?.prove(root)
}

/// Writes a chunk of `taken` entries.
pub(super) fn encode(
    path: &[Vec<u8>],
    offset: u64,
    (taken, within): (u64, bool),
    extent: Option<&[u8]>,
    proof: &[u8],
) -> Vec<u8> {
    let mut out = vec![first_byte(within)];
    put_place(&mut out, path, offset);
    put_number(&mut out, taken);
    if let Some(extent) = extent {
        put_bytes(&mut out, extent);
    }
    out.extend_from_slice(proof);
    out
}

impl<'a> Chunk<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Chunk<'a>, ChunkError> {
        if bytes.len() > CHUNK_LEN_MAX {
            return Err(ChunkError::TooLong { len: bytes.len() });
        }
        let (mut reader, within) = Reader::new(bytes)?;
        let (path, offset) = reader.place()?;
        let at = reader.at;
        let taken = reader.number()?;
        let extent = if offset == 0 { Some(reader.bytes()?) } else { None };
        let proof = &bytes[reader.at..];
        // A tree's first chunk has no entries only if the tree has none.
        if taken == 0 && (extent.is_none() || !proof.is_empty()) {
            return Err(malformed(at, "no entries"));
        }
        Ok(Chunk {
            path,
            offset,
            taken,
            within,
            extent,
            proof,
        })
    }

    fn prove(self, root: &Hash) -> Result<ProvenChunk, ChunkError> {
        let count = match self.extent {
            Some(extent) => Some(self.count(extent, root)?),
            None => None,
        };
        let mut entries = Vec::new();
        if self.taken > 0 {
            let query = ChunkId::query(&self.path, self.offset, self.taken, self.within);
            entries = match verify(self.proof, root, &query).map_err(ChunkError::Proof)? {
                Answer::Entries(entries) => entries,
                _ => return Err(ChunkError::NoSubtree),
            };
        }
        let proven = entries.len() as u64;
        let left_out = count.is_some_and(|count| self.taken == 0 && count > 0);
        if proven != self.taken || left_out {
            return Err(ChunkError::Count {
                said: self.taken,
                proven,
            });
        }
        // Without subtrees the other kind of chunk says the same.
        if self.within && entries.iter().all(|entry| entry.below.is_none()) {
            return Err(malformed(0, "no subtrees"));
        }
        Ok(ProvenChunk {
            path: self.path,
            offset: self.offset,
            entries,
            count,
        })
    }

    fn count(&self, extent: &[u8], root: &Hash) -> Result<u64, ChunkError> {
        match verify(extent, root, &ChunkId::extent(&self.path)).map_err(ChunkError::Proof)? {
            Answer::Totals(totals) => Ok(totals.count),
            _ => Err(ChunkError::NoSubtree),
        }
    }
}

fn first_byte(within: bool) -> u8 {
    if within { WITHIN } else { PLAIN }
}

fn put_place(out: &mut Vec<u8>, path: &[Vec<u8>], offset: u64) {
    put_number(out, path.len() as u64);
    path.iter().for_each(|segment| put_bytes(out, segment));
    put_number(out, offset);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A varint, as everywhere in trees.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn malformed(at: usize, what: &'static str) -> ChunkError {
    ChunkError::Malformed { at, what }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// After the first byte, and whether that is [`WITHIN`].
    fn new(bytes: &'a [u8]) -> Result<(Reader<'a>, bool), ChunkError> {
        let mut reader = Reader { bytes, at: 0 };
        match reader.byte()? {
            PLAIN => Ok((reader, false)),
            WITHIN => Ok((reader, true)),
            _ => Err(malformed(0, "an unknown version")),
        }
    }

    fn byte(&mut self) -> Result<u8, ChunkError> {
        let byte = self.bytes.get(self.at).ok_or(malformed(self.at, CUT))?;
        self.at += 1;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u64, ChunkError> {
        let start = self.at;
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let needless = byte == 0 && shift > 0;
            if needless || (bits << shift) >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(malformed(
            start,
            "a number that is not in its shortest form, or too large",
        ))
    }

    fn bytes(&mut self) -> Result<&'a [u8], ChunkError> {
        let start = self.at;
        let len = usize::try_from(self.number()?).map_err(|_| malformed(start, CUT))?;
        let bytes = self.bytes[self.at..].get(..len).ok_or(malformed(start, CUT))?;
        self.at += len;
        Ok(bytes)
    }

    fn place(&mut self) -> Result<(Vec<Vec<u8>>, u64), ChunkError> {
        let start = self.at;
        let depth = self.number()?;
        if depth > NESTING_MAX as u64 {
            return Err(malformed(start, "a path that is too long"));
        }
        let mut path = Vec::new();
        for _ in 0..depth {
            path.push(self.bytes()?.to_vec());
        }
        Ok((path, self.number()?))
    }

    fn end(&self) -> Result<(), ChunkError> {
        if self.at < self.bytes.len() {
            return Err(malformed(self.at, "bytes after the end"));
        }
        Ok(())
    }
}

const CUT: &str = "they end too early";

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.path {
            write!(f, "/{}", segment.escape_ascii())?;
        }
        write!(f, "[{}, at most {}]", self.offset, self.limit)
    }
}

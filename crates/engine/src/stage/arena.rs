//! The bytes of staged keys and values, in chunks that are handed back to a pool when the transaction ends.
//!
//! A chunk is never moved and never grows, so no copy of a key is left behind in freed memory: wiping the chunks at
//! release wipes all there was.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroize;

use super::log::StagedOp;
use crate::store::advise_huge;

/// The sizes of a stage's chunks, in the order that it takes them; the last size repeats.
const CHUNK_SIZES: [usize; 6] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 8 << 20];
/// From this many bytes on a stage takes chunks of the last size, which the kernel can back with huge pages; up to there the size before repeats.
const BULK_BYTES: usize = 4 << 20;

/// Logs with room for more operations than this are freed instead of kept.
const POOLED_LOG_MAX: usize = 1024;
const POOLED_LOGS_MAX: usize = 64;

/// Where a staged operation's bytes are: the key, and the value right behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) chunk: u32,
    pub(super) offset: u32,
}

/// How full an arena is, to go back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    chunks: usize,
    current: usize,
    used: usize,
    bytes: usize,
}

/// An append-only store of bytes.
pub(super) struct Arena {
    pool: Arc<ArenaPool>,
    chunks: Vec<Vec<u8>>,
    /// The chunk that is being filled. Chunks of a single oversized operation may follow it.
    current: usize,
    bytes: usize,
}

impl Arena {
    pub(super) fn new(pool: &Arc<ArenaPool>) -> Arena {
        Arena {
            pool: pool.clone(),
            chunks: Vec::new(),
            current: 0,
            bytes: 0,
        }
    }

    pub(super) fn pool(&self) -> &Arc<ArenaPool> {
        &self.pool
    }

    /// Bytes written and not rolled back.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Place {
        let len = key.len() + value.len();
        let fits = match self.chunks.get(self.current) {
            Some(chunk) => chunk.capacity() - chunk.len() >= len,
            None => false,
        };
        let at = if fits { self.current } else { self.chunk_for(len) };
        let chunk = &mut self.chunks[at];
        let offset = chunk.len();
        chunk.extend_from_slice(key);
        chunk.extend_from_slice(value);
        self.bytes += len;
        Place {
            chunk: at as u32,
            offset: offset as u32,
        }
    }

    /// The index of a chunk with room for `len` bytes. An operation that would waste much of a chunk gets one of its own, and the
    /// current chunk goes on being filled.
    #[cold]
    fn chunk_for(&mut self, len: usize) -> usize {
        let classes = CHUNK_SIZES.len() - usize::from(self.bytes < BULK_BYTES);
        let class = if self.chunks.is_empty() {
            0
        } else {
            let capacity = self.chunks[self.current].capacity();
            let larger = CHUNK_SIZES.iter().position(|size| *size > capacity);
            larger.unwrap_or(classes).min(classes - 1)
        };
        let class = (class..classes).find(|class| CHUNK_SIZES[*class] >= len.saturating_mul(4));
        let at = self.chunks.len();
        assert!(at < u32::MAX as usize, "a stage holds fewer than 2^32 chunks");
        match class {
            Some(class) => {
                self.chunks.push(self.pool.take(class));
                self.current = at;
            }
            None if at == 0 => {
                // There has to be a current chunk for the marks to speak of.
                self.chunks.push(self.pool.take(0));
                return self.chunk_for(len);
            }
            None => self.chunks.push(self.pool.take_oversized(len)),
        }
        at
    }

    #[inline]
    pub(super) fn bytes_at(&self, place: Place, from: u32, len: u32) -> &[u8] {
        let start = place.offset as usize + from as usize;
        &self.chunks[place.chunk as usize][start..start + len as usize]
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            chunks: self.chunks.len(),
            current: self.current,
            used: self.chunks.get(self.current).map_or(0, Vec::len),
            bytes: self.bytes,
        }
    }

    pub(super) fn rollback_to(&mut self, mark: Mark) {
        // One lock for all the chunks would be held while they are wiped: each is released by itself.
        while self.chunks.len() > mark.chunks {
            self.pool.release(
                self.chunks
                    .pop()
                    .expect("there are more chunks than the mark has"),
            );
        }
        self.current = mark.current;
        self.bytes = mark.bytes;
        if let Some(chunk) = self.chunks.get_mut(self.current) {
            if self.pool.secure {
                chunk[mark.used..].zeroize();
            }
            chunk.truncate(mark.used);
        }
    }

    pub(super) fn clear(&mut self) {
        self.rollback_to(Mark {
            chunks: 0,
            current: 0,
            used: 0,
            bytes: 0,
        });
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The chunks that no transaction uses at the moment, up to a limit, so that a small transaction allocates nothing.
pub(crate) struct ArenaPool {
    secure: bool,
    bytes_max: usize,
    free: Mutex<Free>,
    created: AtomicU64,
    reused: AtomicU64,
    freed: AtomicU64,
}

#[derive(Default)]
struct Free {
    chunks: [Vec<Vec<u8>>; CHUNK_SIZES.len()],
    bytes: usize,
    logs: Vec<Vec<StagedOp>>,
}

impl Free {
    /// Keeps a chunk of a class; those that there is no room for go to `freed`. Small ones displace larger ones: every transaction takes them, and after a
    /// large one the pool would have nothing else.
    fn keep(&mut self, chunk: Vec<u8>, class: usize, bytes_max: usize, freed: &mut Vec<Vec<u8>>) {
        let size = CHUNK_SIZES[class];
        for larger in (class + 1..CHUNK_SIZES.len()).rev() {
            while self.bytes + size > bytes_max
                && let Some(displaced) = self.chunks[larger].pop()
            {
                self.bytes -= CHUNK_SIZES[larger];
                freed.push(displaced);
            }
        }
        if self.bytes + size <= bytes_max {
            self.bytes += size;
            self.chunks[class].push(chunk);
        } else {
            freed.push(chunk);
        }
    }
}

/// What a pool has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArenaPoolStats {
    /// Chunks that were allocated.
    pub(crate) created: u64,
    /// Chunks that came from the pool.
    pub(crate) reused: u64,
    /// Chunks that were given back to the allocator.
    pub(crate) freed: u64,
    /// Bytes of the chunks that wait in the pool.
    pub(crate) pooled_bytes: usize,
}

impl ArenaPool {
    /// A pool that keeps at most `bytes_max` bytes of unused chunks. With `secure`, chunks are wiped as soon as a transaction is done
    /// with them; comparisons then cost more too, as no key bytes are kept outside of the chunks.
    pub(crate) fn new(bytes_max: usize, secure: bool) -> Arc<ArenaPool> {
        Arc::new(ArenaPool {
            secure,
            bytes_max,
            free: Mutex::default(),
            created: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            freed: AtomicU64::new(0),
        })
    }

    pub(crate) fn stats(&self) -> ArenaPoolStats {
        // Counters for people: they publish nothing, so relaxed loads do.
        ArenaPoolStats {
            created: self.created.load(Ordering::Relaxed),
            reused: self.reused.load(Ordering::Relaxed),
            freed: self.freed.load(Ordering::Relaxed),
            pooled_bytes: self.lock().bytes,
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// No code panics while it holds the lock, and a list of free chunks is right at every step anyway.
    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, class: usize) -> Vec<u8> {
        let pooled = {
            let mut free = self.lock();
            let chunk = free.chunks[class].pop();
            if chunk.is_some() {
                free.bytes -= CHUNK_SIZES[class];
            }
            chunk
        };
        match pooled {
            Some(mut chunk) => {
                self.reused.fetch_add(1, Ordering::Relaxed);
                chunk.clear();
                chunk
            }
            None => self.take_oversized(CHUNK_SIZES[class]),
        }
    }

    fn take_oversized(&self, len: usize) -> Vec<u8> {
        self.created.fetch_add(1, Ordering::Relaxed);
        let mut chunk = Vec::with_capacity(len);
        if len >= BULK_BYTES {
            advise_huge(chunk.spare_capacity_mut());
        }
        chunk
    }

    fn release(&self, mut chunk: Vec<u8>) {
        // Chunks wait in the pool as they were left, wiped or not, and are cleared when they are taken.
        if self.secure {
            chunk.as_mut_slice().zeroize();
        }
        let mut freed = Vec::new();
        match CHUNK_SIZES.binary_search(&chunk.capacity()) {
            Ok(class) => self.lock().keep(chunk, class, self.bytes_max, &mut freed),
            Err(_) => freed.push(chunk),
        }
        self.freed.fetch_add(freed.len() as u64, Ordering::Relaxed);
    }

    pub(super) fn take_log(&self) -> Vec<StagedOp> {
        self.lock().logs.pop().unwrap_or_default()
    }

    pub(super) fn release_log(&self, mut log: Vec<StagedOp>) {
        if log.capacity() == 0 || log.capacity() > POOLED_LOG_MAX {
            return;
        }
        log.clear();
        let mut free = self.lock();
        if free.logs.len() < POOLED_LOGS_MAX {
            free.logs.push(log);
        }
    }

    /// The bytes of every pooled chunk, as its last user left it.
    #[cfg(test)]
    pub(super) fn pooled_contents(&self) -> Vec<Vec<u8>> {
        let free = self.lock();
        free.chunks.iter().flatten().cloned().collect()
    }
}

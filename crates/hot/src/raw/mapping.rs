//! A shared mapping as bounds-checked atomic words.
//!
//! Other processes write to a mapping at any time, so nothing here ever lends plain memory except
//! [`Mapping::bytes`], whose caller promises that the bytes stay. All else goes through atomic words: whatever a peer writes, the
//! worst that a reader can get is a wrong number, and numbers are checked before they are used.

use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use crate::error::{Error, Result, corrupt};
use crate::sync::{AtomicU64, Ordering};

/// The least that is ever mapped.
const HEADER_PAGE: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    /// At least [`HEADER_PAGE`].
    len: u64,
    /// Whole words and lines in it.
    words: u64,
    lines: u64,
    writable: bool,
}

// SAFETY: the mapping is memory that nobody unmaps before `self` drops, and it is only reached through atomics (or under the
// promise of `bytes`), so it may be used from any thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `fd`, shared with whoever else maps it.
    pub(crate) fn shared(fd: BorrowedFd<'_>, len: u64, writable: bool) -> Result<Mapping> {
        let protection = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        Mapping::map(
            len,
            protection,
            libc::MAP_SHARED | libc::MAP_NORESERVE,
            fd.as_raw_fd(),
            writable,
        )
    }

    /// Maps `len` bytes of zeros that belong to this process alone. `huge_flags` asks for huge pages, which are then reserved
    /// at once, because touching one that can't be had is a signal and no error.
    pub(crate) fn anonymous(len: u64, huge_flags: i32) -> Result<Mapping> {
        let reserve = if huge_flags == 0 { libc::MAP_NORESERVE } else { 0 };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | reserve | huge_flags;
        Mapping::map(len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, true)
    }

    fn map(len: u64, protection: i32, flags: i32, fd: i32, writable: bool) -> Result<Mapping> {
        let size =
            usize::try_from(len).map_err(|_| Error::Invalid("a region larger than the address space"))?;
        if len < HEADER_PAGE {
            return Err(Error::Invalid("a region without room for its header"));
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory that anybody owns.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os("map the region"));
        }
        let start = NonNull::new(start.cast()).ok_or(Error::Invalid("a mapping at address zero"))?;
        let mapping = Mapping {
            start,
            len,
            words: len / 8,
            lines: len / 64,
            writable,
        };
        // A forked child that went on with its parent's sessions would be two owners of one slot: leave it without the memory.
        mapping.advise(0, len, libc::MADV_DONTFORK);
        Ok(mapping)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Gives the kernel advice about a range; whether it takes it is its own affair. Returns whether it did.
    pub(crate) fn advise(&self, offset: u64, len: u64, advice: i32) -> bool {
        if advice == libc::MADV_DONTNEED && !self.writable {
            return false;
        }
        match offset.checked_add(len) {
            // SAFETY: the range lies in the mapping. The advice used here (huge pages, no fork, populate, drop the contents)
            // leaves the range mapped; contents that change are what readers of atomics expect anyway.
            Some(end) if end <= self.len => unsafe {
                libc::madvise(
                    self.start.as_ptr().add(offset as usize).cast(),
                    len as usize,
                    advice,
                ) == 0
            },
            _ => false,
        }
    }

    /// Where a range lies in the address space, for the system calls that want to know.
    pub(crate) fn address(&self, offset: u64) -> usize {
        self.start.as_ptr() as usize + offset as usize
    }

    /// The words of the header page, where no look at the length is needed.
    #[inline(always)]
    pub(crate) fn header(&self) -> &[AtomicU64; HEADER_PAGE as usize / 8] {
        // SAFETY: every mapping has that many bytes, which `map` sees to, and starts on a page; the array has the layout of as
        // many words; the memory lives as long as `self`; all access to it is atomic.
        unsafe { self.start.cast().as_ref() }
    }

    /// The word with that number, if there is one. Needs fewer instructions than to ask for it by its place.
    #[inline(always)]
    pub(crate) fn nth_word(&self, number: u64) -> Option<&AtomicU64> {
        if number >= self.words {
            return None;
        }
        // SAFETY: in bounds as just checked, and aligned, because the mapping starts on a page; the memory lives as long as `self`;
        // all access to it is atomic.
        Some(unsafe { AtomicU64::from_ptr(self.start.as_ptr().cast::<u64>().add(number as usize)) })
    }

    /// `count` words from the one with that number on, if there are so many.
    #[inline(always)]
    pub(crate) fn nth_words(&self, number: u64, count: u64) -> Option<&[AtomicU64]> {
        if number > self.words || count > self.words - number {
            return None;
        }
        // SAFETY: in bounds as just checked, and aligned, because the mapping starts on a page; `AtomicU64` has the layout of `u64`;
        // the memory lives as long as `self`; all access to it is atomic.
        Some(unsafe {
            let first = self.start.as_ptr().cast::<AtomicU64>().add(number as usize);
            std::slice::from_raw_parts(first, count as usize)
        })
    }

    /// The line with that number, if there is one.
    #[inline(always)]
    pub(crate) fn nth_line(&self, number: u64) -> Option<&[AtomicU64; 8]> {
        if number >= self.lines {
            return None;
        }
        // SAFETY: in bounds as just checked, and aligned, because the mapping starts on a page; the array has the layout of 64 bytes;
        // the memory lives as long as `self`; all access to it is atomic.
        Some(unsafe { &*self.start.as_ptr().cast::<[AtomicU64; 8]>().add(number as usize) })
    }

    /// The word at `offset`.
    #[inline]
    pub(crate) fn word(&self, offset: u64) -> Result<&AtomicU64> {
        if !offset.is_multiple_of(8) || offset > self.len - 8 {
            return corrupt("an offset that lies in the region", offset);
        }
        // SAFETY: in bounds and aligned as just checked (the mapping starts on a page and has at least one); the memory lives as
        // long as `self`; all access to it is atomic.
        Ok(unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(offset as usize).cast()) })
    }

    /// `count` words from `offset` on.
    #[inline]
    pub(crate) fn words(&self, offset: u64, count: u64) -> Result<&[AtomicU64]> {
        if !offset.is_multiple_of(8) || offset > self.len || count > (self.len - offset) / 8 {
            return corrupt("a range that lies in the region", offset);
        }
        // SAFETY: in bounds and aligned as just checked; `AtomicU64` has the layout of `u64`; the memory lives as long as `self`;
        // all access to it is atomic.
        Ok(unsafe {
            std::slice::from_raw_parts(self.start.as_ptr().add(offset as usize).cast(), count as usize)
        })
    }

    /// The eight words of the line at `offset`.
    #[inline]
    pub(crate) fn line(&self, offset: u64) -> Result<&[AtomicU64; 8]> {
        if !offset.is_multiple_of(64) || offset > self.len - 64 {
            return corrupt("a line that lies in the region", offset);
        }
        // SAFETY: in bounds and aligned as just checked; the array has the layout of 64 bytes; the memory lives as long as
        // `self`; all access to it is atomic.
        Ok(unsafe { &*self.start.as_ptr().add(offset as usize).cast::<[AtomicU64; 8]>() })
    }

    /// The bytes of a range as plain memory.
    ///
    /// # Safety
    ///
    /// Nobody, in any process, may change them while the slice lives.
    pub(crate) unsafe fn bytes(&self, offset: u64, len: u64) -> Result<&[u8]> {
        match offset.checked_add(len) {
            // SAFETY: in bounds as just checked; that the bytes stay is the caller's promise.
            Some(end) if end <= self.len => Ok(unsafe {
                std::slice::from_raw_parts(self.start.as_ptr().add(offset as usize), len as usize)
            }),
            _ => corrupt("a range that lies in the region", offset),
        }
    }

    /// Asks the processor to fetch the line at `offset`.
    #[inline]
    pub(crate) fn prefetch(&self, offset: u64) {
        #[cfg(target_arch = "x86_64")]
        if offset < self.len {
            // SAFETY: a prefetch reads nothing that the program can see; the address is in the mapping.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T0>(self.start.as_ptr().add(offset as usize).cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = offset;
    }

    /// Asks the processor to fetch the line that was found.
    #[inline]
    pub(crate) fn prefetch_line(line: &[AtomicU64; 8]) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing that the program can see; the address is that of a reference.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(line).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }

    /// Fills a range with zeros, word by word.
    pub(crate) fn zero(&self, offset: u64, len: u64) -> Result<()> {
        for word in self.words(offset, len / 8)? {
            word.store(0, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one that `mmap` gave, and nothing borrowed from `self` outlives it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len as usize) };
    }
}

/// Writes `bytes` into `words`, from the first on; the last word is filled up with zeros.
#[inline]
pub(crate) fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let (whole, behind) = words.split_at(chunks.len());
    for (word, chunk) in whole.iter().zip(chunks) {
        word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        behind[0].store(partial_word(rest), Ordering::Relaxed);
    }
}

/// Appends the first `len` bytes of `words` to `out`.
#[inline(always)]
pub(crate) fn load_bytes(words: &[AtomicU64], len: usize, out: &mut Vec<u8>) {
    let words = &words[..len.div_ceil(8)];
    // Whole words are copied, of which what is too much stays behind the end.
    out.reserve(words.len() * 8);
    let start = out.len();
    let to = out.spare_capacity_mut().as_mut_ptr().cast::<u64>();
    // SAFETY: there is room for as many words as there are in `words`.
    unsafe { copy_words(words, to) };
    // SAFETY: all of these bytes were written just now, as `words` has at least `len`, and there was room for them.
    unsafe { out.set_len(start + len) };
}

/// Copies words to where `to` leads.
///
/// # Safety
///
/// There must be room for as many words.
#[inline(always)]
unsafe fn copy_words(words: &[AtomicU64], to: *mut u64) {
    // SAFETY: `at` is less than the number of words, for which there is room by the caller's promise.
    let copy = |(at, word): (usize, &AtomicU64)| unsafe {
        to.add(at).write_unaligned(word.load(Ordering::Relaxed));
    };
    // Most values are short, and then a loop costs more than the words.
    match words {
        [a, b] => [a, b].into_iter().enumerate().for_each(copy),
        [a] => copy((0, a)),
        more => more.iter().enumerate().for_each(copy),
    }
}

/// Fills `buffer` with the bytes of `words` from the one at `skip`, which lies in the first word, on.
pub(crate) fn copy_bytes(words: &[AtomicU64], skip: usize, buffer: &mut [u8]) {
    let mut rest = buffer;
    let mut skip = skip;
    for word in words {
        let n = rest.len().min(8 - skip);
        let (part, behind) = rest.split_at_mut(n);
        part.copy_from_slice(&word.load(Ordering::Acquire).to_ne_bytes()[skip..skip + n]);
        rest = behind;
        skip = 0;
    }
}

/// Whether the first `bytes.len()` bytes of `words` are `bytes`. The rest of the last word counts as zeros.
#[inline]
pub(crate) fn equal_bytes(words: &[AtomicU64], bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let Some((whole, behind)) = words.split_at_checked(chunks.len()) else {
        return false;
    };
    let mut difference = 0;
    for (word, chunk) in whole.iter().zip(chunks) {
        difference |= word.load(Ordering::Relaxed) ^ u64::from_ne_bytes(*chunk);
    }
    match behind.first() {
        _ if rest.is_empty() => difference == 0,
        Some(last) => difference | (last.load(Ordering::Relaxed) ^ partial_word(rest)) == 0,
        None => false,
    }
}

/// Up to seven bytes as a word, zeros behind them.
#[inline]
pub(crate) fn partial_word(rest: &[u8]) -> u64 {
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    u64::from_ne_bytes(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_outside_is_refused() {
        let mapping = Mapping::anonymous(4096, 0).unwrap();
        assert!(mapping.word(4088).is_ok());
        for offset in [4096, 4089, 1, u64::MAX, u64::MAX - 7] {
            assert!(mapping.word(offset).is_err(), "{offset}");
        }
        assert!(mapping.words(4096, 0).is_ok());
        assert!(mapping.words(8, 512).is_err());
        assert!(mapping.words(8, u64::MAX).is_err());
        assert!(mapping.line(4032).is_ok());
        assert!(mapping.line(4064).is_err());
        assert!(mapping.line(4096).is_err());
    }

    #[test]
    fn bytes_come_back_whatever_their_number() {
        let mapping = Mapping::anonymous(4096, 0).unwrap();
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8 + 1).collect();
            let words = mapping.words(64, 8).unwrap();
            store_bytes(words, &bytes);
            let mut out = vec![9];
            load_bytes(words, len, &mut out);
            assert_eq!(out[1..], bytes);
            assert!(equal_bytes(words, &bytes));
            if len > 0 {
                let mut other = bytes.clone();
                other[len - 1] ^= 1;
                assert!(!equal_bytes(words, &other));
            }
        }
    }
}

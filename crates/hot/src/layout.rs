//! Where things lie in a region.
//!
//! ```text
//!  0            page of the header: what the region is, era, roots of the map
//!  4096         sessions, 256 bytes each
//!  ...          active slots and stacks: 8 groups and a sieve, of 256 classes each, 16 bytes a class
//!  ...          volume table, a word for each volume
//!  data_start   volumes
//! ```
//!
//! All of it follows from three numbers in the header, which are read once and checked; the rest is computed.

use crate::class::Classes;
use crate::error::{Error, Result, corrupt};
use crate::protocol::header::Owner;

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"WEALDHOT");
pub(crate) const VERSION: u64 = 3;

/// Byte offsets of the words of the header page. Those that change often have a line to themselves.
pub(crate) mod at {
    pub(crate) const MAGIC: u64 = 0;
    pub(crate) const VERSION: u64 = 8;
    pub(crate) const VOLUME_SIZE: u64 = 16;
    pub(crate) const VOLUMES: u64 = 24;
    pub(crate) const SESSIONS: u64 = 32;
    pub(crate) const PAGE: u64 = 40;
    pub(crate) const HASH_KEY: u64 = 48;
    pub(crate) const PID_NAMESPACE: u64 = 64;
    pub(crate) const FLAGS: u64 = 72;
    pub(crate) const CACHE_BYTES: u64 = 80;
    /// Which start of the machine it belongs to.
    pub(crate) const BOOT_ID: u64 = 88;
    pub(crate) const HEADER_CHECK: u64 = 104;
    pub(crate) const ERA: u64 = 1024;
    /// Session slots at and above this were never used.
    pub(crate) const SESSIONS_USED: u64 = 1088;
    /// Deaths that were mended.
    pub(crate) const RECOVERIES: u64 = 1152;
    /// Where to look first for a free volume.
    pub(crate) const VOLUME_HINT: u64 = 1216;
    pub(crate) const TABLE: u64 = 2048;
    pub(crate) const TABLE_NEXT: u64 = 2056;
    pub(crate) const MIGRATED: u64 = 2112;
    /// Tables made so far: gives each its number.
    pub(crate) const TABLES: u64 = 2176;
    /// The queues of cache mode.
    pub(crate) const QUEUES: u64 = 2240;
    /// The clock of views, and the queue of what is kept for them.
    pub(crate) const CLOCK: u64 = 2368;
    pub(crate) const KEPT: u64 = 2432;
    /// Whether something is kept that the queue doesn't know of.
    pub(crate) const KEPT_LOST: u64 = 2496;
    /// A bit for each session that has views: 512 bytes.
    pub(crate) const VIEWERS: u64 = 2560;
    /// The next line to look for entries that the queues have lost.
    pub(crate) const CLOCK_HAND: u64 = 2304;
    /// The first links of the ordered index, one for each of 16 levels.
    pub(crate) const INDEX_HEAD: u64 = 3072;
}

pub(crate) const SESSIONS_START: u64 = 4096;
pub(crate) const SESSION_LEN: u64 = 256;
/// Concurrency groups: sessions of different groups allocate from different superblocks.
pub(crate) const GROUPS: u64 = 8;
/// One more row of stacks, where a purge puts what it has looked at.
pub(crate) const SIEVE: u64 = GROUPS;
const GROUP_LEN: u64 = 256 * 16;

/// The largest region: stacks hold offsets in units of 64 bytes in 32 bits.
pub(crate) const LEN_MAX: u64 = 1 << 38;
pub(crate) const VOLUME_SIZE_MIN: u64 = 1 << 16;
pub(crate) const VOLUME_SIZE_MAX: u64 = 1 << 34;

/// Every place in a region, from the numbers in its header.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) volume_size: u64,
    pub(crate) volume_shift: u32,
    pub(crate) volumes: u64,
    pub(crate) sessions: u64,
    pub(crate) heads_start: u64,
    pub(crate) volume_table: u64,
    pub(crate) data_start: u64,
    pub(crate) len: u64,
    pub(crate) classes: Classes,
}

impl Layout {
    /// `page` is the size of the pages under the region. The numbers may come from anywhere.
    pub(crate) fn new(volume_size: u64, volumes: u64, sessions: u64, page: u64) -> Result<Layout> {
        if !volume_size.is_power_of_two() || !(VOLUME_SIZE_MIN..=VOLUME_SIZE_MAX).contains(&volume_size) {
            return Err(Error::Invalid(
                "a volume size that is no power of two from 64 KiB to 16 GiB",
            ));
        }
        if !page.is_power_of_two() || !(4096..=1 << 30).contains(&page) || !volume_size.is_multiple_of(page) {
            return Err(Error::Invalid(
                "a volume size that is no multiple of the page size",
            ));
        }
        if sessions == 0 || sessions > u64::from(Owner::MAX) {
            return Err(Error::Invalid(
                "a number of sessions that is not between 1 and 4095",
            ));
        }
        if volumes == 0 || volumes > LEN_MAX / volume_size {
            return Err(Error::Invalid(
                "a capacity that is zero or too large for a region",
            ));
        }
        let heads_start = SESSIONS_START + sessions * SESSION_LEN;
        let volume_table = heads_start + (GROUPS + 1) * GROUP_LEN;
        let data_start = (volume_table + volumes * 8).next_multiple_of(page);
        let len = data_start + volumes * volume_size;
        if len > LEN_MAX {
            return Err(Error::Invalid("a region larger than 256 GiB"));
        }
        Ok(Layout {
            volume_size,
            volume_shift: volume_size.trailing_zeros(),
            volumes,
            sessions,
            heads_start,
            volume_table,
            data_start,
            len,
            classes: Classes::new(volume_size),
        })
    }

    /// The place of session slot `index`.
    pub(crate) fn session(&self, index: u64) -> u64 {
        SESSIONS_START + index * SESSION_LEN
    }

    /// The place of a group's active slot for a class; the stack's head is the word behind it.
    pub(crate) fn active(&self, group: u64, class: u8) -> u64 {
        self.heads_start + group * GROUP_LEN + u64::from(class) * 16
    }

    /// The place of a volume's word.
    #[inline]
    pub(crate) fn volume_word(&self, volume: u64) -> u64 {
        self.volume_table + volume * 8
    }

    /// The place of a volume.
    pub(crate) fn volume_start(&self, volume: u64) -> u64 {
        self.data_start + (volume << self.volume_shift)
    }

    /// The bytes from an offset, which lies in a volume, to the volume's end.
    #[inline(always)]
    pub(crate) fn room_behind(&self, offset: u64) -> u64 {
        self.volume_size - (offset.wrapping_sub(self.data_start) & (self.volume_size - 1))
    }

    /// The volume in which an offset lies.
    #[inline]
    pub(crate) fn volume_of(&self, offset: u64) -> Result<u64> {
        if offset < self.data_start || offset >= self.len {
            return corrupt("an offset that lies in a volume", offset);
        }
        Ok((offset - self.data_start) >> self.volume_shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps() {
        let layout = Layout::new(1 << 20, 100, 128, 4096).unwrap();
        assert!(layout.session(127) + SESSION_LEN <= layout.active(0, 0));
        assert!(layout.active(SIEVE, 255) + 16 <= layout.volume_word(0));
        assert!(layout.volume_word(99) + 8 <= layout.volume_start(0));
        assert_eq!(layout.volume_start(99) + (1 << 20), layout.len);
        assert_eq!(layout.volume_of(layout.data_start + (5 << 20)).unwrap(), 5);
        assert!(layout.volume_of(layout.data_start - 1).is_err());
        assert!(layout.volume_of(layout.len).is_err());
    }

    #[test]
    fn absurd_numbers_are_refused() {
        let values = [
            0,
            1,
            4095,
            4096,
            1 << 16,
            1 << 20,
            1 << 34,
            1 << 38,
            1 << 63,
            u64::MAX,
        ];
        for volume_size in values {
            for volumes in values {
                for sessions in values {
                    for page in values {
                        if let Ok(layout) = Layout::new(volume_size, volumes, sessions, page) {
                            assert!(layout.len <= LEN_MAX);
                        }
                    }
                }
            }
        }
    }
}

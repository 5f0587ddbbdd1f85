//! An object's header word, which alone says what the object is.
//!
//! ```text
//!  63                29 28         17 16    11 10      3 2     0
//! +--------------------+-------------+--------+---------+-------+
//! |     generation     |    owner    | index  |  class  | state |
//! +--------------------+-------------+--------+---------+-------+
//!
//!  Free ──claim──► Held ──────────► Owned ───► Live
//!   ▲               │ ▲              │          │
//!   └───release─────┘ └──recycle── Retired ◄────┘
//! ```
//!
//! `Held` lies in its owner's magazine, `Owned` is being filled or is the owner's own, `Live` belongs to everyone,
//! `Retired` waits until nobody can still be reading it. Every word that names an owner can be undone when that owner dies, by a
//! walk over all headers. The superblock's bitmap of free objects is a hint: [`take`] clears a bit before it looks at the header
//! and [`release`] sets it after the header is `Free`, so a free object whose bit is clear exists only while somebody is between these
//! two steps (or died there; the walk mends it).

use crate::sync::{AtomicU64, Ordering, fence};

/// What an object is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No header at all.
    Unformatted = 0,
    /// Nobody's.
    Free = 1,
    /// In the owner's magazine.
    Held = 2,
    /// Allocated; goes back when the owner dies.
    Owned = 3,
    /// Allocated; belongs to the region.
    Live = 4,
    /// Unlinked by the owner, still readable by those who saw it before.
    Retired = 5,
    /// Cut up into smaller objects.
    Super = 6,
    /// Not a header but a signpost to one, before an object with a large alignment.
    Shifted = 7,
}

/// A session's number, from 1; 0 is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Owner(pub(crate) u16);

impl Owner {
    pub(crate) const NOBODY: Owner = Owner(0);
    pub(crate) const BITS: u32 = 12;
    pub(crate) const MAX: u16 = (1 << Owner::BITS) - 1;
}

/// One value of a header word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header(pub(crate) u64);

const GENERATION_SHIFT: u32 = 29;
const OWNER_SHIFT: u32 = 17;
const INDEX_SHIFT: u32 = 11;
const CLASS_SHIFT: u32 = 3;

impl Header {
    pub(crate) fn new(state: State, class: u8, index: u32, owner: Owner, generation: u64) -> Header {
        Header(
            state as u64
                | u64::from(class) << CLASS_SHIFT
                | u64::from(index & 63) << INDEX_SHIFT
                | u64::from(owner.0) << OWNER_SHIFT
                | generation << GENERATION_SHIFT,
        )
    }

    #[inline]
    pub(crate) fn load(word: &AtomicU64) -> Header {
        // Pairs with the release of whoever wrote it: what the header says about the object is there.
        Header(word.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn state(self) -> State {
        match self.0 & 7 {
            0 => State::Unformatted,
            1 => State::Free,
            2 => State::Held,
            3 => State::Owned,
            4 => State::Live,
            5 => State::Retired,
            6 => State::Super,
            _ => State::Shifted,
        }
    }

    #[inline]
    pub(crate) fn class(self) -> u8 {
        (self.0 >> CLASS_SHIFT) as u8
    }

    pub(crate) fn index(self) -> u32 {
        (self.0 >> INDEX_SHIFT) as u32 & 63
    }

    #[inline]
    pub(crate) fn owner(self) -> Owner {
        Owner((self.0 >> OWNER_SHIFT) as u16 & Owner::MAX)
    }

    /// Whether the word says `state`, with `owner` as its owner.
    #[inline]
    pub(crate) fn is(self, state: State, owner: Owner) -> bool {
        const BOTH: u64 = 7 | (Owner::MAX as u64) << OWNER_SHIFT;
        self.0 & BOTH == state as u64 | u64::from(owner.0) << OWNER_SHIFT
    }

    /// The header after a step to `state`: a generation later.
    #[inline]
    pub(crate) fn next(self, state: State, owner: Owner) -> Header {
        let kept = self.0 & ((1 << OWNER_SHIFT) - 8);
        let generation = (self.0 >> GENERATION_SHIFT).wrapping_add(1) << GENERATION_SHIFT;
        Header(kept | generation | u64::from(owner.0) << OWNER_SHIFT | state as u64)
    }

    /// [`next`](Header::next) for one who knows the header's state and owner, `from`: the difference is a single sum.
    #[inline(always)]
    pub(crate) fn next_from(self, from: (State, Owner), to: (State, Owner)) -> Header {
        debug_assert!(self.is(from.0, from.1));
        let part = |(state, owner): (State, Owner)| state as u64 | u64::from(owner.0) << OWNER_SHIFT;
        let difference = part(to).wrapping_sub(part(from));
        Header(
            self.0
                .wrapping_add(1 << GENERATION_SHIFT)
                .wrapping_add(difference),
        )
    }

    /// The step itself, if the word is still `self`.
    #[inline]
    pub(crate) fn step(self, word: &AtomicU64, state: State, owner: Owner) -> Option<Header> {
        let next = self.next(state, owner);
        // Release pairs with `load`; acquire, because the one who steps goes on to use the object.
        match word.compare_exchange(self.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(next),
            Err(_) => None,
        }
    }

    /// The step without a contest, for an owner whose word nobody else may change.
    #[inline]
    pub(crate) fn set(self, word: &AtomicU64, state: State, owner: Owner) -> Header {
        let next = self.next(state, owner);
        word.store(next.0, Ordering::Release);
        next
    }
}

/// Before the memory of an object that has become ours is written to. Who reads it without a pin, as what it was before, and sees what we write, thereby sees
/// afterwards that the header is no longer the same. On x86 this keeps only the compiler from changing the order.
#[inline(always)]
pub(crate) fn before_writing() {
    fence(Ordering::Release);
}

/// Takes the object if it is free.
pub(crate) fn claim(word: &AtomicU64, owner: Owner) -> bool {
    let header = Header::load(word);
    header.state() == State::Free && header.step(word, State::Held, owner).is_some()
}

/// Takes up to `want` of the objects that the bitmap offers, and calls `taken` with the index of each. `word_of` finds a header.
pub(crate) fn take<'a, E>(
    bitmap: &AtomicU64,
    want: u32,
    owner: Owner,
    mut word_of: impl FnMut(u32) -> Result<&'a AtomicU64, E>,
    mut taken: impl FnMut(u32),
) -> Result<u32, E> {
    let mut got = 0;
    while got < want {
        let offered = bitmap.load(Ordering::Acquire);
        if offered == 0 {
            break;
        }
        let chosen = lowest_bits(offered, want - got);
        // Before the headers are looked at, and in one order with the bit that `release` sets, hence sequentially consistent: either
        // that bit comes after this and stays, or the header is seen to be free here.
        bitmap.fetch_and(!chosen, Ordering::SeqCst);
        let mut rest = chosen;
        while rest != 0 {
            let index = rest.trailing_zeros();
            rest &= rest - 1;
            if claim(word_of(index)?, owner) {
                taken(index);
                got += 1;
            }
        }
    }
    Ok(got)
}

/// Gives held objects of a superblock back. Returns what the bitmap held before, and the bits that were set in it.
pub(crate) fn release<'a>(
    held: impl Iterator<Item = (&'a AtomicU64, Header)>,
    bitmap: &AtomicU64,
) -> (u64, u64) {
    let mut bits = 0;
    for (word, header) in held {
        header.set(word, State::Free, Owner::NOBODY);
        bits |= 1 << header.index();
    }
    (offer(bitmap, bits), bits)
}

/// Sets the bits of objects that are free. Returns what the bitmap held before.
pub(crate) fn offer(bitmap: &AtomicU64, bits: u64) -> u64 {
    // See `take`.
    bitmap.fetch_or(bits, Ordering::SeqCst)
}

fn lowest_bits(word: u64, count: u32) -> u64 {
    let mut rest = word;
    for _ in 0..count {
        if rest == 0 {
            break;
        }
        rest &= rest - 1;
    }
    word ^ rest
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_header_keeps_its_place_through_all_steps() {
        let word = AtomicU64::new(Header::new(State::Free, 200, 63, Owner::NOBODY, 7).0);
        assert!(claim(&word, Owner(4095)));
        let header = Header::load(&word);
        assert_eq!(
            (header.state(), header.class(), header.index()),
            (State::Held, 200, 63)
        );
        assert_eq!(header.owner(), Owner(4095));
        assert!(!claim(&word, Owner(1)));
        assert!(
            Header(header.0 ^ 1 << 40)
                .step(&word, State::Live, Owner(1))
                .is_none()
        );
        let live = header.step(&word, State::Live, Owner::NOBODY).unwrap();
        assert_eq!(
            (live.class(), live.index(), live.owner()),
            (200, 63, Owner::NOBODY)
        );
    }

    #[test]
    fn a_known_step_is_the_same_as_any() {
        for generation in [0, 5, u64::MAX >> GENERATION_SHIFT] {
            let held = Header::new(State::Held, 200, 63, Owner(77), generation);
            let me = Owner(77);
            for to in [
                (State::Owned, me),
                (State::Live, Owner::NOBODY),
                (State::Free, Owner::NOBODY),
            ] {
                assert_eq!(held.next_from((State::Held, me), to), held.next(to.0, to.1));
            }
            let live = Header::new(State::Live, 3, 0, Owner::NOBODY, generation);
            let known = live.next_from((State::Live, Owner::NOBODY), (State::Held, Owner(4095)));
            assert_eq!(known, live.next(State::Held, Owner(4095)));
        }
    }

    #[test]
    fn a_generation_that_overflows_leaves_the_rest_alone() {
        let header = Header::new(State::Held, 3, 5, Owner(9), u64::MAX);
        let next = header.next(State::Free, Owner::NOBODY);
        assert_eq!(
            (next.state(), next.class(), next.index(), next.owner()),
            (State::Free, 3, 5, Owner::NOBODY)
        );
    }

    #[test]
    fn take_gives_no_more_than_wanted_and_skips_what_is_not_free() {
        let words: Vec<AtomicU64> = (0..8)
            .map(|i| AtomicU64::new(Header::new(State::Free, 1, i, Owner::NOBODY, 0).0))
            .collect();
        let bitmap = AtomicU64::new(0xff);
        assert!(claim(&words[1], Owner(2)));
        let mut got = Vec::new();
        let n = take(
            &bitmap,
            3,
            Owner(1),
            |i| Ok::<_, ()>(&words[i as usize]),
            |i| got.push(i),
        )
        .unwrap();
        assert_eq!((n, got), (3, vec![0, 2, 3]));
        assert_eq!(bitmap.load(Ordering::Relaxed), 0xf0);
    }
}

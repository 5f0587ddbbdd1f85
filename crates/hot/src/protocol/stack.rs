//! The versioned stack of superblocks that have free objects but are not the one in use.
//!
//! The head is one word: 32 bits of version, which every push and pop raises, and the top's offset in units of 64 bytes.
//! Those who push and pop do so within an epoch, so the memory of a superblock that they saw stays a superblock; the version
//! guards against a top that was popped and pushed again meanwhile.

use super::RETRIES;
use crate::sync::{AtomicU64, Ordering};

/// The offset that a head word holds; 0 for none.
pub(crate) fn top(head: u64) -> u64 {
    (head & 0xffff_ffff) << 6
}

/// A head word that follows `head` and holds `offset`, a multiple of 64 below 256 GiB.
pub(crate) fn succeed(head: u64, offset: u64) -> u64 {
    ((head >> 32).wrapping_add(1) << 32) | (offset >> 6) & 0xffff_ffff
}

/// Puts the superblock at `offset`, whose link word is `link`, on top. `false` if others were in the way all the time.
pub(crate) fn push(head: &AtomicU64, offset: u64, link: &AtomicU64) -> bool {
    for _ in 0..RETRIES {
        let seen = head.load(Ordering::Acquire);
        link.store(top(seen), Ordering::Relaxed);
        // Release: whoever pops sees the link. Sequentially consistent for the double collect of a recovery.
        if head
            .compare_exchange(seen, succeed(seen, offset), Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
        {
            return true;
        }
    }
    false
}

/// Takes the top off. `before` hears its offset before it is taken, so that it can be found if the taker dies; `link_of` finds
/// a link word, or says that there can't be one.
pub(crate) fn pop<'a, E>(
    head: &AtomicU64,
    mut before: impl FnMut(u64),
    mut link_of: impl FnMut(u64) -> Result<&'a AtomicU64, E>,
) -> Result<Option<u64>, E> {
    for _ in 0..RETRIES {
        let seen = head.load(Ordering::Acquire);
        let offset = top(seen);
        if offset == 0 {
            return Ok(None);
        }
        let link = link_of(offset);
        if head.load(Ordering::Acquire) != seen {
            continue;
        }
        let below = link?.load(Ordering::Acquire);
        before(offset);
        if head
            .compare_exchange(seen, succeed(seen, below), Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
        {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn last_in_first_out_and_each_change_has_a_version() {
        let links: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
        let head = AtomicU64::new(u64::MAX << 32);
        let link_of = |offset: u64| Ok::<_, ()>(&links[offset as usize / 64]);
        assert_eq!(pop(&head, |_| {}, link_of), Ok(None));
        assert!(push(&head, 64, &links[1]));
        assert!(push(&head, 192, &links[3]));
        let seen = head.load(Ordering::Relaxed);
        assert_eq!(pop(&head, |_| {}, link_of), Ok(Some(192)));
        assert!(push(&head, 192, &links[3]));
        assert_ne!(head.load(Ordering::Relaxed), seen);
        assert_eq!(top(head.load(Ordering::Relaxed)), top(seen));
        assert_eq!(pop(&head, |_| {}, link_of), Ok(Some(192)));
        assert_eq!(pop(&head, |_| {}, link_of), Ok(Some(64)));
        assert_eq!(pop(&head, |_| {}, link_of), Ok(None));
    }
}

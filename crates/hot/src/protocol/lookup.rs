//! Finding a key while the table grows and others write.
//!
//! A line whose guard says that it was moved is not looked into any more: its slots are frozen as they were, and what they lead to may have been replaced
//! in the next table and freed since, long before the one who looks pinned his era. So the guard is looked at after the slots and before what they lead to:
//! what was read from a line that had not been moved by then was so at some instant since the start.
//!
//! One who can't pin looks twice. If he finds the same entries with the same headers before and after reading them, they were linked all the time between, for a
//! header changes with every step of its object and never comes back.

use super::RETRIES;
use super::line::Guard;
use crate::sync::{AtomicU64, Ordering, fence};

/// What `read` finds in a line; `None` if the line's keys are in another table.
#[inline(always)]
pub(crate) fn in_line<T>(guard: &AtomicU64, read: impl FnOnce() -> T) -> Option<T> {
    let found = read();
    (!Guard::load(guard).is_elsewhere()).then_some(found)
}

/// Which of the tables is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Current,
    /// The one that a growing table becomes.
    Next,
}

/// What there is in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<T> {
    Is(T),
    /// There is no table yet.
    NoTable,
    /// It was elsewhere all the time.
    Never,
}

/// Looks into the current table and, when that says so, into the next one. `look` answers `None` where the line has been moved.
pub(crate) fn in_tables<H, T, E>(
    mut table: impl FnMut(Which) -> Result<Option<H>, E>,
    mut look: impl FnMut(H) -> Result<Option<T>, E>,
) -> Result<Found<T>, E> {
    for _ in 0..RETRIES {
        let Some(current) = table(Which::Current)? else {
            return Ok(Found::NoTable);
        };
        if let Some(found) = look(current)? {
            return Ok(Found::Is(found));
        }
        // Moved lines lead to the next table, unless that has become the current one since.
        let Some(next) = table(Which::Next)? else {
            continue;
        };
        if let Some(found) = look(next)? {
            return Ok(Found::Is(found));
        }
    }
    Ok(Found::Never)
}

/// What `read` makes of what `find` finds, if `find` finds just the same afterwards.
///
/// `is_declared` says whether all that was found is declared live, and so was whole before it was found. What is not may have been found by a slot that led to
/// something else in the same place, and is perhaps still being written: it has to be found once more before it is read.
pub(crate) fn twice<F: PartialEq, T, E>(
    mut find: impl FnMut() -> Result<F, E>,
    is_declared: impl FnOnce(&F) -> bool,
    read: impl FnOnce(&F) -> T,
) -> Result<Option<T>, E> {
    let before = find()?;
    if !is_declared(&before) && find()? != before {
        return Ok(None);
    }
    let result = read(&before);
    // What was read above was read before anything below.
    fence(Ordering::Acquire);
    Ok((find()? == before).then_some(result))
}

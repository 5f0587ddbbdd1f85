//! Views: all keys as they were at one instant, while others go on writing; for regions that were created with `views`.
//!
//! The region has a clock that only the taking of views moves on. Every entry of such a region has a *stamp*, the clock's time
//! when it became its key's value, and leads to the entry that it replaced; a removal is an entry too, a tombstone. A stamp is written after the entry
//! was linked, by whoever comes first: until then nobody can have seen the entry, because everyone who reads it makes sure of the stamp
//! before. So a view of time `t` sees of each key the newest entry that is not younger than `t` ([`moment`]).
//!
//! An old entry is needed by the views that were taken after it came and before its successor did. Who replaces an entry looks
//! at the views there are, takes what no view needs out of the key's history at once, and leaves tickets for the rest; who gives up a view goes through
//! the tickets ([`history`]).
//!
//! A view is a word in its session's slot, and a bit that says that the session has any. When the session's process dies, whoever cleans up after it
//! clears them.

mod history;
mod moment;

use std::fmt;
use std::ops::RangeBounds;

use crate::cache::now_ms;
use crate::error::{Error, Result};
use crate::layout::at;
use crate::map::{Scan, ValueRef};
use crate::order::Range;
use crate::protocol::dating;
use crate::region::Shared;
use crate::session::{Session, field};
use crate::sync::{AtomicU64, Ordering};

pub(crate) use moment::Moment;

/// Views that a session may have at once.
const VIEWS_MAX: usize = 4;

/// All keys as they were at one instant; see [`Session::view`].
pub struct View<'a> {
    session: &'a Session,
    index: usize,
    moment: Moment,
}

impl Session {
    /// A view of all keys as they are now, which stays as it is while others write.
    ///
    /// Taking one costs two atomic operations on shared words. While it lives, the values that it sees and that are replaced or removed keep
    /// their memory: at most one old value for each key and view. Giving it up frees them, which takes time in proportion to
    /// their number. A session may have four views at once. Only for regions created with [`views`](crate::RegionOptions::views).
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// let options = RegionOptions { capacity: 16 << 20, views: true, ..Default::default() };
    /// let region = Region::anonymous(&options)?;
    /// let session = region.join("example")?;
    /// session.put(b"colour", b"green")?;
    /// let view = session.view()?;
    /// session.put(b"colour", b"red")?;
    /// session.put(b"size", b"large")?;
    /// assert_eq!(view.get(b"colour")?.as_deref(), Some(&b"green"[..]));
    /// assert_eq!(view.get(b"size")?, None);
    /// assert_eq!(view.scan().count(), 1);
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn view(&self) -> Result<View<'_>> {
        if !self.shared.has_views {
            return Err(Error::Invalid("a region that was not created with views"));
        }
        let used = self.views.get();
        let index = (!used).trailing_zeros() as usize;
        if index >= VIEWS_MAX {
            return Err(Error::Full("the views of this session"));
        }
        let clock = self.shared.fixed(at::CLOCK);
        let word = self.view_word(index)?;
        self.shared.announce(self.owner.0 - 1)?;
        let time = dating::take(word, clock);
        self.views.set(used | 1 << index);
        Ok(View {
            session: self,
            index,
            moment: Moment {
                time,
                clock_ms: now_ms(),
            },
        })
    }

    fn view_word(&self, index: usize) -> Result<&AtomicU64> {
        self.shared.map.word(self.slot + field::VIEWS + index as u64 * 8)
    }

    /// Gives a view up, and frees what only it needed.
    fn release_view(&self, index: usize) -> Result<()> {
        self.view_word(index)?.store(0, Ordering::SeqCst);
        let left = self.views.get() & !(1 << index);
        self.views.set(left);
        if left == 0 {
            self.shared.withdraw(u64::from(self.owner.0) - 1)?;
        }
        self.act(|actor| actor.reap())
    }
}

impl<'a> View<'a> {
    /// The value that a key had.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let shared = &self.session.shared;
        let _pin = self.session.pin();
        let found = shared.find_at(shared.hash(key), key, Some(self.moment))?;
        Ok(found.map(|entry| entry.value()))
    }

    /// The value that a key had where it lies, without a copy; see [`Session::get_ref`]. It may be kept for longer than the view.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// # let options = RegionOptions { capacity: 16 << 20, views: true, ..Default::default() };
    /// # let region = Region::anonymous(&options)?;
    /// # let session = region.join("example")?;
    /// session.put(b"colour", b"green")?;
    /// let view = session.view()?;
    /// session.put(b"colour", b"red")?;
    /// let value = view.get_ref(b"colour")?.expect("it was green");
    /// let mut start = [0; 2];
    /// assert_eq!((value.len(), value.read_at(0, &mut start)), (5, 2));
    /// assert_eq!(&start, b"gr");
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn get_ref(&self, key: &[u8]) -> Result<Option<ValueRef<'a>>> {
        self.session.get_ref_at(key, Some(self.moment))
    }

    /// Looks up the values that many keys had at once and calls `found` with the index of each key and its value; see [`Session::get_many`].
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        found: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<()> {
        self.session.get_many_at(keys, Some(self.moment), found)
    }

    /// Whether a key had a value.
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        let shared = &self.session.shared;
        let _pin = self.session.pin();
        Ok(shared
            .find_at(shared.hash(key), key, Some(self.moment))?
            .is_some())
    }

    /// The keys of a range and their values, in order and from either end; see [`Session::range`].
    pub fn range<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Result<Range<'_>> {
        Range::new(self.session, range, Some(self.moment))
    }

    /// All keys and their values, in no order; see [`Session::scan`].
    pub fn scan(&self) -> Scan<'_> {
        Scan::new(self.session, Some(self.moment))
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        // What could not be freed is found by the next one who gives up a view, or by a trim.
        let _ = self.session.release_view(self.index);
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("moment", &self.moment).finish()
    }
}

/// The words of all views.
#[derive(Debug, Default)]
pub(crate) struct Views(Vec<u64>);

impl Views {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a view sees what came at `born` and was replaced at `died`.
    fn need(&self, born: u64, died: u64) -> bool {
        self.0.iter().any(|&view| dating::wants(view, born, died))
    }
}

impl Shared {
    fn announcement(&self, session: u64) -> Result<&AtomicU64> {
        self.map.word(at::VIEWERS + session / 64 * 8)
    }

    /// Says that a session has views, or is about to.
    fn announce(&self, session: u16) -> Result<()> {
        let session = u64::from(session);
        self.announcement(session)?
            .fetch_or(1 << (session % 64), Ordering::SeqCst);
        Ok(())
    }

    fn withdraw(&self, session: u64) -> Result<()> {
        self.announcement(session)?
            .fetch_and(!(1 << (session % 64)), Ordering::SeqCst);
        Ok(())
    }

    /// Gives up all views of a session, which has left or is dead.
    pub(crate) fn forget_views(&self, session: u64) -> Result<()> {
        if !self.has_views {
            return Ok(());
        }
        for word in self
            .map
            .words(self.layout.session(session) + field::VIEWS, VIEWS_MAX as u64)?
        {
            word.store(0, Ordering::SeqCst);
        }
        self.withdraw(session)
    }

    /// The views there are. The caller has dated what it wants to ask about.
    pub(crate) fn views(&self) -> Result<Views> {
        dating::before_looking();
        let mut views = Views::default();
        for group in 0..self.sessions_used().div_ceil(64) {
            let mut viewers = self.announcement(group * 64)?.load(Ordering::SeqCst);
            while viewers != 0 {
                let session = group * 64 + u64::from(viewers.trailing_zeros());
                viewers &= viewers - 1;
                if session >= self.layout.sessions {
                    break;
                }
                let slot = self.layout.session(session);
                for word in self.map.words(slot + field::VIEWS, VIEWS_MAX as u64)? {
                    views
                        .0
                        .extend(Some(word.load(Ordering::SeqCst)).filter(|&view| view != 0));
                }
            }
        }
        Ok(views)
    }
}

//! Changes to single keys.

use std::borrow::Cow;

use crate::actor::Actor;
use crate::cache::now_ms;
use crate::error::{Error, Result, corrupt};
use crate::map::entry::{Content, Entry};
use crate::map::slot;
use crate::map::table::{CHAIN_MAX, LINK, SLOTS};
use crate::protocol::RETRIES;
use crate::protocol::header::{Header, Owner, State};
use crate::protocol::line::{self, FROZEN, Guard, LineState};
use crate::session::{Session, field};
use crate::sync::{AtomicU64, Ordering};

/// Keys for each line at which the table doubles.
const LOAD: i64 = 3;

/// What [`Session::update`] makes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Leave it as it is.
    Keep,
    /// Give it this value.
    Put(Cow<'a, [u8]>),
    /// Remove it.
    Remove,
}

/// What [`Session::compare_and_swap`] expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// No value.
    Absent,
    /// This value.
    Value(&'a [u8]),
    /// The value that had this version: nothing was written since, not even the same.
    Version(u64),
}

/// What came of a [`Session::compare_and_swap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// It was as expected and is changed now.
    Done,
    /// It was not, and this is what it is instead: value and version, or `None` for no value.
    Differs(Option<(Vec<u8>, u64)>),
}

/// What there is in a chain of lines for a key.
pub(crate) struct Survey<'a> {
    guard: Guard,
    /// The slot of the key, what it holds, and its newest entry.
    pub(crate) found: Option<(&'a AtomicU64, u64, Entry<'a>)>,
    /// Place and contents of an empty slot.
    vacancy: Option<(u64, u64)>,
    /// Place and contents of the last link.
    end: (u64, u64),
}

/// What holds for a change beside what it does.
#[derive(Clone, Copy, Default)]
struct Terms {
    /// When the value that is put expires, in milliseconds since 1970.
    expiry: Option<u64>,
    /// Whether an entry whose time is over counts as there.
    sees_expired: bool,
}

/// What was there before a change.
struct Before {
    existed: bool,
    changed: bool,
}

impl<'a> Actor<'a> {
    /// Looks for a key in the chain from `head`. `None` if the chain has to be looked for anew.
    pub(crate) fn survey(&self, head: u64, hash: u64, key: &[u8]) -> Result<Option<Survey<'a>>> {
        let line = self.shared.map.line(head)?;
        // First of all: an insertion is decided only if the guard is still this when everything else has been read.
        let guard = Guard::load(&line[0]);
        match guard.state() {
            LineState::Idle => {}
            LineState::Pending => {
                self.assist(&line[0], guard)?;
                return Ok(None);
            }
            LineState::Raw | LineState::Frozen | LineState::Moved => return Ok(None),
        }
        let tag = slot::tag(hash);
        let mut survey = Survey {
            guard,
            found: None,
            vacancy: None,
            end: (0, 0),
        };
        let mut words = line;
        let mut base = head;
        for _ in 0..CHAIN_MAX {
            for (at, word) in words[1..=SLOTS].iter().enumerate() {
                let slot = word.load(Ordering::Acquire);
                match slot::place(slot) {
                    None if survey.vacancy.is_none() => {
                        survey.vacancy = Some((base + 8 + at as u64 * 8, slot));
                    }
                    Some(place) if slot::fits(slot, tag) => {
                        let entry = Entry::load(self.shared, place)?;
                        if entry.has_key(hash, key) {
                            survey.found = Some((word, slot, entry));
                            return Ok(Some(survey));
                        }
                    }
                    _ => {}
                }
            }
            let link = words[LINK].load(Ordering::Acquire);
            match slot::place(link) {
                Some(next) => {
                    words = self.shared.map.line(next)?;
                    base = next;
                }
                None => {
                    survey.end = (base + LINK as u64 * 8, link);
                    return Ok(Some(survey));
                }
            }
        }
        corrupt("a chain of lines that ends", head)
    }

    /// Changes a key to what `decide` says, which is asked again if somebody else was faster.
    fn change<'v>(
        &mut self,
        key: &[u8],
        terms: Terms,
        mut decide: impl FnMut(Option<&Entry<'_>>) -> Result<Change<'v>>,
    ) -> Result<Before> {
        let hash = self.shared.hash(key);
        for _ in 0..RETRIES {
            let head = self.writable_line(hash)?;
            let Some(survey) = self.survey(head, hash, key)? else {
                continue;
            };
            let valid = |entry: &&Entry<'_>| {
                !entry.is_tombstone() && (terms.sees_expired || !entry.is_expired(now_ms))
            };
            if let Some((_, _, newest)) = &survey.found {
                self.shared.date(newest);
            }
            let found = survey.found.as_ref().map(|(_, _, entry)| entry).filter(valid);
            let existed = found.is_some();
            let there = survey
                .found
                .as_ref()
                .filter(|(_, _, entry)| !entry.is_tombstone());
            let done = match (decide(found)?, there) {
                (Change::Keep, _) | (Change::Remove, None) => {
                    return Ok(Before {
                        existed,
                        changed: false,
                    });
                }
                (Change::Remove, Some((word, slot, entry))) => {
                    let removed = if self.shared.has_views {
                        self.put_at(head, &survey, (hash, key, None), None)?
                    } else {
                        let empty = slot::empty(self.number());
                        self.replace(word, *slot, entry, empty, false)?
                    };
                    if removed && self.shared.ordered {
                        self.kill_node(key)?;
                    }
                    removed
                }
                (Change::Put(value), _) => {
                    let put = self.put_at(head, &survey, (hash, key, Some(&value)), terms.expiry)?;
                    if put && self.shared.cache_bytes != 0 {
                        self.keep_budget()?;
                    }
                    put
                }
            };
            if done {
                return Ok(Before {
                    existed,
                    changed: true,
                });
            }
        }
        Err(Error::Again("a key that others keep changing"))
    }

    /// Gives a key a value, for ever or until a time.
    pub(crate) fn put_until(&mut self, key: &[u8], value: &[u8], expiry: Option<u64>) -> Result<()> {
        self.change(
            key,
            Terms {
                expiry,
                ..Terms::default()
            },
            |_| Ok(Change::Put(Cow::Borrowed(value))),
        )?;
        Ok(())
    }

    /// Removes a key if its entry is the one at `place`.
    pub(crate) fn remove_exactly(&mut self, key: &[u8], place: u64) -> Result<bool> {
        let terms = Terms {
            sees_expired: true,
            ..Terms::default()
        };
        let before = self.change(key, terms, |found| {
            let is_it = found.is_some_and(|entry| entry.offset == place);
            Ok(if is_it { Change::Remove } else { Change::Keep })
        })?;
        Ok(before.changed)
    }

    /// Puts a new entry where the survey says, a tombstone if there is no value. `false` if the place has changed since.
    fn put_at(
        &mut self,
        head: u64,
        survey: &Survey<'a>,
        (hash, key, value): (u64, &[u8], Option<&[u8]>),
        expiry: Option<u64>,
    ) -> Result<bool> {
        let content = Content {
            value,
            expiry,
            before: survey.found.as_ref().map_or(0, |(_, _, entry)| entry.offset),
        };
        if let Some((word, slot, entry)) = survey.found {
            let replaced = Header::load(entry.header());
            let (offset, header) = self.create_entry(hash, key, content)?;
            let done = match self.replace(word, slot, &entry, slot::pack(hash, offset), value.is_some()) {
                Ok(done) => done,
                Err(error) => {
                    self.discard(offset)?;
                    return Err(error);
                }
            };
            let admitted = if done {
                self.admit(offset, Some(&entry))
            } else {
                Ok(())
            };
            let settled = self.settle(offset, header, done)?;
            admitted?;
            if settled && self.shared.ordered && replaced.state() == State::Owned {
                // The one who inserted what we replaced has not renewed the key's node yet, and may never do it.
                let node = self.ensure_node(key)?;
                self.renew(key, node)?;
            }
            return Ok(settled);
        }
        let Some((place, vacant)) = survey.vacancy else {
            self.make_room(hash, head, survey)?;
            return Ok(false);
        };
        // The node first: a key in the map always has one.
        let node = if self.shared.ordered {
            Some(self.ensure_node(key)?)
        } else {
            None
        };
        let (offset, header) = self.create_entry(hash, key, content)?;
        let new = slot::pack(hash, offset);
        let guard = &self.shared.map.line(head)?[0];
        let decided = line::decide(
            guard,
            survey.guard,
            self.me,
            self.intent_of(self.slot)?,
            place,
            vacant,
            new,
        );
        if let Some(pending) = decided {
            line::finish(guard, pending, self.word(place)?, vacant, new);
            self.count(1);
            if self.shared.has_views {
                self.shared.date(&Entry::load(self.shared, offset)?);
            }
        }
        // What goes wrong from here on must not keep the entry from being settled.
        let renewed = match node {
            Some(node) if decided.is_some() => self.renew(key, node),
            _ => Ok(()),
        };
        let admitted = if decided.is_some() {
            self.admit(offset, None)
        } else {
            Ok(())
        };
        let linked = self.settle(offset, header, decided.is_some())?;
        renewed.and(admitted).map(|()| linked)
    }

    /// In cache mode, counts and queues an entry that was just linked, in place of an old one or as a key's first.
    fn admit(&mut self, offset: u64, old: Option<&Entry<'_>>) -> Result<()> {
        if self.shared.cache_bytes == 0 {
            return Ok(());
        }
        let entry = Entry::load(self.shared, offset)?;
        let class = self.class(Header::load(entry.header()).class())?;
        self.count_bytes(class.footprint as i64);
        if let Some(old) = old {
            entry.set_uses(old.uses());
        }
        self.enqueue(&entry, old.is_none())
    }

    /// Gives an entry of ours to the map if it was linked, takes it back if not.
    fn settle(&mut self, offset: u64, header: Header, linked: bool) -> Result<bool> {
        if linked {
            let word = self.word(offset)?;
            // Failure: somebody has replaced it already, and retired it.
            let _ = header.step(word, State::Live, Owner::NOBODY);
        } else {
            self.discard(offset)?;
        }
        Ok(linked)
    }

    /// Changes the slot of an entry, and retires the entry unless a view sees it. `has_value` says whether the key has one with the new slot.
    /// `false` if the slot has changed since.
    pub(crate) fn replace(
        &mut self,
        word: &AtomicU64,
        slot: u64,
        entry: &Entry<'_>,
        new: u64,
        has_value: bool,
    ) -> Result<bool> {
        if slot & FROZEN != 0 {
            return Ok(false);
        }
        let header = Header::load(entry.header());
        // For whoever finds us dead between the next two steps: this may be unlinked and not retired.
        self.own(field::OLD).store(entry.offset, Ordering::Release);
        if word
            .compare_exchange(slot, new, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            return Ok(false);
        }
        match (entry.is_tombstone(), has_value) {
            (true, true) => self.count(1),
            (false, false) => self.count(-1),
            _ => {}
        }
        if self.shared.cache_bytes != 0
            && let Some(class) = self.shared.layout.classes.class(header.class())
        {
            self.count_bytes(-(class.footprint as i64));
        }
        // The change is made. Retiring may come upon others' trouble, which is theirs: whoever needs the memory meets it again.
        match slot::place(new) {
            Some(place) if self.shared.has_views => {
                let _ = Entry::load(self.shared, place)
                    .and_then(|top| self.prune_replaced(word, new, &top, entry));
            }
            _ => drop(self.bury(entry.offset, header)),
        }
        Ok(true)
    }

    /// Makes room in a full chain: by one more line, and by a larger table if there are many keys.
    fn make_room(&mut self, hash: u64, head: u64, survey: &Survey<'_>) -> Result<()> {
        let lines = self
            .shared
            .table(crate::layout::at::TABLE)?
            .map_or(0, |table| table.lines());
        if self.shared.entries()? >= lines as i64 * LOAD {
            match self.grow() {
                // Longer chains are slower, but they work.
                Ok(()) | Err(Error::Full(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.extend_chain(hash, head, survey.guard, survey.end)
    }

    fn count(&self, difference: i64) {
        let word = self.own(field::ENTRIES);
        let sum = (word.load(Ordering::Relaxed) as i64).wrapping_add(difference);
        word.store(sum as u64, Ordering::Relaxed);
    }
}

/// Writing. Every change is atomic: others see the old value or the new one.
impl Session {
    /// Gives a key a value.
    #[inline]
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.put_quickly(key, value) {
            return Ok(());
        }
        self.act(|actor| actor.put_until(key, value, None))
    }

    /// Gives a key a value if it has none. Returns whether it did.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// # let region = Region::anonymous(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
    /// # let session = region.join("example")?;
    /// assert!(session.insert(b"owner", b"me")?);
    /// assert!(!session.insert(b"owner", b"you")?);
    /// assert!(session.remove(b"owner")?);
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn insert(&self, key: &[u8], value: &[u8]) -> Result<bool> {
        let before = self.act(|actor| {
            actor.change(key, Terms::default(), |found| {
                Ok(if found.is_some() {
                    Change::Keep
                } else {
                    Change::Put(Cow::Borrowed(value))
                })
            })
        })?;
        Ok(before.changed)
    }

    /// Removes a key. Returns whether it was there.
    pub fn remove(&self, key: &[u8]) -> Result<bool> {
        let before = self.act(|actor| actor.change(key, Terms::default(), |_| Ok(Change::Remove)))?;
        Ok(before.existed)
    }

    /// Changes a key from what is expected to `new`, or removes it for `None`.
    ///
    /// ```
    /// # use weald_hot::{Expected, Region, RegionOptions, Swap};
    /// # let region = Region::anonymous(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
    /// # let session = region.join("example")?;
    /// assert_eq!(session.compare_and_swap(b"k", Expected::Absent, Some(b"1"))?, Swap::Done);
    /// assert_eq!(session.compare_and_swap(b"k", Expected::Value(b"1"), Some(b"2"))?, Swap::Done);
    /// let Swap::Differs(Some((value, version))) = session.compare_and_swap(b"k", Expected::Absent, None)? else { panic!() };
    /// assert_eq!(value, b"2");
    /// assert_eq!(session.compare_and_swap(b"k", Expected::Version(version), None)?, Swap::Done);
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn compare_and_swap(&self, key: &[u8], expected: Expected<'_>, new: Option<&[u8]>) -> Result<Swap> {
        let mut result = Swap::Done;
        self.act(|actor| {
            actor.change(key, Terms::default(), |found| {
                let fits = match (expected, found) {
                    (Expected::Absent, None) => true,
                    (Expected::Value(value), Some(entry)) => entry.value() == value,
                    (Expected::Version(version), Some(entry)) => entry.version() == version,
                    _ => false,
                };
                if !fits {
                    result = Swap::Differs(found.map(|entry| (entry.value(), entry.version())));
                    return Ok(Change::Keep);
                }
                result = Swap::Done;
                Ok(match new {
                    Some(value) => Change::Put(Cow::Borrowed(value)),
                    None => Change::Remove,
                })
            })
        })?;
        Ok(result)
    }

    /// Adds to a counter, a value of eight bytes in little-endian order, and returns the sum; an absent key counts as 0.
    /// [`Invalid`](Error::Invalid) if the value has another length or the sum overflows.
    pub fn fetch_add(&self, key: &[u8], difference: i64) -> Result<i64> {
        let mut sum = 0;
        self.act(|actor| {
            actor.change(key, Terms::default(), |found| {
                let old = match found {
                    None => 0,
                    Some(entry) => match <[u8; 8]>::try_from(entry.value()) {
                        Ok(bytes) => i64::from_le_bytes(bytes),
                        Err(_) => return Err(Error::Invalid("a value that is no counter")),
                    },
                };
                sum = old
                    .checked_add(difference)
                    .ok_or(Error::Invalid("a counter that overflows"))?;
                Ok(Change::Put(Cow::Owned(sum.to_le_bytes().to_vec())))
            })
        })?;
        Ok(sum)
    }

    /// Changes a key to what the closure makes of its value. The closure may run several times, when others change the key
    /// meanwhile; only the last time counts. Returns whether anything was changed.
    ///
    /// ```
    /// # use weald_hot::{Change, Region, RegionOptions};
    /// # let region = Region::anonymous(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
    /// # let session = region.join("example")?;
    /// let append = |old: Option<&[u8]>| Change::Put([old.unwrap_or_default(), b"+"].concat().into());
    /// session.update(b"k", append)?;
    /// session.update(b"k", append)?;
    /// assert_eq!(session.get(b"k")?.as_deref(), Some(&b"++"[..]));
    /// assert!(!session.update(b"other", |_| Change::Keep)?);
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn update<'v>(
        &self,
        key: &[u8],
        mut change: impl FnMut(Option<&[u8]>) -> Change<'v>,
    ) -> Result<bool> {
        let before = self.act(|actor| {
            actor.change(key, Terms::default(), |found| {
                let value = found.map(Entry::value);
                Ok(change(value.as_deref()))
            })
        })?;
        Ok(before.changed)
    }
}

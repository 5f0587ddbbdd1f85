//! Sessions: who takes part in a region, slot by slot.
//!
//! A slot is 256 bytes in the region:
//!
//! ```text
//!    0  status: 4 bits of state, then start time and pid of the owner
//!    8  numbers handed out so far        16  entries added less removed     24  bytes likewise
//!   32  name, 32 bytes
//!   64  pin: the era in which the session reads, or 0
//!  128  intent: guard, place, expected, new (see the map's lines)
//!  160  old entry or node: what the session is about to unlink
//!  176  hand: the superblock that it is moving from one place to another
//!  192  hits, misses and evictions of the cache
//!  216  views, four
//! ```
//!
//! Everything else that a session has (magazines, what waits for its era) is in its own memory: the objects' headers
//! name their owner, so that a walk over the headers finds it all when the owner has died.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::actor::{Actor, Local};
use crate::error::{Error, Result, corrupt};
use crate::layout::{SESSION_LEN, at};
use crate::process::Identity;
use crate::protocol::epoch::{self, UNPINNED};
use crate::protocol::header::Owner;
use crate::protocol::line::Intent;
use crate::raw::landmark::Landmark;
use crate::region::Shared;
use crate::sync::{AtomicU64, Ordering, compiler_fence};

pub(crate) mod field {
    pub(crate) const STATUS: u64 = 0;
    pub(crate) const COUNTER: u64 = 8;
    pub(crate) const ENTRIES: u64 = 16;
    pub(crate) const BYTES: u64 = 24;
    pub(crate) const NAME: u64 = 32;
    pub(crate) const PIN: u64 = 64;
    pub(crate) const INTENT: u64 = 128;
    pub(crate) const OLD: u64 = 160;
    pub(crate) const HAND: u64 = 176;
    pub(crate) const HITS: u64 = 192;
    pub(crate) const MISSES: u64 = 200;
    pub(crate) const EVICTIONS: u64 = 208;
    pub(crate) const VIEWS: u64 = 216;
}

const NAME_LEN: usize = 32;

type SlotWords = [AtomicU64; SESSION_LEN as usize / 8];

/// What a slot's status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotState {
    Free,
    /// Joined.
    Active,
    /// Its owner is dead or gone, and the process named now cleans up.
    Recovering,
    /// Its owner left and could not wait for its last objects.
    Abandoned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u64);

impl Status {
    pub(crate) fn new(state: SlotState, who: Identity) -> Status {
        Status((state as u64) << 60 | who.pack())
    }

    pub(crate) fn state(self) -> SlotState {
        match self.0 >> 60 {
            0 => SlotState::Free,
            1 => SlotState::Active,
            2 => SlotState::Recovering,
            _ => SlotState::Abandoned,
        }
    }

    pub(crate) fn who(self) -> Identity {
        Identity::unpack(self.0)
    }
}

/// One participant's place in a region: all work is done through it.
///
/// A session belongs to one thread at a time (it is `Send`, not `Sync`); join once for each thread. Dropping it leaves the region: what
/// it had allocated and not [shared](Session::share) goes back. A process that is killed leaves without that, and whoever joins next,
/// or meets what it left, does it instead.
#[derive(Debug)]
pub struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) owner: Owner,
    pub(crate) slot: u64,
    own: Landmark<Shared, SlotWords>,
    pins: Cell<u32>,
    /// Which of its views are in use, a bit for each.
    pub(crate) views: Cell<u8>,
    pub(crate) local: RefCell<Local>,
    /// Not `Sync`: the cells above and the slot are one thread's.
    _one_thread: PhantomData<Cell<()>>,
}

/// A session as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name it joined with.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Whether that process lives.
    pub alive: bool,
}

impl Session {
    pub(crate) fn join(shared: Arc<Shared>, name: &str) -> Result<Session> {
        if name.len() >= NAME_LEN {
            return Err(Error::Invalid("a session name longer than 31 bytes"));
        }
        let free = shared.claim_free_slot()?;
        let index = match free {
            Some(index) => index,
            None => shared
                .claim_dead_slot()?
                .ok_or(Error::Full("the table of sessions"))?,
        };
        shared
            .fixed(at::SESSIONS_USED)
            .fetch_max(index + 1, Ordering::SeqCst);
        let slot = shared.layout.session(index);
        let owner = Owner(index as u16 + 1);
        let local = RefCell::new(Local::new(&shared.layout.classes));
        let own = Landmark::new(&shared, |shared| shared.slot_words(slot))?;
        let session = Session {
            shared,
            owner,
            slot,
            own,
            pins: Cell::new(0),
            views: Cell::new(0),
            local,
            _one_thread: PhantomData,
        };
        session.own(field::PIN).store(UNPINNED, Ordering::Release);
        if free.is_none() {
            // The objects of the dead session bear the number that is ours now.
            session.act(|actor| actor.sweep(&[actor.me]))?;
        }
        session.introduce(name)?;
        session.act(|actor| actor.recover_dead())?;
        session.act(|actor| actor.ensure_queues())?;
        session.act(|actor| actor.ensure_kept())?;
        Ok(session)
    }

    /// Clears the slot, and writes the name into it.
    fn introduce(&self, name: &str) -> Result<()> {
        let map = &self.shared.map;
        for offset in (field::INTENT..field::HAND + 8).step_by(8) {
            map.word(self.slot + offset)?.store(0, Ordering::Release);
        }
        self.shared.forget_views(u64::from(self.owner.0) - 1)?;
        let mut padded = [0; NAME_LEN];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        crate::raw::mapping::store_bytes(map.words(self.slot + field::NAME, 4)?, &padded);
        Ok(())
    }

    /// A word of its slot.
    #[inline(always)]
    pub(crate) fn own(&self, field: u64) -> &AtomicU64 {
        &self.own.words()[field as usize / 8]
    }

    /// What it is about to insert, for others to read.
    #[inline(always)]
    pub(crate) fn intent(&self) -> Intent<'_> {
        const AT: usize = field::INTENT as usize / 8;
        let words = self.own.words();
        Intent {
            guard: &words[AT],
            place: &words[AT + 1],
            expected: &words[AT + 2],
            new: &words[AT + 3],
        }
    }

    /// The number of this session in the region, from 1.
    pub fn id(&self) -> u32 {
        u32::from(self.owner.0)
    }

    /// Does `work` while pinned. If that finds the region full, it is done once more when space has been made, for which the
    /// pin has to go.
    #[inline]
    pub(crate) fn act<T>(&self, mut work: impl FnMut(&mut Actor<'_>) -> Result<T>) -> Result<T> {
        let pin = self.pin();
        let result = self.act_unpinned(&mut work);
        drop(pin);
        match result {
            Err(Error::Full(_)) => {
                self.act_unpinned(|actor| actor.relieve())?;
                let _pin = self.pin();
                self.act_unpinned(work)
            }
            other => other,
        }
    }

    /// Does `work` that looks at no shared structure that could go away, or pins for itself.
    #[inline]
    pub(crate) fn act_unpinned<T>(&self, work: impl FnOnce(&mut Actor<'_>) -> Result<T>) -> Result<T> {
        let mut local = self.local.borrow_mut();
        work(&mut Actor {
            shared: &self.shared,
            me: self.owner,
            slot: self.slot,
            local: &mut local,
        })
    }

    /// Keeps everything that is linked now readable until the pin drops.
    #[inline(always)]
    pub(crate) fn pin(&self) -> Pin<'_> {
        let depth = self.pins.get();
        if depth == 0 {
            let era = self.shared.fixed(at::ERA).load(Ordering::Acquire);
            let pin = self.own(field::PIN);
            if self.shared.asymmetric {
                // The barrier is the business of whoever moves the era; here only the compiler must keep the order.
                pin.store(era, Ordering::Relaxed);
                compiler_fence(Ordering::SeqCst);
            } else {
                epoch::pin(pin, era);
            }
        }
        self.pins.set(depth + 1);
        Pin { session: self }
    }

    /// Everyone who has joined.
    pub fn members(&self) -> Result<Vec<Member>> {
        self.shared.members()
    }

    /// Cleans up after every session whose process has died. Returns how many there were.
    ///
    /// Joining does this, and so does running out of space or being held up by a dead reader; call it now and then if none of that happens.
    /// Costs a walk over all objects when there was one. Nobody else waits meanwhile.
    pub fn recover(&self) -> Result<usize> {
        self.act_unpinned(|actor| actor.recover_dead())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Those that were leaked.
        let _ = self.shared.forget_views(u64::from(self.owner.0) - 1);
        let clean = self.act_unpinned(|actor| actor.leave()).unwrap_or(false);
        let next = if clean {
            Status(0)
        } else {
            Status::new(SlotState::Abandoned, self.shared.identity)
        };
        if let Ok(status) = self.shared.map.word(self.slot + field::STATUS) {
            status.store(next.0, Ordering::SeqCst);
        }
    }
}

/// Proof that the session is pinned.
#[derive(Debug)]
pub(crate) struct Pin<'a> {
    session: &'a Session,
}

impl Drop for Pin<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let depth = self.session.pins.get() - 1;
        self.session.pins.set(depth);
        if depth == 0 {
            epoch::unpin(self.session.own(field::PIN));
        }
    }
}

impl Shared {
    fn slot_words(&self, slot: u64) -> Result<&SlotWords> {
        match self.map.words(slot, SESSION_LEN / 8)?.try_into() {
            Ok(words) => Ok(words),
            Err(_) => corrupt("a session slot in the region", slot),
        }
    }

    pub(crate) fn status(&self, index: u64) -> Result<Status> {
        Ok(Status(
            self.map
                .word(self.layout.session(index) + field::STATUS)?
                .load(Ordering::SeqCst),
        ))
    }

    /// Moves slot `index` from one status to another.
    pub(crate) fn step_status(&self, index: u64, from: Status, to: Status) -> Result<bool> {
        let word = self.map.word(self.layout.session(index) + field::STATUS)?;
        Ok(word
            .compare_exchange(from.0, to.0, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok())
    }

    /// Slots that may be in use.
    pub(crate) fn sessions_used(&self) -> u64 {
        self.fixed(at::SESSIONS_USED)
            .load(Ordering::SeqCst)
            .min(self.layout.sessions)
    }

    pub(crate) fn members(&self) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for index in 0..self.layout.sessions {
            let status = self.status(index)?;
            if status.state() == SlotState::Free {
                continue;
            }
            let words = self.map.words(self.layout.session(index) + field::NAME, 4)?;
            let mut name = Vec::new();
            crate::raw::mapping::load_bytes(words, NAME_LEN, &mut name);
            name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(NAME_LEN));
            members.push(Member {
                name: String::from_utf8_lossy(&name).into_owned(),
                pid: status.who().pid,
                alive: !self.is_orphan(status),
            });
        }
        Ok(members)
    }

    pub(crate) fn count_sessions(&self) -> Result<u64> {
        let mut count = 0;
        for index in 0..self.sessions_used() {
            count += u64::from(self.status(index)?.state() != SlotState::Free);
        }
        Ok(count)
    }

    /// Whether nobody works for this slot any more although it is not free.
    pub(crate) fn is_orphan(&self, status: Status) -> bool {
        match status.state() {
            SlotState::Free => false,
            SlotState::Abandoned => true,
            SlotState::Active | SlotState::Recovering => !(self.liveness)(status.who()),
        }
    }

    fn claim_free_slot(&self) -> Result<Option<u64>> {
        let active = Status::new(SlotState::Active, self.identity);
        for index in 0..self.layout.sessions {
            let status = self.status(index)?;
            if status.state() == SlotState::Free && self.step_status(index, status, active)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Takes the slot of a dead session over. It is not cleaned up yet: that is done under its own number, and should we die meanwhile,
    /// the next one does it again.
    fn claim_dead_slot(&self) -> Result<Option<u64>> {
        let mine = Status::new(SlotState::Active, self.identity);
        for index in 0..self.layout.sessions {
            let status = self.status(index)?;
            if self.is_orphan(status) && self.step_status(index, status, mine)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }
}

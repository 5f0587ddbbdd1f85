//! Sessions of a region, a few kept at hand: each operation needs one to itself.

use std::sync::{Condvar, Mutex};

use weald_hot::{Region, Session};

/// Operations at once; more wait for one to end.
pub(crate) const SESSIONS_MAX: u32 = 128;

/// A region, and the sessions in it that nobody uses just now.
pub(crate) struct Sessions {
    region: Region,
    name: &'static str,
    idle: Mutex<Idle>,
    back: Condvar,
}

#[derive(Default)]
struct Idle {
    sessions: Vec<Session>,
    joined: u32,
    /// Operations that wait for a session.
    waiting: u32,
}

impl Sessions {
    pub(crate) fn new(region: Region, name: &'static str) -> Sessions {
        Sessions {
            region,
            name,
            idle: Mutex::default(),
            back: Condvar::new(),
        }
    }

    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Works with a session, again as long as others are in the way.
    pub(crate) fn with<T>(
        &self,
        mut work: impl FnMut(&Session) -> weald_hot::Result<T>,
    ) -> weald_hot::Result<T> {
        self.lend()?.with(&mut work)
    }

    /// A session for several operations, one after the other.
    pub(crate) fn lend(&self) -> weald_hot::Result<Lent<'_>> {
        Ok(Lent {
            session: Some(self.take()?),
            sessions: self,
        })
    }

    fn take(&self) -> weald_hot::Result<Session> {
        let mut idle = self.idle.lock().expect("nothing panics while it is held");
        loop {
            if let Some(session) = idle.sessions.pop() {
                return Ok(session);
            }
            if idle.joined < SESSIONS_MAX {
                let session = self.region.join(self.name)?;
                idle.joined += 1;
                return Ok(session);
            }
            idle.waiting += 1;
            idle = self.back.wait(idle).expect("nothing panics while it is held");
            idle.waiting -= 1;
        }
    }

    fn put_back(&self, session: Session) {
        let mut idle = self.idle.lock().expect("nothing panics while it is held");
        idle.sessions.push(session);
        // To wake somebody costs a system call, whether anybody waits or not.
        let waiting = idle.waiting > 0;
        drop(idle);
        if waiting {
            self.back.notify_one();
        }
    }
}

/// A session that goes back when it is not used any more.
pub(crate) struct Lent<'s> {
    /// There until it is dropped.
    session: Option<Session>,
    sessions: &'s Sessions,
}

impl Lent<'_> {
    /// Works with the session, again as long as others are in the way.
    pub(crate) fn with<T>(
        &self,
        work: &mut dyn FnMut(&Session) -> weald_hot::Result<T>,
    ) -> weald_hot::Result<T> {
        let session = self.session.as_ref().expect("it is there until it is dropped");
        loop {
            match work(session) {
                Err(error) if error.is_retryable() => std::thread::yield_now(),
                result => return result,
            }
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.sessions.put_back(session);
        }
    }
}

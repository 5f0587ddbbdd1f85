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
        let session = self.take()?;
        let result = loop {
            match work(&session) {
                Err(error) if error.is_retryable() => std::thread::yield_now(),
                result => break result,
            }
        };
        self.put_back(session);
        result
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
            idle = self.back.wait(idle).expect("nothing panics while it is held");
        }
    }

    fn put_back(&self, session: Session) {
        self.idle
            .lock()
            .expect("nothing panics while it is held")
            .sessions
            .push(session);
        self.back.notify_one();
    }
}

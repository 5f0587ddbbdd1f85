//! What the handler of a command is given.
//!
//! A handler is a `fn(&mut Call<'_, '_>) -> CommandResult`. Its rules:
//!
//! - The number of arguments was checked against the table. `call.args[0]` is the name.
//! - It writes exactly one reply to [`Call::reply`] and returns `Ok`, or returns an error, and what it wrote is taken back. Either all of its changes are made or none: it checks
//!   everything before its first write. If the engine fails in a command that writes, the writes of the whole tick are taken back, so that nothing is half done.
//! - A command that is marked [`WRITE`](crate::registry::Flags::WRITE) finds a transaction that writes in [`Call::keyspace`], others one that reads.
//! - For every key whose value it changed it calls [`Call::touched`]: that is what `WATCH`, client tracking and blocked clients live from; and
//!   [`Call::notify`] with the event that Redis has for it, for keyspace notifications. [`Call::changed`] is both.
//! - The time is [`Call::now_ms`], the same for a whole tick.
//! - To wait for keys it writes no reply and returns [`Call::block_on`]. It is then run again, from its beginning and with the same arguments, each time one of these
//!   keys was touched, until it writes a reply; [`Call::is_retry`] tells. Within `MULTI` it gets the reply of a timeout at once.

use weald_resp::Reply;

use crate::blocking::{Blocked, TimeoutReply};
use crate::error::CommandResult;
use crate::keyspace::Keyspace;
use crate::notify::Event;
use crate::registry::{Flags, Found};
use crate::session::Session;
use crate::state::State;

/// A command that is being run: its arguments, where its reply goes, and what it may use.
pub(crate) struct Call<'c, 'db> {
    /// The arguments, the name first.
    pub(crate) args: &'c [&'c [u8]],
    /// Where the reply goes. It knows the client's protocol.
    pub(crate) reply: &'c mut Reply,
    /// What the server knows of the client.
    pub(crate) session: &'c mut Session,
    /// Keys and values, in the transaction of the tick.
    pub(crate) keyspace: &'c mut Keyspace<'db>,
    /// Everything else: clients, watched keys, subscriptions, users, statistics.
    pub(crate) state: &'c mut State,
    /// The command itself.
    pub(crate) found: Found,
    /// The time in milliseconds since 1970.
    pub(crate) now_ms: u64,
    /// Whether `EXEC` runs it.
    pub(crate) in_exec: bool,
    /// Whether it was blocked and is run again.
    pub(crate) retry: bool,
}

impl<'c> Call<'c, '_> {
    /// Whether the command was blocked and is run again because a key was touched: it is to go on waiting where at first it would give an
    /// error because of a key's type.
    pub(crate) fn is_retry(&self) -> bool {
        self.retry
    }

    /// Says that the value of a key in the client's database was changed, or the key created or deleted.
    pub(crate) fn touched(&mut self, key: &[u8]) {
        self.state.touched(self.session.db, key, self.session.id);
    }

    /// The same of a key in another database.
    pub(crate) fn touched_in(&mut self, db: usize, key: &[u8]) {
        self.state.touched(db, key, self.session.id);
    }

    /// Tells those of it who have subscribed to events of keys.
    pub(crate) fn notify(&mut self, event: Event, name: &str, key: &[u8]) {
        self.tell_noted();
        self.state.notify(event, name, key, self.session.db);
    }

    /// The same of a key in another database.
    pub(crate) fn notify_in(&mut self, db: usize, event: Event, name: &str, key: &[u8]) {
        self.tell_noted();
        self.state.notify(event, name, key, db);
    }

    /// Tells of keys that the command has made, or looked for in vain. An event of the command itself comes after those.
    #[inline]
    pub(crate) fn tell_noted(&mut self) {
        if !self.keyspace.lookups.has_noted() {
            return;
        }
        let flags = self.found.command.flags;
        let reads = flags.has(Flags::READONLY) || flags.has(Flags::LOOKS);
        for noted in self.keyspace.lookups.take_noted() {
            if noted.is_new {
                self.state.notify(Event::NEW, "new", &noted.key, noted.db);
            } else if reads {
                self.state.notify(Event::MISS, "keymiss", &noted.key, noted.db);
            }
        }
    }

    /// [`touched`](Self::touched) and [`notify`](Self::notify).
    pub(crate) fn changed(&mut self, event: Event, name: &str, key: &[u8]) {
        self.touched(key);
        self.notify(event, name, key);
    }

    /// Waits until one of `keys` is touched or `timeout_ms` has passed, for ever where that is `None`. To be returned at once, without a reply. Nothing may have been changed.
    pub(crate) fn block_on(
        &mut self,
        keys: &[&[u8]],
        timeout_ms: Option<u64>,
        on_timeout: TimeoutReply,
    ) -> CommandResult {
        if self.in_exec {
            on_timeout.write(self.reply);
            return Ok(());
        }
        if !self.retry {
            let deadline = timeout_ms.map(|timeout| self.now_ms.saturating_add(timeout));
            let args = self.args.iter().map(|arg| arg.to_vec()).collect();
            let keys = keys.iter().map(|key| key.to_vec()).collect();
            self.session.blocked = Some(Blocked::new(args, keys, deadline, on_timeout, self.found));
        }
        self.state.stays_blocked = true;
        Ok(())
    }
}

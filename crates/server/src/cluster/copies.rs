//! Runs a command on copies of its keys.

use std::time::Instant;

use weald_cluster::proto::Bytes;
use weald_resp::{Protocol, Reply};

use super::value;
use crate::call::Call;
use crate::clients::Client;
use crate::config::Durability;
use crate::dispatch::{Executor, invoke, write_error};
use crate::error::CommandError;
use crate::registry::Found;

/// A key as it was read.
pub(super) struct Copy {
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
    pub(super) expires_ms: Option<u64>,
}

/// What a command made of a key: what to keep, and when it expires, 0 for never; nothing where it is gone.
pub(super) type Outcome = Option<(Bytes, u64)>;

/// What a command on copies leaves behind.
pub(super) struct Ran {
    pub(super) reply: Vec<u8>,
    /// Of the first key, where it is not as it was.
    pub(super) changed: Option<Outcome>,
}

impl Executor<'_> {
    /// Runs a command on copies, of which it may change the first. They are gone afterwards.
    pub(super) fn run_on_copies(
        &mut self,
        client: &mut Client,
        protocol: Protocol,
        args: &[&[u8]],
        found: Found,
        copies: &[Copy],
    ) -> Ran {
        let ran = self
            .try_on_copies(client, protocol, args, found, copies)
            .unwrap_or_else(|e| {
                let mut reply = Reply::new(protocol);
                write_error(&mut reply, &mut self.state, &e);
                Ran {
                    reply: reply.into_bytes(),
                    changed: None,
                }
            });
        self.keyspace.tick().roll_back();
        self.keyspace.forget();
        ran
    }

    fn try_on_copies(
        &mut self,
        client: &mut Client,
        protocol: Protocol,
        args: &[&[u8]],
        found: Found,
        copies: &[Copy],
    ) -> Result<Ran, CommandError> {
        self.keyspace.tick().begin_write(Durability::None)?;
        for copy in copies {
            if let Some(value) = &copy.value {
                value::load(&mut self.keyspace, &copy.key, value, copy.expires_ms)?;
            }
        }
        let mut reply = Reply::new(protocol);
        let mut call = Call {
            args,
            reply: &mut reply,
            session: &mut client.session,
            keyspace: &mut self.keyspace,
            state: &mut self.state,
            found,
            now_ms: self.now_ms,
            in_exec: true,
            retry: false,
        };
        self.clock = invoke(&mut call, Instant::now());
        let reply = reply.into_bytes();
        let Some(first) = copies.first().filter(|_| !reply.starts_with(b"-")) else {
            return Ok(Ran { reply, changed: None });
        };
        let after = value::save(&self.keyspace, &first.key)?;
        let before = first
            .value
            .as_deref()
            .map(|value| (value, first.expires_ms.unwrap_or(0)));
        let same = before == after.as_ref().map(|(value, expires)| (&**value, *expires));
        Ok(Ran {
            reply,
            changed: (!same).then_some(after),
        })
    }
}

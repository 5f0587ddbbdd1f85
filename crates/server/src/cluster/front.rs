//! From a client's command to its reply, on a node.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use weald_cluster::ClientError;
use weald_cluster::proto::{Error, Expect, Found as Held, Reply as Answer};
use weald_resp::{Protocol, Reply};

use super::batch::Like;
use super::copies::Copy;
use super::operation::{Operation, Show, Step, Words, Work, Written};
use super::plan::{Plan, plan};
use super::texts::{Effect, line};
use super::walk::Next;
use super::{Arrival, Cluster, Levels, OperationId, value};
use crate::clients::Client;
use crate::config::Durability;
use crate::dispatch::{Executor, tell_monitors};
use crate::error::CommandError;
use crate::registry::Flags;
use crate::session::{ReplyMode, Session};
use crate::slowlog::redacted;

/// Updates of one key that are run together, and stand or fall together.
const RIDERS_MAX: usize = 64;
/// The first pause before an operation asks again; the next are longer.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What an operation does next.
enum Turn {
    /// It asks the cluster.
    Ask,
    /// It is done; of an update, what the key holds now.
    Done(Vec<u8>, Option<Box<Held>>),
}

fn reply(protocol: Protocol, write: impl FnOnce(&mut Reply)) -> Vec<u8> {
    let mut reply = Reply::new(protocol);
    write(&mut reply);
    reply.into_bytes()
}

impl Executor<'_> {
    /// Runs the command of a client that was taken out of the list of clients: its reply comes at once or later, after those before it.
    pub(crate) fn run_on_node(&mut self, client: &mut Client, args: &[&[u8]]) {
        let levels = client.session.levels;
        self.run_at(client, args, levels);
    }

    fn run_at(&mut self, client: &mut Client, args: &[&[u8]], levels: Levels) {
        if args.is_empty() {
            return;
        }
        client.session.active_ms = self.now_ms;
        let found = match self.admit(&client.session, args) {
            Ok(found) => found,
            Err(e) => return self.in_turn(client, |it, client| it.refuse(client, args, &e)),
        };
        match found.command.name {
            "weald.consistency" => {
                return self.in_turn(client, |it, client| it.consistency(client, args));
            }
            "weald.with" => {
                let Some(levels) = Levels::parse(&args[1..2]) else {
                    return self.in_turn(client, |it, client| it.refuse(client, args, &no_level()));
                };
                return self.run_at(client, &args[2..], levels);
            }
            _ => {}
        }
        let planned = match &self.state.cluster {
            Some(cluster) => plan(args, found.command, self.now_ms, &cluster.cursors),
            None => Ok(Plan::Here),
        };
        match planned {
            Err(e) => self.in_turn(client, |it, client| it.refuse(client, args, &e)),
            Ok(Plan::Here) => self.in_turn(client, |it, client| it.run_here(client, args)),
            Ok(Plan::Dry) => {
                self.in_turn(client, |it, client| {
                    let protocol = client.session.protocol;
                    let ran = it.run_on_copies(client, protocol, args, found, &[]);
                    if takes_reply(&mut client.session) {
                        client.out.extend_from_slice(&ran.reply);
                    }
                });
            }
            Ok(Plan::Do(work, footprint)) => {
                client.session.last_command = found.command.name;
                tell_monitors(&mut self.state, &client.session, found, args, self.now_ms);
                let session = &mut client.session;
                let durability = session.durability.unwrap_or(self.state.settings.durability);
                let wanted = takes_reply(session);
                let operation = Operation {
                    client: session.id,
                    slot: client.replies.open(wanted),
                    protocol: session.protocol,
                    args: Words::new(args),
                    found,
                    levels,
                    durable: durability == Durability::Immediate,
                    footprint,
                    work,
                    began: Instant::now(),
                    attempts: 0,
                };
                if client.replies.has_to_wait(&operation.footprint) {
                    client.replies.defer(operation);
                } else {
                    client.replies.enter(&operation);
                    self.begin(operation);
                }
            }
        }
    }

    /// Does something that writes its reply at once, and puts that reply after those that are still to come.
    fn in_turn(&mut self, client: &mut Client, run: impl FnOnce(&mut Self, &mut Client)) {
        if client.replies.is_empty() {
            return run(self, client);
        }
        let before = std::mem::take(&mut client.out);
        run(self, client);
        let reply = std::mem::replace(&mut client.out, before);
        client.uncertain.clear();
        if !reply.is_empty() {
            client.replies.push(reply);
        }
    }

    fn consistency(&mut self, client: &mut Client, args: &[&[u8]]) {
        let protocol = client.session.protocol;
        let text = match &args[1..] {
            [] => client.session.levels.to_string(),
            words => match Levels::parse(words) {
                Some(levels) => {
                    client.session.levels = levels;
                    "OK".to_owned()
                }
                None => return self.refuse(client, args, &no_level()),
            },
        };
        if takes_reply(&mut client.session) {
            client
                .out
                .extend_from_slice(&reply(protocol, |reply| reply.simple(&text)));
        }
    }

    fn cluster(&mut self) -> &mut Cluster {
        self.state
            .cluster
            .as_mut()
            .expect("only a node has operations, and it stays one")
    }

    /// Begins an operation. Its answer comes later, even where it is known now.
    fn begin(&mut self, operation: Operation) {
        let now_ms = self.now_ms;
        let cluster = self.cluster();
        cluster.next_id += 1;
        let id = cluster.next_id;
        match &operation.work {
            Work::Office => cluster.office.ask(id, &operation),
            Work::Update { key, .. } => {
                if let Some(waiting) = cluster.busy.get_mut(key) {
                    waiting.push_back(id);
                } else {
                    cluster.busy.insert(key.clone(), VecDeque::new());
                    match cluster.pause_before(key) {
                        Some(pause) => drop(cluster.later.insert((Instant::now() + pause, id))),
                        None => cluster.submit_for(id, &operation, now_ms),
                    }
                }
            }
            _ => cluster.submit_for(id, &operation, now_ms),
        }
        cluster.operations.insert(id, operation);
    }

    /// Takes in what other threads have for operations, and lets those ask again whose pause is over.
    pub(crate) fn hear_cluster(&mut self) {
        let Some(cluster) = &mut self.state.cluster else {
            return;
        };
        let arrived = cluster.arrivals.take();
        for (id, arrival) in arrived {
            let Some(operation) = self.cluster().operations.remove(&id) else {
                continue;
            };
            match arrival {
                Arrival::Reply(reply) => self.end(&operation, reply),
                Arrival::Answer(answer) => self.go_on(id, operation, answer),
            }
        }
        self.ask_again();
    }

    fn ask_again(&mut self) {
        let now = Instant::now();
        let now_ms = self.now_ms;
        let cluster = self.cluster();
        while let Some((at, id)) = cluster.later.first().copied() {
            if at > now {
                return;
            }
            cluster.later.pop_first();
            if let Some(operation) = cluster.operations.remove(&id) {
                cluster.submit_for(id, &operation, now_ms);
                cluster.operations.insert(id, operation);
            }
        }
    }

    /// Hands over what the tick asks of the cluster.
    pub(crate) fn flush_cluster(&mut self) {
        if let Some(cluster) = &mut self.state.cluster {
            cluster.flush();
        }
    }

    fn go_on(&mut self, id: OperationId, mut operation: Operation, answer: Result<Answer, ClientError>) {
        let next = match answer {
            Ok(answer) => self.step(&mut operation, answer),
            Err(error) => Err(error),
        };
        let now_ms = self.now_ms;
        let effect = if operation.changes() {
            Effect::Possible
        } else {
            Effect::None
        };
        match next {
            Ok(Turn::Ask) => {
                let cluster = self.cluster();
                cluster.submit_for(id, &operation, now_ms);
                cluster.operations.insert(id, operation);
            }
            Ok(Turn::Done(reply, held)) => self.finish_update(&operation, reply, held),
            Err(error) => {
                if matches!(error, ClientError::Failed(Error::NotEnough { .. })) {
                    self.cluster().troubled = Some(Instant::now());
                }
                let again = matches!(error, ClientError::Failed(Error::NotReady | Error::Contended));
                if again && operation.began.elapsed() < self.cluster().patience {
                    let pause = PAUSE
                        .saturating_mul(1 << operation.attempts.min(6))
                        .min(PAUSE_MAX)
                        .mul_f64(0.5 + fastrand::f64());
                    operation.attempts += 1;
                    let cluster = self.cluster();
                    cluster.later.insert((Instant::now() + pause, id));
                    cluster.operations.insert(id, operation);
                } else {
                    let e = line(error, effect);
                    let mut text = Reply::new(Protocol::Resp2);
                    crate::dispatch::write_error(&mut text, &mut self.state, &e);
                    let text = text.into_bytes();
                    if let Work::Update { step, .. } = &mut operation.work
                        && let Step::Comparing { riders, .. } = std::mem::replace(step, Step::Reading)
                    {
                        for (rider, _) in riders {
                            self.end(&rider, text.clone());
                        }
                    }
                    self.finish_update(&operation, text, None);
                }
            }
        }
    }

    /// Ends an operation, and if it was an update lets the next one of its key begin.
    fn finish_update(&mut self, operation: &Operation, reply: Vec<u8>, held: Option<Box<Held>>) {
        if let Work::Update { key, .. } = &operation.work {
            let now_ms = self.now_ms;
            let cluster = self.cluster();
            let next = cluster.busy.get_mut(key).and_then(|waiting| waiting.pop_front());
            match next {
                None => drop(cluster.busy.remove(key)),
                Some(id) => {
                    let pause = cluster.pause_before(key);
                    if let Some(mut next) = cluster.operations.remove(&id) {
                        match (&mut next.work, held) {
                            _ if pause.is_some() => {
                                cluster
                                    .later
                                    .extend(pause.map(|pause| (Instant::now() + pause, id)));
                            }
                            (Work::Update { others, step, .. }, Some(held)) if others.is_empty() => {
                                *step = Step::Inherited(held);
                                cluster
                                    .arrivals
                                    .add(id, Arrival::Answer(Ok(Answer::Values(Vec::new()))));
                            }
                            _ => cluster.submit_for(id, &next, now_ms),
                        }
                        cluster.operations.insert(id, next);
                    }
                }
            }
        }
        self.end(operation, reply);
    }

    /// Hands a client its reply, and begins what waited for that.
    fn end(&mut self, operation: &Operation, reply: Vec<u8>) {
        self.count_operation(operation, reply.starts_with(b"-"));
        self.note_if_slow(operation);
        let Some(client) = self.state.clients.get_mut(operation.client) else {
            return;
        };
        client.replies.leave(operation);
        client.replies.fill(operation.slot, reply);
        client.replies.drain(&mut client.out);
        let mut ready = Vec::new();
        while let Some(next) = client.replies.next_deferred() {
            client.replies.enter(&next);
            ready.push(next);
        }
        self.state.clients.is_due(operation.client);
        ready.into_iter().for_each(|next| self.begin(next));
    }

    fn step(&mut self, operation: &mut Operation, answer: Answer) -> Result<Turn, ClientError> {
        let protocol = operation.protocol;
        match (&mut operation.work, answer) {
            (_, Answer::Failed(error)) => Err(error.into()),
            (Work::Read { keys, show }, Answer::Values(results)) => {
                let held = all(results)?;
                if *show == Show::Copies {
                    let copies: Vec<Copy> = keys
                        .iter()
                        .zip(held)
                        .map(|(key, held)| copy(key.clone(), held))
                        .collect();
                    let ran = self.on_copies(operation, &copies);
                    return Ok(ran.map_or(Turn::Done(Vec::new(), None), |(reply, _)| Turn::Done(reply, None)));
                }
                self.count_hits(&held);
                Ok(Turn::Done(shown(*show, &held, protocol), None))
            }
            (Work::Delete { keys }, Answer::Values(results)) => {
                let there = all(results)?.iter().filter(|held| held.value.is_some()).count();
                // Also those that were not seen: a reader of few replicas may miss what is there.
                operation.work = Work::Write {
                    items: keys.iter().map(|key| (key.clone(), None)).collect(),
                    ttl_ms: None,
                    reply: Written::Count(there as i64),
                };
                Ok(Turn::Ask)
            }
            (Work::Write { reply: kind, .. }, Answer::Written(results)) => {
                all(results)?;
                Ok(Turn::Done(
                    reply(protocol, |reply| match kind {
                        Written::Ok => reply.ok(),
                        Written::Count(count) => reply.integer(*count),
                    }),
                    None,
                ))
            }
            (Work::Walk(walk), answer) => {
                let cluster = self.cluster();
                let next = walk.answered(answer, &mut cluster.cursors, protocol);
                Ok(match next.map_err(ClientError::Failed)? {
                    Next::More => Turn::Ask,
                    Next::Done(reply) => Turn::Done(reply, None),
                })
            }
            (Work::Update { .. }, answer) => self.step_update(operation, answer),
            _ => Err(Error::Invalid("the answer was to something else").into()),
        }
    }

    fn step_update(&mut self, operation: &mut Operation, answer: Answer) -> Result<Turn, ClientError> {
        let Work::Update { key, others, step } = &mut operation.work else {
            return Err(Error::Invalid("the operation is no update").into());
        };
        let before = std::mem::replace(step, Step::Reading);
        let mut riding = Vec::new();
        let (inherited, held) = match (before, answer) {
            (Step::Inherited(held), _) => (true, vec![*held]),
            (Step::Reading, Answer::Values(results)) => (false, all(results)?),
            (Step::Comparing { reply, riders, .. }, Answer::Compared { swapped: true, found }) => {
                for (rider, reply) in riders {
                    self.end(&rider, reply);
                }
                return Ok(Turn::Done(reply, Some(Box::new(found))));
            }
            (Step::Comparing { riders, .. }, Answer::Compared { found, .. }) => {
                riding = riders.into_iter().map(|(rider, _)| rider).collect();
                if operation.began.elapsed() >= self.cluster().patience {
                    let key = key.clone();
                    self.wait_again(&key, riding);
                    return Err(Error::Contended.into());
                }
                if !others.is_empty() {
                    return Ok(Turn::Ask);
                }
                (false, vec![found])
            }
            _ => return Err(Error::Invalid("the answer was to something else").into()),
        };
        let first = held.first().cloned().unwrap_or_default();
        let names = std::iter::once(key.clone()).chain(others.iter().cloned());
        let copies: Vec<Copy> = names.zip(held).map(|(key, held)| copy(key, held)).collect();
        let key = key.clone();
        let alone = others.is_empty();
        let (now_ms, cluster) = (self.now_ms, self.cluster());
        let own = cluster.node.id();
        if first
            .version
            .is_some_and(|version| version.node != own && version.ms() + 1000 > now_ms)
        {
            cluster.is_shared(&key);
        }
        let Some((reply, mut changed)) = self.on_copies(operation, &copies) else {
            // The client has gone, and nothing was changed.
            self.wait_again(&key, riding);
            return Ok(Turn::Done(Vec::new(), None));
        };
        if changed.is_none() && inherited {
            // What an update before this one left may be old by now: only a read of its own can show that there is nothing to do.
            return Ok(Turn::Ask);
        }
        let mut riders = Vec::new();
        if alone && changed.is_some() {
            riding.extend(self.waiting_updates(&key, RIDERS_MAX.saturating_sub(riding.len())));
            for rider in riding {
                let (value, expires_ms) = match changed.clone().flatten() {
                    Some((value, expires)) => (Some(value), (expires > 0).then_some(expires)),
                    None => (None, None),
                };
                let key = key.clone();
                let ran = self.on_copies(
                    &rider,
                    &[Copy {
                        key,
                        value,
                        expires_ms,
                    }],
                );
                if let Some((reply, after)) = ran {
                    changed = after.or(changed);
                    riders.push((rider, reply));
                }
            }
        } else {
            self.wait_again(&key, riding);
        }
        let Some(outcome) = changed else {
            return Ok(Turn::Done(reply, None));
        };
        let (value, expires) = outcome.map_or((None, 0), |(value, expires)| (Some(value), expires));
        if let Work::Update { step, .. } = &mut operation.work {
            *step = Step::Comparing {
                reply,
                riders,
                expect: match (&first.value, first.version) {
                    (Some(_), Some(version)) => Expect::Version(version),
                    (Some(value), None) => Expect::Value(value.clone()),
                    (None, _) => Expect::Absent,
                },
                value,
                expires,
            };
        }
        Ok(Turn::Ask)
    }

    /// Updates that wait for a key and need no other, to be run with the one that has it.
    fn waiting_updates(&mut self, key: &weald_cluster::proto::Bytes, most: usize) -> Vec<Operation> {
        let Cluster { busy, operations, .. } = self.cluster();
        let mut taken = Vec::new();
        let Some(waiting) = busy.get_mut(key) else {
            return taken;
        };
        while taken.len() < most {
            let needs_more = |id: &OperationId| {
                let work = operations.get(id).map(|operation| &operation.work);
                matches!(work, Some(Work::Update { others, .. }) if !others.is_empty())
            };
            if waiting.front().is_none_or(needs_more) {
                break;
            }
            taken.extend(waiting.pop_front().and_then(|id| operations.remove(&id)));
        }
        taken
    }

    /// Lets updates wait for their key again, before those that wait already.
    fn wait_again(&mut self, key: &weald_cluster::proto::Bytes, updates: Vec<Operation>) {
        let cluster = self.cluster();
        for update in updates.into_iter().rev() {
            cluster.next_id += 1;
            let id = cluster.next_id;
            cluster.operations.insert(id, update);
            cluster.busy.entry(key.clone()).or_default().push_front(id);
        }
    }

    /// Runs the command on copies, unless its client has gone.
    fn on_copies(
        &mut self,
        operation: &Operation,
        copies: &[Copy],
    ) -> Option<(Vec<u8>, Option<super::copies::Outcome>)> {
        let mut client = self.state.clients.take(operation.client)?;
        // The request as a whole is slow or not, and judged when it ends.
        let slower_us = std::mem::replace(&mut self.state.settings.slowlog_slower_us, -1);
        let ran = self.run_on_copies(
            &mut client,
            operation.protocol,
            &operation.args.lent(),
            operation.found,
            copies,
        );
        self.state.settings.slowlog_slower_us = slower_us;
        self.state.clients.put_back(client);
        Some((ran.reply, ran.changed))
    }

    /// What a handler ran is counted already.
    fn count_operation(&mut self, operation: &Operation, failed: bool) {
        let copied = match &operation.work {
            Work::Read { show, .. } => *show == Show::Copies,
            Work::Update { .. } => true,
            _ => false,
        };
        if copied {
            return;
        }
        let us = operation.began.elapsed().as_micros() as u64;
        let stats = self.state.stats_of(operation.found.id);
        stats.calls += 1;
        stats.us += us;
        stats.failed += u64::from(failed);
        self.state.stats.commands.add(1);
        self.state.stats.took(us);
    }

    /// Puts a request into the slow log that took long from its arrival to its reply, the waiting for others included.
    fn note_if_slow(&mut self, operation: &Operation) {
        let us = operation.began.elapsed().as_micros() as u64;
        let settings = &self.state.settings;
        let slow = u64::try_from(settings.slowlog_slower_us).is_ok_and(|slower| us >= slower);
        if !slow || operation.found.command.flags.has(Flags::SKIP_SLOWLOG) {
            return;
        }
        let max = settings.slowlog_len;
        let lent = operation.args.lent();
        let client = self.state.clients.get_mut(operation.client);
        let (peer, name) = client
            .map(|client| (client.session.peer.to_string(), client.session.name.clone()))
            .unwrap_or_default();
        let at_s = self.now_ms / 1000;
        self.state.slowlog.add(
            &redacted(operation.found.command.name, &lent),
            us,
            at_s,
            &peer,
            &name,
            max,
        );
    }

    fn count_hits(&mut self, held: &[Held]) {
        let hits = held.iter().filter(|held| held.value.is_some()).count() as u64;
        let stats = &self.state.stats;
        stats.keyspace_hits.add(hits);
        stats.keyspace_misses.add(held.len() as u64 - hits);
    }
}

impl Cluster {
    fn submit_for(&mut self, id: OperationId, operation: &Operation, now_ms: u64) {
        match &operation.work {
            Work::Write { items, ttl_ms, .. } if items.len() == 1 && self.is_calm() => {
                let (key, value) = items[0].clone();
                let like = Like::Put(operation.levels.write, *ttl_ms, operation.durable);
                self.batch.join(id, like, key, value);
            }
            _ => {
                if let Some(request) = operation.request(now_ms) {
                    self.submit(id, request);
                }
            }
        }
    }
}

fn no_level() -> CommandError {
    CommandError::new(
        "ERR the consistency is strong, balanced, eventual or cluster, or the replicas of writes and of reads as in 2/1",
    )
}

/// Whether the client gets the reply to this command, as `CLIENT REPLY` said.
fn takes_reply(session: &mut Session) -> bool {
    match session.reply_mode {
        ReplyMode::On => true,
        ReplyMode::Off => false,
        ReplyMode::SkipNext => {
            session.reply_mode = ReplyMode::Skip;
            false
        }
        ReplyMode::Skip => {
            session.reply_mode = ReplyMode::On;
            false
        }
    }
}

/// All of them, or the first error.
fn all<T>(results: Vec<Result<T, Error>>) -> Result<Vec<T>, ClientError> {
    let all: Result<Vec<T>, Error> = results.into_iter().collect();
    all.map_err(ClientError::Failed)
}

fn copy(key: weald_cluster::proto::Bytes, held: Held) -> Copy {
    Copy {
        key,
        value: held.value,
        expires_ms: held.expires_ms,
    }
}

fn shown(show: Show, held: &[Held], protocol: Protocol) -> Vec<u8> {
    let strings = || held.iter().map(|held| held.value.as_deref().map(value::string));
    reply(protocol, |reply| match show {
        Show::String => match strings().next().flatten() {
            None => reply.null(),
            Some(Ok(string)) => reply.bulk(string),
            Some(Err(e)) => reply.error(&e.to_string()),
        },
        Show::Strings => {
            reply.array(held.len());
            // Other types count as absent, as in Redis.
            strings().for_each(|string| reply.bulk_or_null(string.and_then(Result::ok)));
        }
        Show::Count | Show::Copies => {
            reply.integer(held.iter().filter(|held| held.value.is_some()).count() as i64);
        }
    })
}

//! Answers questions about the node itself, and changes the layout, on a thread that may wait.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weald_cluster::proto::{
    CopyId, Error, Layout, LayoutChange, Level, Member, MemberStatus, NodeId, PeerStatus,
};
use weald_cluster::{ClientError, Node};
use weald_resp::{Protocol, Reply, parse_i64};

use super::operation::{Operation, Words};
use super::texts::{Effect, line};
use super::view::{View, phase_name};
use super::{Arrival, Arrivals, COUNTERS, GAUGES, OperationId, value};
use crate::error::CommandError;

/// How often the node is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Keys that a repair reads at once.
const REPAIR_KEYS: usize = 256;

struct Question {
    id: OperationId,
    /// The command's own name, whatever the client calls it.
    command: &'static str,
    args: Words,
    protocol: Protocol,
}

/// A repair that was asked for, and how far it is.
#[derive(Clone, Default)]
struct Repair {
    running: bool,
    keys: u64,
    rounds: u64,
    error: Option<String>,
}

#[derive(Default)]
struct Board {
    view: Option<Arc<View>>,
    repair: Repair,
}

type Shared = Arc<Mutex<Board>>;

fn lock(board: &Shared) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Office {
    questions: Option<Sender<Question>>,
    board: Shared,
    thread: Option<JoinHandle<()>>,
}

impl Office {
    pub(super) fn open(node: Arc<Node>, arrivals: Arrivals) -> std::io::Result<Office> {
        let (questions, asked) = channel();
        let board = Shared::default();
        let desk = Desk {
            node,
            board: board.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("weald-office".to_owned())
            .spawn(move || desk.work(&asked, &arrivals))?;
        Ok(Office {
            questions: Some(questions),
            board,
            thread: Some(thread),
        })
    }

    pub(super) fn view(&self) -> Arc<View> {
        lock(&self.board).view.clone().unwrap_or_else(View::empty)
    }

    pub(super) fn ask(&self, id: OperationId, operation: &Operation) {
        let question = Question {
            id,
            command: operation.found.command.name,
            args: operation.args.clone(),
            protocol: operation.protocol,
        };
        if let Some(questions) = &self.questions {
            // The thread ends after this sender does.
            let _ = questions.send(question);
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Answer = Result<(), CommandError>;

fn failed(error: ClientError) -> CommandError {
    line(error, Effect::Possible)
}

struct Desk {
    node: Arc<Node>,
    board: Shared,
}

impl Desk {
    fn work(&self, asked: &Receiver<Question>, arrivals: &Arrivals) {
        let mut look_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= look_at {
                look_at = now + LOOK;
                if let Ok(view) = View::of(&self.node) {
                    lock(&self.board).view = Some(view);
                }
            }
            match asked.recv_timeout(look_at.saturating_duration_since(Instant::now())) {
                Ok(question) => {
                    let mut reply = Reply::new(question.protocol);
                    let args = question.args.lent();
                    if let Err(e) = self.answer(question.command, &args, &mut reply) {
                        reply.truncate(0);
                        reply.error(&e.to_string());
                    }
                    arrivals.add(question.id, Arrival::Reply(reply.into_bytes()));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&self, command: &str, args: &[&[u8]], reply: &mut Reply) -> Answer {
        if command == "weald.local" {
            return self.local(args[1], reply);
        }
        let word = args[1].to_ascii_lowercase();
        match &word[..] {
            b"info" => self.info(reply),
            b"myid" => {
                reply.bulk(long_id(self.node.id()).as_bytes());
                Ok(())
            }
            b"nodes" => self.nodes(reply),
            b"members" => self.members(reply),
            b"status" => self.status(reply),
            b"partitions" => self.partitions(reply),
            b"layout" => self.layout(reply),
            b"events" => self.events(args.get(2).copied(), reply),
            b"join" => {
                let named = args.get(2).copied().filter(|arg| !Share::is_word(arg));
                let share = Share::parse(&args[2 + usize::from(named.is_some())..])?;
                let node = node_of(named, self.node.id())?;
                self.change(Some((node, share)), None, reply)
            }
            b"leave" => {
                let node = node_of(args.get(2).copied(), self.node.id())?;
                self.change(None, Some(node), reply)
            }
            b"replace" => {
                let old = node_of(args.get(2).copied(), self.node.id())?;
                let new = node_of(args.get(3).copied(), self.node.id())?;
                let share = Share::parse(args.get(4..).unwrap_or_default())?;
                self.change(Some((new, share)), Some(old), reply)
            }
            b"abort" => self.begun(LayoutChange::Abort, reply),
            b"repair" => self.repair(reply),
            _ => Err(CommandError::syntax()),
        }
    }

    fn view(&self) -> Result<Arc<View>, CommandError> {
        let view = View::of(&self.node).map_err(failed)?;
        lock(&self.board).view = Some(view.clone());
        Ok(view)
    }

    fn local(&self, key: &[u8], reply: &mut Reply) -> Answer {
        let copy = self
            .node
            .local_copy(key)
            .map_err(|e| CommandError::new(format!("ERR {e}")))?;
        let record = copy.entry.as_ref().map(|entry| &entry.record);
        reply.map(7);
        reply.bulk(b"partition");
        reply.integer(i64::from(copy.partition.0));
        reply.bulk(b"owned");
        reply.integer(i64::from(copy.owned));
        reply.bulk(b"version");
        match record {
            None => reply.null(),
            Some(record) => {
                let version = record.version;
                reply.bulk(format!("{:x}-{}", version.stamp, version.node).as_bytes());
            }
        }
        let value = record.and_then(|record| record.value.as_deref());
        reply.bulk(b"state");
        reply.bulk(match (record, value) {
            (None, _) => b"absent",
            (Some(_), None) => b"deleted",
            (Some(_), Some(_)) => b"present",
        });
        reply.bulk(b"register");
        reply.integer(i64::from(
            copy.entry.as_ref().is_some_and(|entry| entry.register.is_some()),
        ));
        reply.bulk(b"expires_ms");
        match record.and_then(|record| record.expires_ms) {
            None => reply.null(),
            Some(ms) => reply.integer(i64::try_from(ms).unwrap_or(i64::MAX)),
        }
        reply.bulk(b"value");
        // Values other than strings as they are kept.
        reply.bulk_or_null(value.map(|value| value::string(value).unwrap_or(value)));
        Ok(())
    }

    fn info(&self, reply: &mut Reply) -> Answer {
        let view = self.view()?;
        let metrics = view
            .metrics
            .ok_or_else(|| CommandError::new("ERR the node says nothing"))?;
        let members = view
            .layout
            .as_ref()
            .map_or(0, |layout| layout.current.members.len());
        let state = if metrics.status.serving { "ok" } else { "fail" };
        let mut text = format!(
            "cluster_enabled:1\r\ncluster_state:{state}\r\ncluster_known_nodes:{}\r\ncluster_size:{members}\r\ncluster_current_epoch:{}\r\ncluster_my_epoch:{}\r\n",
            view.peers.len() + 1,
            metrics.status.layout,
            metrics.status.layout,
        );
        text.push_str(&format!(
            "weald_cluster_phase:{}\r\n",
            phase_name(metrics.status.phase)
        ));
        if let Some(layout) = &view.layout {
            let quorums = layout.quorums;
            text.push_str(&format!(
                "weald_cluster_replica_count:{}\r\nweald_cluster_write_quorum:{}\r\nweald_cluster_read_quorum:{}\r\nweald_cluster_partitions:{}\r\n",
                quorums.replica_count,
                quorums.write_quorum,
                quorums.read_quorum,
                layout.partitions()
            ));
        }
        for (name, _, number) in GAUGES.iter().chain(COUNTERS) {
            text.push_str(&format!("{name}:{}\r\n", number(&metrics)));
        }
        reply.verbatim(b"txt", text.as_bytes());
        Ok(())
    }

    /// Nodes without ports for clients and without slots: no client is to be sent from one to another.
    fn nodes(&self, reply: &mut Reply) -> Answer {
        let view = self.view()?;
        let mut text = String::new();
        for row in rows(&view, &self.node) {
            let address = String::from_utf8_lossy(&row.address).into_owned();
            let (host, port) = address.rsplit_once(':').unwrap_or((&address, "0"));
            let flags = match row.state {
                "self" => "myself,master",
                "suspect" => "master,fail?",
                "dead" => "master,fail",
                _ => "master",
            };
            let link = if matches!(row.state, "self" | "alive") {
                "connected"
            } else {
                "disconnected"
            };
            let version = view.layout.as_ref().map_or(0, |layout| layout.version);
            text.push_str(&format!(
                "{} {host}:0@{port} {flags} - 0 0 {version} {link}\n",
                long_id(row.node)
            ));
        }
        reply.verbatim(b"txt", text.as_bytes());
        Ok(())
    }

    fn members(&self, reply: &mut Reply) -> Answer {
        let view = self.view()?;
        let mut text = String::new();
        for row in rows(&view, &self.node) {
            text.push_str(&format!(
                "node={} address={} state={} member={} weight={} zone={} partitions={} primary={}\n",
                short_id(row.node),
                String::from_utf8_lossy(&row.address),
                row.state,
                row.membership,
                row.weight,
                row.zone,
                row.partitions,
                row.primary
            ));
        }
        reply.verbatim(b"txt", text.as_bytes());
        Ok(())
    }

    fn layout(&self, reply: &mut Reply) -> Answer {
        let view = self.view()?;
        let Some(layout) = &view.layout else {
            return Err(CommandError::new("ERR the node has no layout yet"));
        };
        let mut text = format!(
            "version={} phase={} replica_count={} write_quorum={} read_quorum={}\n",
            layout.version,
            phase_name(Some(layout.phase)),
            layout.quorums.replica_count,
            layout.quorums.write_quorum,
            layout.quorums.read_quorum
        );
        let names = |nodes: &[NodeId]| {
            nodes
                .iter()
                .map(|node| short_id(*node))
                .collect::<Vec<_>>()
                .join(",")
        };
        for (at, owners) in layout.current.owners.iter().enumerate() {
            let before = layout
                .old
                .as_ref()
                .and_then(|old| old.owners.get(at))
                .filter(|old| *old != owners)
                .map_or(String::new(), |old| format!(" before={}", names(old)));
            text.push_str(&format!("partition={at} owners={}{before}\n", names(owners)));
        }
        reply.verbatim(b"txt", text.as_bytes());
        Ok(())
    }

    fn status(&self, reply: &mut Reply) -> Answer {
        let view = self.view()?;
        let metrics = view
            .metrics
            .ok_or_else(|| CommandError::new("ERR the node says nothing"))?;
        let repair = lock(&self.board).repair.clone();
        reply.map(9);
        reply.bulk(b"node");
        reply.bulk(short_id(self.node.id()).as_bytes());
        reply.bulk(b"serving");
        reply.boolean(metrics.status.serving);
        reply.bulk(b"layout");
        reply.integer(metrics.status.layout as i64);
        reply.bulk(b"phase");
        reply.bulk(phase_name(metrics.status.phase).as_bytes());
        reply.bulk(b"quorums");
        write_quorums(view.layout.as_ref(), reply);
        reply.bulk(b"to_fetch");
        reply.integer(metrics.status.to_fetch as i64);
        reply.bulk(b"members");
        let rows = rows(&view, &self.node);
        reply.array(rows.len());
        rows.iter().for_each(|row| row.write(reply));
        reply.bulk(b"repair");
        reply.map(5);
        for (name, number) in [
            ("keys", repair.keys),
            ("rounds", repair.rounds),
            ("differences", metrics.node.differences),
        ] {
            reply.bulk(name.as_bytes());
            reply.integer(number as i64);
        }
        reply.bulk(b"running");
        reply.boolean(repair.running);
        reply.bulk(b"error");
        reply.bulk_or_null(repair.error.as_deref().map(str::as_bytes));
        reply.bulk(b"counts");
        reply.map(GAUGES.len() + COUNTERS.len());
        for (name, _, number) in GAUGES.iter().chain(COUNTERS) {
            reply.bulk(name.trim_start_matches("weald_cluster_").as_bytes());
            reply.integer(number(&metrics) as i64);
        }
        Ok(())
    }

    fn partitions(&self, reply: &mut Reply) -> Answer {
        let view = self.view()?;
        reply.array(view.partitions.len());
        for part in &view.partitions {
            reply.map(4);
            reply.bulk(b"partition");
            reply.integer(i64::from(part.partition.0));
            reply.bulk(b"changes");
            reply.integer(part.changes as i64);
            reply.bulk(b"sum");
            reply.bulk_or_null(
                part.sum
                    .map(|sum| format!("{sum:032x}"))
                    .as_deref()
                    .map(str::as_bytes),
            );
            reply.bulk(b"settled_ms");
            reply.integer(i64::try_from(part.settled_ms).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    fn events(&self, after: Option<&[u8]>, reply: &mut Reply) -> Answer {
        let after = match after {
            None => 0,
            Some(number) => parse_i64(number)
                .and_then(|number| u64::try_from(number).ok())
                .ok_or_else(CommandError::not_an_integer)?,
        };
        let events = self.node.events(after);
        reply.array(events.len());
        for event in events {
            reply.array(3);
            reply.integer(event.number as i64);
            reply.integer(i64::try_from(event.wall_ms).unwrap_or(i64::MAX));
            reply.bulk(event.text().as_bytes());
        }
        Ok(())
    }

    /// Takes a node in, lets another go, or both in one move. A node is known by what it said of itself; one that nobody has heard of can't be taken in.
    fn change(&self, join: Option<(NodeId, Share)>, leave: Option<NodeId>, reply: &mut Reply) -> Answer {
        let view = self.view()?;
        let mut joining = BTreeMap::new();
        if let Some((node, share)) = join {
            if leave == Some(node) {
                return Err(CommandError::new(
                    "ERR a node can't take its own place: a node that lost its disk is taken in again by itself",
                ));
            }
            let (copy, address) = match peer(&view, node) {
                Some(peer) => (peer.copy, peer.address.clone()),
                // The node itself fills in which copy it has.
                None if node == self.node.id() => (CopyId(0), self.node.address().into()),
                None => {
                    return Err(CommandError::new(format!(
                        "ERR this node has not heard of node {}: start it with --join first",
                        short_id(node)
                    )));
                }
            };
            let (weight, zone) = share.or(self.usual_share(&view, node, leave));
            let member = Member {
                copy,
                weight,
                zone,
                address,
            };
            joining.insert(node, member);
        }
        let change = LayoutChange::Members {
            join: joining,
            leave: leave.into_iter().collect(),
        };
        self.begun(change, reply)
    }

    /// The weight and zone of a node for which nothing else is said: those that the layout has, or of the node whose place it takes, or its own settings.
    fn usual_share(&self, view: &View, node: NodeId, replaced: Option<NodeId>) -> (u32, u32) {
        let layout = view.layout.as_ref();
        let named = |node: NodeId| {
            let member = layout?.current.members.get(&node)?;
            Some((member.weight, member.zone))
        };
        let own = || (node == self.node.id()).then(|| self.node.share());
        named(node)
            .or_else(|| named(replaced?))
            .or_else(own)
            .unwrap_or((1, 0))
    }

    fn begun(&self, change: LayoutChange, reply: &mut Reply) -> Answer {
        let leaves = matches!(&change, LayoutChange::Members { leave, .. } if !leave.is_empty());
        let version = self.node.change_layout(change).map_err(|e| match e {
            ClientError::Failed(Error::Layout(weald_cluster::proto::LayoutError::Invalid)) if leaves => {
                CommandError::new("ERR fewer members than replicas would be left: take another node in first")
            }
            e => failed(e),
        })?;
        reply.integer(version as i64);
        Ok(())
    }

    /// Begins to read every key from all of its replicas.
    fn repair(&self, reply: &mut Reply) -> Answer {
        {
            let mut board = lock(&self.board);
            if board.repair.running {
                return Err(CommandError::new(
                    "ERR a repair is going on: CLUSTER STATUS says how far it is",
                ));
            }
            board.repair.running = true;
            board.repair.keys = 0;
            board.repair.error = None;
        }
        let (node, board) = (self.node.clone(), self.board.clone());
        let thread = std::thread::Builder::new()
            .name("weald-repair".to_owned())
            .spawn(move || {
                let ended = read_everything(&node, &board);
                let mut board = lock(&board);
                board.repair.running = false;
                board.repair.rounds += 1;
                board.repair.error = ended.err().map(|e| failed(e).to_string());
            });
        if let Err(e) = thread {
            lock(&self.board).repair.running = false;
            return Err(CommandError::new(format!("ERR can't start a thread: {e}")));
        }
        reply.ok();
        Ok(())
    }
}

/// Readers of all replicas write the latest back to those that have something else.
fn read_everything(node: &Node, board: &Shared) -> Result<(), ClientError> {
    let mut start = Vec::new();
    loop {
        let (entries, next) = node.scan(&start, None, REPAIR_KEYS, Level::Strong)?;
        let keys: Vec<&[u8]> = entries.iter().map(|(key, _)| &**key).collect();
        if !keys.is_empty() {
            for found in node.get_many(&keys, Level::Strong)? {
                found?;
            }
        }
        lock(board).repair.keys += keys.len() as u64;
        match next {
            Some(next) => start = next.to_vec(),
            None => return Ok(()),
        }
    }
}

/// A node as lists have it.
struct Row {
    node: NodeId,
    address: weald_cluster::proto::Bytes,
    state: &'static str,
    membership: &'static str,
    weight: u32,
    zone: u32,
    partitions: usize,
    primary: usize,
}

impl Row {
    fn write(&self, reply: &mut Reply) {
        reply.map(8);
        for (name, text) in [
            ("node", short_id(self.node)),
            ("address", String::from_utf8_lossy(&self.address).into_owned()),
            ("state", self.state.to_owned()),
            ("member", self.membership.to_owned()),
        ] {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
        for (name, number) in [
            ("weight", u64::from(self.weight)),
            ("zone", u64::from(self.zone)),
            ("partitions", self.partitions as u64),
            ("primary", self.primary as u64),
        ] {
            reply.bulk(name.as_bytes());
            reply.integer(number as i64);
        }
    }
}

/// What an operator says about the share of a node: `WEIGHT number ZONE number`, each or neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    weight: Option<u32>,
    zone: Option<u32>,
}

impl Share {
    fn is_word(arg: &[u8]) -> bool {
        arg.eq_ignore_ascii_case(b"weight") || arg.eq_ignore_ascii_case(b"zone")
    }

    fn parse(args: &[&[u8]]) -> Result<Share, CommandError> {
        let mut share = Share::default();
        for pair in args.chunks(2) {
            let &[word, number] = pair else {
                return Err(CommandError::syntax());
            };
            let number = parse_i64(number)
                .and_then(|number| u32::try_from(number).ok())
                .ok_or_else(CommandError::not_an_integer)?;
            let part = match word {
                _ if word.eq_ignore_ascii_case(b"weight") && number > 0 => &mut share.weight,
                _ if word.eq_ignore_ascii_case(b"weight") => {
                    return Err(CommandError::new("ERR the weight must be 1 or more"));
                }
                _ if word.eq_ignore_ascii_case(b"zone") => &mut share.zone,
                _ => return Err(CommandError::syntax()),
            };
            if part.replace(number).is_some() {
                return Err(CommandError::syntax());
            }
        }
        Ok(share)
    }

    fn or(self, (weight, zone): (u32, u32)) -> (u32, u32) {
        (self.weight.unwrap_or(weight), self.zone.unwrap_or(zone))
    }
}

fn peer(view: &View, node: NodeId) -> Option<&PeerStatus> {
    view.peers.iter().find(|peer| peer.node == node)
}

/// Every node that the layout or the node itself knows of, in the order of their numbers.
fn rows(view: &View, own: &Node) -> Vec<Row> {
    let current = view.layout.as_ref().map(|layout| &layout.current);
    let old = view.layout.as_ref().and_then(|layout| layout.old.as_ref());
    let named = [current, old]
        .into_iter()
        .flatten()
        .flat_map(|side| side.members.keys());
    let mut nodes: Vec<NodeId> = named
        .chain(view.peers.iter().map(|peer| &peer.node))
        .copied()
        .chain([own.id()])
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
        .into_iter()
        .map(|node| {
            let is_in = current.and_then(|side| side.members.get(&node));
            let was_in = old.and_then(|side| side.members.get(&node));
            let owners = current.iter().flat_map(|side| &side.owners);
            let peer = peer(view, node);
            Row {
                node,
                address: match (peer, is_in.or(was_in)) {
                    (Some(peer), _) => peer.address.clone(),
                    (None, Some(member)) => member.address.clone(),
                    (None, None) => own.address().into(),
                },
                state: match peer.map(|peer| peer.status) {
                    _ if node == own.id() => "self",
                    Some(MemberStatus::Alive) => "alive",
                    Some(MemberStatus::Suspect) => "suspect",
                    Some(MemberStatus::Dead) => "dead",
                    None => "unknown",
                },
                membership: match (is_in, was_in, old) {
                    (Some(_), None, Some(_)) => "joining",
                    (Some(_), ..) => "yes",
                    (None, Some(_), _) => "leaving",
                    (None, None, _) => "no",
                },
                weight: is_in.or(was_in).map_or(0, |member| member.weight),
                zone: is_in.or(was_in).map_or(0, |member| member.zone),
                partitions: owners.clone().filter(|owners| owners.contains(&node)).count(),
                primary: owners.filter(|owners| owners.first() == Some(&node)).count(),
            }
        })
        .collect()
}

fn write_quorums(layout: Option<&Layout>, reply: &mut Reply) {
    let Some(layout) = layout else {
        return reply.null();
    };
    let quorums = layout.quorums;
    reply.map(4);
    for (name, number) in [
        ("replica_count", i64::from(quorums.replica_count)),
        ("write_quorum", i64::from(quorums.write_quorum)),
        ("read_quorum", i64::from(quorums.read_quorum)),
        ("partitions", layout.partitions() as i64),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(number);
    }
}

/// A node's number, always as long.
fn short_id(node: NodeId) -> String {
    format!("{:016x}", node.0)
}

/// As long as Redis Cluster has them.
fn long_id(node: NodeId) -> String {
    format!("{:0>40}", short_id(node))
}

/// The node that an argument names, in either length; the node itself without one.
fn node_of(arg: Option<&[u8]>, own: NodeId) -> Result<NodeId, CommandError> {
    let Some(arg) = arg else { return Ok(own) };
    std::str::from_utf8(arg)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .map(NodeId)
        .ok_or_else(|| CommandError::new("ERR that is no node's number: CLUSTER MEMBERS lists them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_said_in_words_or_left_as_it_is() {
        let parse = |line: &str| {
            let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            Share::parse(&words).ok().map(|share| share.or((7, 8)))
        };
        assert_eq!(parse(""), Some((7, 8)));
        assert_eq!(parse("zone 2"), Some((7, 2)));
        assert_eq!(parse("ZONE 0 Weight 3"), Some((3, 0)));
        for line in [
            "weight",
            "weight 0",
            "weight -1",
            "zone x",
            "zone 1 zone 2",
            "share 1",
            "zone 4294967296",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn numbers_of_nodes_are_read_as_they_are_written() {
        let node = NodeId(0x00ab_cdef_0123_4567);
        for text in [short_id(node), long_id(node)] {
            assert_eq!(node_of(Some(text.as_bytes()), NodeId(1)).ok(), Some(node));
        }
        assert_eq!(node_of(None, NodeId(1)).ok(), Some(NodeId(1)));
        for text in ["", "xyz", "+1", "ffffffffffffffffff"] {
            assert!(node_of(Some(text.as_bytes()), NodeId(1)).is_err(), "{text}");
        }
    }
}

//! One run: a cluster is set up, clients work and faults strike, then all is healed, and everything is checked.

use std::collections::{BTreeMap, BTreeSet};

use weald_cluster_proto::{
    Bug, Bytes, Config, CopyId, Error, Event as NodeEvent, Layout, Level, Member, NodeId, Phase, Quorums,
    Rank, Request, Start,
};

use crate::checker::{check_plain, check_register};
use crate::clients::{Clients, MIXED, PLAIN, REGISTERS, key};
use crate::faults::Faults;
use crate::history::{Action, Event};
use crate::world::{Counts, EPOCH_MS, World};

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// Bugs to switch on.
    pub bugs: Vec<Bug>,
    /// How long faults strike, in seconds of simulated time.
    pub seconds: u64,
    /// Whether to write down every message and event.
    pub trace: bool,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was seen happening.
    pub counts: Counts,
    /// What must not have happened. Empty, if all is well.
    pub violations: Vec<String>,
    /// Every message and event, if that was wanted.
    pub transcript: Vec<String>,
    /// Operations that clients did.
    pub operations: usize,
    /// Milliseconds of simulated time from the end of the faults until everybody served.
    pub healed_after_ms: u64,
    /// And until all replicas were identical.
    pub converged_after_ms: u64,
}

/// How long it may take, after the last fault, until every node serves and the layout is stable.
pub const HEAL_MS: u64 = 40_000;
/// How long it may take, after the last write, until replicas are identical.
pub const CONVERGE_MS: u64 = 30_000;
/// How far simulated clocks may differ.
const BOUND_MS: u64 = 500;

/// Times that fit a world in which seconds are expensive.
pub fn tune(config: &mut Config) {
    config.drift_bound_ms = BOUND_MS;
    config.request_timeout_ms = 1_500;
    config.resend_ms = 150;
    config.probe_interval_ms = 300;
    config.probe_timeout_ms = 80;
    config.repair_interval_ms = 150;
    config.repair_bytes_per_second = 20_000;
    config.settle_after_ms = 3_000;
    config.hint_interval_ms = 200;
    config.hint_bytes_max = 4 << 10;
    config.page_entries = 4;
    config.ring_entries = 64;
    config.transfers_max = 2;
}

const ZONES: u32 = 3;

/// With nodes in zones, by their numbers.
fn tune_in_zones(config: &mut Config) {
    tune(config);
    config.zone = zone_of(config.node, ZONES);
}

/// With so little room for hints that most of them are left to comparisons.
fn tune_with_few_hints(config: &mut Config) {
    tune(config);
    config.hint_bytes_max = 300;
}

fn zone_of(node: NodeId, zones: u32) -> u32 {
    (node.0 % u64::from(zones)) as u32
}

/// What the cluster's quorums are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    Balanced,
    Strong,
    Eventual,
}

impl Preset {
    fn of(seed: u64) -> Preset {
        match seed % 7 {
            5 => Preset::Strong,
            6 => Preset::Eventual,
            _ => Preset::Balanced,
        }
    }

    fn quorums(self) -> Quorums {
        match self {
            Preset::Balanced => Quorums::balanced(3),
            Preset::Strong => Quorums::strong(3),
            Preset::Eventual => Quorums::eventual(3),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Preset::Balanced => "balanced cluster",
            Preset::Strong => "strong cluster",
            Preset::Eventual => "eventual cluster",
        }
    }

    /// A level whose quorums meet each other, said or left to the cluster where that is as much.
    pub(crate) fn meeting(self) -> Level {
        match self {
            Preset::Balanced | Preset::Strong => Level::Cluster,
            Preset::Eventual => Level::Balanced,
        }
    }

    /// A level of one owner.
    pub(crate) fn single(self) -> Level {
        match self {
            Preset::Balanced | Preset::Strong => Level::Eventual,
            Preset::Eventual => Level::Cluster,
        }
    }
}

/// The first layout of nodes with these numbers.
pub fn founding(nodes: impl IntoIterator<Item = u64>, partition_bits: u8, quorums: Quorums) -> Layout {
    founding_in_zones(nodes, partition_bits, quorums, 1)
}

fn founding_in_zones(
    nodes: impl IntoIterator<Item = u64>,
    partition_bits: u8,
    quorums: Quorums,
    zones: u32,
) -> Layout {
    let member = |node: u64| {
        let member = Member {
            copy: CopyId(1),
            weight: 1,
            zone: zone_of(NodeId(node), zones),
            address: node.to_le_bytes().as_slice().into(),
        };
        (NodeId(node), member)
    };
    let members: BTreeMap<NodeId, Member> = nodes.into_iter().map(member).collect();
    Layout::initial(partition_bits, quorums, members).expect("a handful of nodes make a layout")
}

/// Runs one seed.
pub fn run(options: &Options) -> Report {
    let (tuned, zones): (fn(&mut Config), u32) = match options.seed % 5 {
        0 => (tune_in_zones, ZONES),
        1 => (tune_with_few_hints, 1),
        _ => (tune, 1),
    };
    let mut world = World::new(options.seed, options.bugs.clone(), tuned);
    world.transcript = options.trace.then(Vec::new);
    world.detail = true;
    let count = 3 + options.seed % 3;
    let preset = Preset::of(options.seed);
    let layout = founding_in_zones(1..=count, 3, preset.quorums(), zones);
    world.count(preset.name());
    for id in 1..=count {
        world.add(NodeId(id), Start::Found(layout.clone()));
        let skew = world.random.below(300) as i64 - 150;
        let drift = world.random.below(400) as i64 - 200;
        if let Some(machine) = world.machines.get_mut(&NodeId(id)) {
            (machine.skew_ms, machine.drift_ppm) = (skew, drift);
        }
    }
    // One node is of an earlier build, and does not know the question how far partitions are settled.
    if options.seed % 8 == 2 {
        world.unknown_kinds.insert(NodeId(1), BTreeSet::from([48]));
    }
    let crowd = if options.seed % 4 == 1 { 12 } else { 0 };
    let mut clients = Clients::new(4, crowd, preset);
    let restless = options.seed.is_multiple_of(3);
    let mut faults = Faults::new(if options.seed % 4 == 3 { 1_600_000 } else { 500_000 }, restless);
    while world.time_us < options.seconds * 1_000_000 && world.violations.is_empty() {
        let next = world.time_us + 5_000;
        world.run_until(next);
        faults.step(&mut world);
        clients.step(&mut world, true);
    }
    let mut report = Report {
        counts: Counts::new(),
        violations: Vec::new(),
        transcript: Vec::new(),
        operations: 0,
        healed_after_ms: 0,
        converged_after_ms: 0,
    };
    if world.violations.is_empty() {
        finish(&mut world, &mut clients, &mut faults, &mut report);
    }
    for (_, _, event) in &world.events {
        *world.counts.entry(name(event)).or_default() += 1;
    }
    for machine in world.machines.values() {
        let stats = machine
            .node
            .as_ref()
            .map(weald_cluster_proto::Node::stats)
            .unwrap_or_default();
        for (what, count) in [
            ("read repairs", stats.read_repairs),
            ("hints delivered", stats.hints_delivered),
            ("hints dropped", stats.hints_dropped),
            ("differences found", stats.differences),
            ("entries repaired", stats.repaired),
            ("ring syncs", stats.ring_syncs),
            ("entries transferred", stats.transferred),
            ("deletions dropped", stats.dropped),
            ("writes overtaken", stats.overtaken),
            ("stamps refused", stats.stamps_refused),
            ("requests refused", stats.refused),
        ] {
            *world.counts.entry(what).or_default() += count;
        }
    }
    check_histories(&mut world, &clients);
    report.transcript = world.transcript.take().unwrap_or_default();
    report.operations = clients.events.len();
    report.counts = world.counts;
    report.violations = world.violations;
    report
}

/// Faults are over: the cluster must serve again, and come to rest.
fn finish(world: &mut World, clients: &mut Clients, faults: &mut Faults, report: &mut Report) {
    faults.heal(world);
    for machine in world.machines.values_mut() {
        machine.skew_ms = machine.skew_ms.clamp(-150, 150);
        (machine.disk_fails, machine.disk_slow_us) = (0, 0);
    }
    let healed_at = world.time_us;
    let mut whole_since = None;
    while world.time_us < healed_at + HEAL_MS * 1000 {
        let next = world.time_us + 5_000;
        world.run_until(next);
        clients.step(world, true);
        if !is_whole(world) {
            whole_since = None;
        } else if whole_since.is_none() {
            whole_since = Some(world.time_us);
        }
        if whole_since.is_some_and(|since| world.time_us > since + 3_000_000) {
            break;
        }
    }
    let Some(since) = whole_since else {
        world.violations.push(format!(
            "not whole {HEAL_MS} ms after the last fault: {}",
            describe(world)
        ));
        return;
    };
    report.healed_after_ms = (since - healed_at) / 1000;
    check_zones(world);
    // By now suspicions are over and everything works.
    // Two that compare and set at once may still leave one in doubt.
    let doubt = |error: &Error| *error == Error::Unknown;
    let late = clients
        .failures
        .iter()
        .find(|(at, error)| *at > since + 2_500_000 && !doubt(error));
    if let Some((at, error)) = late {
        world.violations.push(format!(
            "{error} {} ms after the last fault",
            (at - healed_at) / 1000
        ));
    }
    converge(world, clients, report);
}

fn is_whole(world: &World) -> bool {
    let Some(layout) = world.newest_layout() else {
        return false;
    };
    let node_is = |id: &NodeId| {
        world
            .machines
            .get(id)
            .and_then(|machine| machine.node.as_ref())
            .is_some_and(|node| {
                let current = node.layout().is_some_and(|known| known.version == layout.version);
                let copy = layout
                    .current
                    .members
                    .get(id)
                    .is_none_or(|member| member.copy == node.owner().copy);
                node.is_serving() && current && copy
            })
    };
    layout.phase == Phase::Stable && layout.current.members.keys().all(node_is)
}

/// Every partition is in as many zones as there are, unless one is too small for a copy of everything: shares come first.
fn check_zones(world: &mut World) {
    let Some(layout) = world.newest_layout() else {
        return;
    };
    let members = &layout.current.members;
    let zones: BTreeSet<u32> = members.values().map(|member| member.zone).collect();
    let most = zones.len().min(usize::from(layout.quorums.replica_count));
    let weigh = |zone: &u32| -> u64 {
        let there = members.values().filter(|member| member.zone == *zone);
        there.map(|member| u64::from(member.weight)).sum()
    };
    let total: u64 = zones.iter().map(weigh).sum();
    if zones.iter().any(|zone| weigh(zone) * (most as u64) < total) {
        return;
    }
    for partition in layout.all_partitions() {
        let used: BTreeSet<u32> = layout
            .owners(partition)
            .iter()
            .map(|owner| members[&owner.node].zone)
            .collect();
        if used.len() < most {
            world.violations.push(format!(
                "partition {partition} is in {} zones of {most}: {:?}",
                used.len(),
                layout.owners(partition)
            ));
            return;
        }
    }
    if most > 1 {
        world.count("spread over zones");
    }
}

fn describe(world: &World) -> String {
    let node = |(id, machine): (&NodeId, &crate::world::Machine)| {
        let status = machine.node.as_ref().map(|node| (node.owner(), node.status()));
        format!("{id}: {status:?}")
    };
    let layout = world
        .newest_layout()
        .map(|layout| (layout.version, layout.phase, layout.current.members));
    format!(
        "{layout:?} {:?}",
        world.machines.iter().map(node).collect::<Vec<_>>()
    )
}

fn converge(world: &mut World, clients: &mut Clients, report: &mut Report) {
    while !clients.is_idle() {
        let next = world.time_us + 5_000;
        world.run_until(next);
        clients.step(world, false);
    }
    let stopped_at = world.time_us;
    loop {
        let next = world.time_us + 100_000;
        world.run_until(next);
        let difference = replicas_differ(world).or_else(|| spent_remain(world, stopped_at));
        let Some(difference) = difference else { break };
        if world.time_us > stopped_at + CONVERGE_MS * 1000 {
            world
                .violations
                .push(format!("{CONVERGE_MS} ms after the last write: {difference}"));
            return;
        }
    }
    report.converged_after_ms = (world.time_us - stopped_at) / 1000;
    read_everything(world, clients);
}

/// The oracle: what is on the disks of the owners, entry by entry.
fn replicas_differ(world: &World) -> Option<String> {
    let layout = world.newest_layout()?;
    let now_ms = world.wall_ms() + 3_600_000;
    for partition in layout.all_partitions() {
        let owners: BTreeSet<NodeId> = layout.owners(partition).iter().map(|owner| owner.node).collect();
        let mut first: Option<BTreeMap<Bytes, (Rank, Option<Bytes>)>> = None;
        for (id, machine) in &world.machines {
            let entries = machine.disk.partition(partition);
            if !owners.contains(id) {
                let behind = machine
                    .node
                    .as_ref()
                    .and_then(|node| node.layout())
                    .is_none_or(|known| known.version < layout.version);
                if !behind && entries.count() > 0 {
                    return Some(format!(
                        "node {id} keeps what it does not own any more, {partition}"
                    ));
                }
                continue;
            }
            let live = entries.filter(|(_, entry)| entry.record.live(now_ms).is_some());
            let live: BTreeMap<_, _> = live
                .map(|(key, entry)| (key, (entry.rank(), entry.record.value)))
                .collect();
            match &first {
                None => first = Some(live),
                Some(first) if *first == live => {}
                Some(first) => {
                    return Some(format!(
                        "node {id} differs in partition {partition}: {live:?}, {first:?}"
                    ));
                }
            }
        }
        if owners.len() < 3 {
            return Some(format!("partition {partition} has {} owners", owners.len()));
        }
    }
    None
}

/// Deletions that everybody has are forgotten, sooner or later.
fn spent_remain(world: &World, stopped_at: u64) -> Option<String> {
    let layout = world.newest_layout()?;
    let then_ms = EPOCH_MS + stopped_at / 1000 + 200;
    for (id, machine) in &world.machines {
        for partition in layout.all_partitions() {
            for (key, entry) in machine.disk.partition(partition) {
                if entry.record.value.is_none() && entry.record.version.ms() < then_ms {
                    return Some(format!("node {id} still has the deletion of {key:?}: {entry:?}"));
                }
            }
        }
    }
    None
}

/// A last look at every key, through every node, which the checkers judge like any other.
fn read_everything(world: &mut World, clients: &mut Clients) {
    let plain: Vec<Bytes> = (0..PLAIN)
        .map(|n| key('p', n))
        .chain((0..MIXED).map(|n| key('m', n)))
        .collect();
    for node in world.up() {
        if !world.machines[&node]
            .node
            .as_ref()
            .is_some_and(weald_cluster_proto::Node::is_serving)
        {
            continue;
        }
        let actions = plain.iter().map(|key| (key.clone(), Action::Get)).collect();
        let request = Request::Get {
            keys: plain.clone(),
            read: clients.meeting(),
        };
        clients.ask(world, 0, node, actions, true, request);
        settle(world, clients);
        for n in 0..REGISTERS {
            let key = key('r', n);
            clients.ask(
                world,
                0,
                node,
                vec![(key.clone(), Action::Read)],
                true,
                Request::GetRegister { key },
            );
            settle(world, clients);
        }
        let request = Request::Scan {
            start: b""[..].into(),
            end: None,
            limit: 100,
            read: Level::Cluster,
        };
        clients.ask(world, 0, node, Vec::new(), false, request);
        settle(world, clients);
    }
}

fn settle(world: &mut World, clients: &mut Clients) {
    while !clients.is_idle() {
        let next = world.time_us + 5_000;
        world.run_until(next);
        clients.step(world, false);
    }
}

fn check_histories(world: &mut World, clients: &Clients) {
    let mut by_key: BTreeMap<&Bytes, Vec<&Event>> = BTreeMap::new();
    for event in &clients.events {
        by_key.entry(&event.key).or_default().push(event);
    }
    for (key, events) in by_key {
        let result = if key.starts_with(b"r") {
            let direct: Vec<&Event> = events
                .into_iter()
                .filter(|event| event.action != Action::Get)
                .collect();
            check_register(&direct)
        } else {
            check_plain(&events, |us| EPOCH_MS + us / 1000, 2 * BOUND_MS)
        };
        if let Err(problem) = result {
            world
                .violations
                .push(format!("{}: {problem}", String::from_utf8_lossy(key)));
        }
    }
}

fn name(event: &NodeEvent) -> &'static str {
    match event {
        NodeEvent::Ready => "ready",
        NodeEvent::CopyRefused { .. } => "copy refused",
        NodeEvent::ClockJumped => "jump noticed",
        NodeEvent::ClockRefused => "clock refused",
        NodeEvent::Alive(_) => "found alive",
        NodeEvent::Suspected(_) => "suspected",
        NodeEvent::Dead(_) => "found dead",
        NodeEvent::Left(_) => "left",
        NodeEvent::Layout { .. } => "layout installed",
        NodeEvent::CaughtUp { .. } => "caught up",
        NodeEvent::Refused(_) => "message refused",
    }
}

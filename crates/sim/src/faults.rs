//! What goes wrong: drawn from the seed, each for a while, and undone.

use std::collections::BTreeMap;

use weald_cluster_proto::{
    Announcement, Body, Bytes, ClientToken, CopyId, Layout, LayoutChange, Member, MemberStatus, Message,
    NodeId, Phase, Request, Start, Update,
};

use crate::disk::Disk;
use crate::identity::STRANGERS;
use crate::network::Network;
use crate::world::World;

/// What undoes a fault.
enum Undo {
    Network,
    Unblock(Vec<(NodeId, NodeId)>),
    Start(NodeId),
    Resume(NodeId),
    Clock(NodeId, i64),
    Disk(NodeId),
    SlowDisk(NodeId),
}

/// The faults of a run.
pub(crate) struct Faults {
    undo: Vec<(u64, Undo)>,
    next_at: u64,
    /// How often something goes wrong.
    pause_us: u64,
    /// Layouts change all the time.
    restless: bool,
    /// A copy of the disk of a machine, from before.
    copy: Option<(NodeId, u64, Disk)>,
    /// A copy was lost: no other is until the cluster is whole again.
    lost_at: u64,
    next_node: u64,
    quiet_since: u64,
    tokens: u64,
    /// A node that comes and goes: how often still, and for how long each time.
    flapping: Option<(NodeId, u64, u64)>,
    flap_at: u64,
}

impl Faults {
    pub(crate) fn new(pause_us: u64, restless: bool) -> Faults {
        Faults {
            undo: Vec::new(),
            next_at: 1_000_000,
            pause_us,
            restless,
            copy: None,
            lost_at: 0,
            next_node: 20,
            quiet_since: 0,
            tokens: 1 << 40,
            flapping: None,
            flap_at: 0,
        }
    }

    pub(crate) fn step(&mut self, world: &mut World) {
        let now = world.time_us;
        let due: Vec<Undo> = {
            let (due, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.undo)
                .into_iter()
                .partition(|(at, _)| now >= *at);
            self.undo = open;
            due.into_iter().map(|(_, undo)| undo).collect()
        };
        for undo in due {
            self.undo_one(world, undo);
        }
        if !self.undo.is_empty() {
            self.quiet_since = now;
        }
        self.flap_on(world);
        if self.copy.is_none() {
            self.copy_disk(world);
        }
        if now >= self.next_at {
            self.next_at = now + self.pause_us / 2 + world.random.below(self.pause_us);
            self.strike(world);
        }
    }

    pub(crate) fn heal(&mut self, world: &mut World) {
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.undo_one(world, undo);
        }
        world.network = Network::calm();
        let ids: Vec<NodeId> = world.machines.keys().copied().collect();
        for id in ids {
            world.resume(id);
            if world.machines[&id].node.is_none() {
                world.start(id);
            }
        }
    }

    fn undo_one(&mut self, world: &mut World, undo: Undo) {
        match undo {
            Undo::Network => {
                let blocked = std::mem::take(&mut world.network.blocked);
                world.network = Network {
                    blocked,
                    ..Network::calm()
                };
            }
            Undo::Unblock(pairs) => pairs.iter().for_each(|pair| {
                world.network.blocked.remove(pair);
            }),
            Undo::Start(id) => {
                if world
                    .machines
                    .get(&id)
                    .is_some_and(|machine| machine.node.is_none())
                {
                    world.start(id);
                    world.count("restart");
                }
            }
            Undo::Resume(id) => world.resume(id),
            Undo::Clock(id, skew) => {
                if let Some(machine) = world.machines.get_mut(&id) {
                    machine.skew_ms = skew;
                }
            }
            Undo::SlowDisk(id) => {
                if let Some(machine) = world.machines.get_mut(&id) {
                    machine.disk_slow_us = 0;
                }
            }
            Undo::Disk(id) => {
                if let Some(machine) = world.machines.get_mut(&id) {
                    machine.disk_fails = 0;
                }
            }
        }
    }

    fn after(&mut self, world: &mut World, least_ms: u64, most_ms: u64, undo: Undo) {
        let at = world.time_us + 1000 * (least_ms + world.random.below(most_ms - least_ms));
        self.undo.push((at, undo));
    }

    fn strike(&mut self, world: &mut World) {
        let ids: Vec<NodeId> = world.machines.keys().copied().collect();
        let Some(&id) = world.random.pick(&ids) else {
            return;
        };
        // Some runs are mostly about layouts.
        if self.restless && world.random.chance(500) {
            return self.change_layout(world, id);
        }
        match world.random.below(115) {
            110.. => self.flap(world, id, &ids),
            105..110 => self.slow_disk(world, id),
            100..105 => self.mute(world, id, &ids),
            0..10 => self.lossy(world),
            10..15 => self.slow(world),
            15..25 => self.one_way(world, &ids),
            25..35 => self.split(world, &ids),
            35..50 => {
                world.crash(id);
                self.after(world, 100, 3000, Undo::Start(id));
            }
            50..58 => {
                world.pause(id);
                self.after(world, 100, 4000, Undo::Resume(id));
            }
            58..64 => self.clock(world, id),
            64..70 => {
                if let Some(machine) = world.machines.get_mut(&id) {
                    machine.disk_fails = 200;
                    self.after(world, 100, 1500, Undo::Disk(id));
                }
            }
            70..73 => {
                world.count("all crashed at once");
                for &id in &ids {
                    world.crash(id);
                    self.after(world, 10, 800, Undo::Start(id));
                }
            }
            73..80 => self.lose_copy(world, id),
            80..83 => self.forge(world, &ids),
            _ => self.change_layout(world, id),
        }
    }

    fn lossy(&mut self, world: &mut World) {
        world.network.drop = 20 + world.random.below(300);
        world.network.double = world.random.below(300);
        world.network.late_us = world.random.below(9_000_000);
        world.network.jitter_us = 1000 + world.random.below(50_000);
        world.count("lossy network");
        self.after(world, 300, 2500, Undo::Network);
    }

    fn slow(&mut self, world: &mut World) {
        world.network.delay_us = 1000 + world.random.below(80_000);
        world.network.jitter_us = world.random.below(100_000);
        world.count("slow network");
        self.after(world, 300, 2000, Undo::Network);
    }

    fn block(&mut self, world: &mut World, pairs: Vec<(NodeId, NodeId)>) {
        world.network.blocked.extend(&pairs);
        self.after(world, 200, 4000, Undo::Unblock(pairs));
    }

    fn one_way(&mut self, world: &mut World, ids: &[NodeId]) {
        let (Some(&from), Some(&to)) = (world.random.pick(ids), world.random.pick(ids)) else {
            return;
        };
        world.count("one-way partition");
        self.block(world, vec![(from, to)]);
    }

    /// A node hears everything, and nobody hears it, for so long that what it began fails.
    fn mute(&mut self, world: &mut World, id: NodeId, ids: &[NodeId]) {
        world.count("node muted");
        let pairs: Vec<(NodeId, NodeId)> = ids.iter().map(|&to| (id, to)).collect();
        world.network.blocked.extend(&pairs);
        self.after(world, 1600, 3000, Undo::Unblock(pairs));
    }

    /// A node comes and goes, so fast that nobody can be sure of it.
    fn flap(&mut self, world: &mut World, id: NodeId, ids: &[NodeId]) {
        world.count("node flaps");
        let pairs: Vec<(NodeId, NodeId)> = ids.iter().flat_map(|&other| [(id, other), (other, id)]).collect();
        world.network.blocked.extend(&pairs);
        let (times, period_ms) = (2 + world.random.below(8), 50 + world.random.below(400));
        self.flapping = Some((id, times, period_ms));
        self.after(world, period_ms, 2 * period_ms, Undo::Unblock(pairs));
    }

    fn flap_on(&mut self, world: &mut World) {
        let Some((id, times, period_ms)) = self.flapping else {
            return;
        };
        let (blocked, at) = (
            world.network.blocked.iter().any(|(from, _)| *from == id),
            world.time_us,
        );
        if blocked || at < self.flap_at {
            return;
        }
        self.flap_at = at + 2 * period_ms * 1000;
        self.flapping = (times > 0).then(|| (id, times - 1, period_ms));
        let ids: Vec<NodeId> = world.machines.keys().copied().collect();
        let pairs: Vec<(NodeId, NodeId)> = ids.iter().flat_map(|&other| [(id, other), (other, id)]).collect();
        world.network.blocked.extend(&pairs);
        self.after(world, period_ms, 2 * period_ms, Undo::Unblock(pairs));
    }

    /// Everything that a disk does takes long, but is done.
    fn slow_disk(&mut self, world: &mut World, id: NodeId) {
        let slow_us = 5_000 + world.random.below(300_000);
        if let Some(machine) = world.machines.get_mut(&id) {
            machine.disk_slow_us = slow_us;
            world.count("slow disk");
            self.after(world, 300, 2000, Undo::SlowDisk(id));
        }
    }

    fn split(&mut self, world: &mut World, ids: &[NodeId]) {
        let side: BTreeMap<NodeId, bool> = ids.iter().map(|&id| (id, world.random.chance(400))).collect();
        let mut pairs = Vec::new();
        for (&a, here) in &side {
            pairs.extend(
                side.iter()
                    .filter(|(_, there)| *there != here)
                    .map(|(&b, _)| (a, b)),
            );
        }
        world.count("partition");
        self.block(world, pairs);
    }

    fn clock(&mut self, world: &mut World, id: NodeId) {
        // One at a time: nodes believe most of those they hear, so two that are wrong together may be believed.
        let wrong = world
            .machines
            .values()
            .any(|machine| machine.skew_ms.abs() > 1000);
        let far = world.random.chance(600) && !wrong;
        let by = if far { 3_600_000 } else { 150 } + world.random.below(100) as i64;
        let back = world.random.chance(500);
        let Some(machine) = world.machines.get_mut(&id) else {
            return;
        };
        let before = machine.skew_ms;
        if before.abs() > 1000 {
            return;
        }
        machine.skew_ms = if back { -by } else { by };
        world.count(if far {
            "clock jumped by an hour"
        } else {
            "clock stepped"
        });
        self.after(world, 500, 5000, Undo::Clock(id, before));
    }

    /// The layout, if nothing moves and everybody in it is up with the copy that it names.
    fn whole(&self, world: &World) -> Option<Layout> {
        let layout = world
            .newest_layout()
            .filter(|layout| layout.phase == Phase::Stable)?;
        let there = |(id, member): (&NodeId, &Member)| {
            let node = world.machines.get(id).and_then(|machine| machine.node.as_ref());
            node.is_some_and(|node| {
                node.is_serving()
                    && node.owner().copy == member.copy
                    && node.layout().is_some_and(|known| known.version == layout.version)
            })
        };
        layout.current.members.iter().all(there).then_some(layout)
    }

    fn copy_disk(&mut self, world: &mut World) {
        if let Some(layout) = self.whole(world) {
            let ids: Vec<NodeId> = layout.current.members.keys().copied().collect();
            if let Some(&id) = world.random.pick(&ids) {
                let mut disk = world.machines[&id].disk.clone();
                disk.power_cut(&mut world.random);
                self.copy = Some((id, world.time_us, disk));
            }
        }
    }

    /// A disk is swapped for an empty one, or for a copy from before. One at a time: what is acknowledged is on a quorum, and others must have it.
    fn lose_copy(&mut self, world: &mut World, id: NodeId) {
        let Some(layout) = self.whole(world) else { return };
        if world.time_us < self.lost_at + 2_000_000 || layout.current.members.len() < 3 {
            return;
        }
        let old = self.copy.take_if(|(_, at, _)| world.time_us > *at + 3_000_000);
        let seeds: Vec<Bytes> = layout
            .current
            .members
            .keys()
            .map(|node| node.0.to_le_bytes().as_slice().into())
            .collect();
        let quiet = self.undo.is_empty() && world.time_us > self.quiet_since + 700_000;
        // A copy from before shows by its time, which the others must have heard.
        let (id, disk, what) = match old {
            Some((id, _, disk)) if quiet && layout.current.members.contains_key(&id) => {
                (id, disk, "old copy put back")
            }
            _ => (id, Disk::default(), "disk swapped"),
        };
        if !layout.current.members.contains_key(&id) {
            return;
        }
        self.lost_at = world.time_us;
        world.crash(id);
        world.count(what);
        let Some(machine) = world.machines.get_mut(&id) else {
            return;
        };
        machine.disk = Disk {
            last_wins: machine.disk.last_wins,
            ..disk
        };
        world.set_start(id, Start::Join(seeds));
        world.start(id);
    }

    fn change_layout(&mut self, world: &mut World, id: NodeId) {
        let Some(layout) = world.newest_layout() else {
            return;
        };
        let members: Vec<NodeId> = layout.current.members.keys().copied().collect();
        let Some(&someone) = world.random.pick(&members) else {
            return;
        };
        let up = world.up();
        let Some(&asked) = world.random.pick(&up) else {
            return;
        };
        if layout.phase == Phase::Moving && world.random.chance(150) {
            world.count("change aborted");
            return self.ask(world, asked, LayoutChange::Abort);
        }
        let spare: Vec<NodeId> = world
            .machines
            .keys()
            .copied()
            .filter(|id| !members.contains(id))
            .collect();
        match world.random.below(4) {
            0 if world.machines.len() < 7 => {
                self.next_node += 1;
                let node = NodeId(self.next_node);
                let seeds = vec![
                    someone.0.to_le_bytes().as_slice().into(),
                    id.0.to_le_bytes().as_slice().into(),
                ];
                world.add(node, Start::Join(seeds));
                world.count("node joins");
            }
            1 if members.len() > 3 => {
                world.count("node leaves");
                let (join, leave) = (BTreeMap::new(), vec![someone]);
                self.ask(world, asked, LayoutChange::Members { join, leave });
            }
            2 => {
                let mut member = layout.current.members[&someone].clone();
                member.weight = 1 + (member.weight % 3);
                world.count("weight changes");
                let (join, leave) = (BTreeMap::from([(someone, member)]), Vec::new());
                self.ask(world, asked, LayoutChange::Members { join, leave });
            }
            _ => {
                let Some(owner) = spare.first().and_then(|&id| world.owner(id)) else {
                    return;
                };
                let member = Member {
                    copy: owner.copy,
                    weight: 1,
                    zone: world.zone(owner.node),
                    address: owner.node.0.to_le_bytes().as_slice().into(),
                };
                world.count("node replaced");
                let (join, leave) = (BTreeMap::from([(owner.node, member)]), vec![someone]);
                self.ask(world, asked, LayoutChange::Members { join, leave });
            }
        }
    }

    fn ask(&mut self, world: &mut World, node: NodeId, change: LayoutChange) {
        self.tokens += 1;
        world.request(node, ClientToken(self.tokens), Request::ChangeLayout(change));
    }

    /// Messages that an attacker could make: none of them may change anything.
    fn forge(&mut self, world: &mut World, ids: &[NodeId]) {
        let (Some(&from), Some(&to)) = (world.random.pick(ids), world.random.pick(ids)) else {
            return;
        };
        if from == to {
            return;
        }
        let subject = if world.random.chance(500) {
            NodeId(STRANGERS + 1)
        } else {
            from
        };
        let announcement = Announcement {
            cluster: 77,
            node: subject,
            copy: CopyId(9),
            boot: 1 << 30,
            run: 1,
            denied: 0,
            leaving: true,
            address: b"elsewhere"[..].into(),
            signature: b"forged"[..].into(),
        };
        let update = Update {
            announcement: announcement.clone(),
            status: MemberStatus::Dead,
            by: from,
        };
        let bodies = [
            Body::Ping {
                seq: 1,
                wall_ms: 0,
                updates: vec![update],
            },
            Body::Hello {
                announcement: announcement.clone(),
                ceiling: 0,
            },
            Body::Join {
                announcement,
                weight: 1,
                zone: 0,
            },
        ];
        for (number, body) in bodies.into_iter().enumerate() {
            let message = Message {
                cluster: 77 + u64::from(number == 2),
                from,
                copy: CopyId(9),
                layout: 0,
                stamp: u64::MAX,
                body,
            };
            world.inject(from, to, message.encode());
        }
        world.count("forged messages");
    }
}

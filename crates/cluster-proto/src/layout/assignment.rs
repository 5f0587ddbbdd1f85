//! Who owns what, computed from who owned it before: weighted, spread over zones, moving as little as it can.
//!
//! Each member's share of the replicas follows its weight. Members above their share give up partitions, members below take them, a replica moves only for that, or to
//! have a key in more zones. Primaries are balanced last, which moves no data. Everything is decided by order and number: the same input gives the same layout.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assignment, LayoutError, Member};
use crate::id::NodeId;

pub(super) fn assign(
    before: Option<&Assignment>,
    members: BTreeMap<NodeId, Member>,
    partitions: usize,
    replica_count: u8,
) -> Result<Assignment, LayoutError> {
    if members.is_empty() || members.values().any(|member| member.weight == 0) {
        return Err(LayoutError::Invalid);
    }
    let replicas = usize::from(replica_count).min(members.len());
    let mut board = Board::new(before, &members, partitions, replicas);
    board.give_up_zones();
    board.give_up_excess();
    board.fill();
    board.even_out();
    let owners = balance_primaries(board.owners, &members);
    Ok(Assignment { members, owners })
}

struct Board<'a> {
    members: &'a BTreeMap<NodeId, Member>,
    owners: Vec<Vec<NodeId>>,
    load: BTreeMap<NodeId, usize>,
    share: BTreeMap<NodeId, usize>,
    replicas: usize,
    zones: usize,
}

impl<'a> Board<'a> {
    fn new(
        before: Option<&Assignment>,
        members: &'a BTreeMap<NodeId, Member>,
        partitions: usize,
        replicas: usize,
    ) -> Board<'a> {
        let stays = |owners: &Vec<NodeId>| {
            let kept = owners.iter().copied().filter(|node| members.contains_key(node));
            kept.take(replicas).collect::<Vec<_>>()
        };
        let owners = before.map_or_else(
            || vec![Vec::new(); partitions],
            |before| before.owners.iter().map(stays).collect(),
        );
        let mut load: BTreeMap<NodeId, usize> = members.keys().map(|&node| (node, 0)).collect();
        for node in owners.iter().flatten() {
            *load.entry(*node).or_default() += 1;
        }
        let zones: BTreeSet<u32> = members.values().map(|member| member.zone).collect();
        Board {
            members,
            owners,
            load,
            share: shares(members, partitions, replicas),
            replicas,
            zones: zones.len(),
        }
    }

    fn zone(&self, node: NodeId) -> u32 {
        self.members[&node].zone
    }

    fn excess(&self, node: NodeId) -> i64 {
        self.load[&node] as i64 - self.share[&node] as i64
    }

    fn remove(&mut self, partition: usize, node: NodeId) {
        self.owners[partition].retain(|&owner| owner != node);
        *self.load.get_mut(&node).expect("owners are members") -= 1;
    }

    fn add(&mut self, partition: usize, node: NodeId) {
        self.owners[partition].push(node);
        *self.load.get_mut(&node).expect("owners are members") += 1;
    }

    /// Where a partition is in fewer zones than it could be, the second replica of a zone goes.
    fn give_up_zones(&mut self) {
        for partition in 0..self.owners.len() {
            loop {
                let owners = &self.owners[partition];
                let distinct: BTreeSet<u32> = owners.iter().map(|&node| self.zone(node)).collect();
                if owners.len() < self.replicas || distinct.len() >= self.zones.min(self.replicas) {
                    break;
                }
                let twice = |node: &NodeId| {
                    owners
                        .iter()
                        .filter(|&&other| self.zone(other) == self.zone(*node))
                        .count()
                        > 1
                };
                let Some(&worst) = owners
                    .iter()
                    .filter(|node| twice(node))
                    .max_by_key(|&&node| (self.excess(node), node))
                else {
                    break;
                };
                self.remove(partition, worst);
            }
        }
    }

    fn give_up_excess(&mut self) {
        for partition in 0..self.owners.len() {
            let above = |node: &NodeId| self.excess(*node) > 0;
            let worst = self.owners[partition]
                .iter()
                .copied()
                .filter(above)
                .max_by_key(|&node| (self.excess(node), node));
            if let Some(worst) = worst {
                self.remove(partition, worst);
            }
        }
    }

    /// How good a node would be as one more owner: a zone that is not there yet first, then whoever is furthest below its share.
    fn fitness(&self, partition: usize, node: NodeId) -> (bool, i64, NodeId) {
        let zone = self.zone(node);
        let fresh = self.owners[partition]
            .iter()
            .all(|&owner| self.zone(owner) != zone);
        (
            !fresh,
            self.excess(node) * 1000 / (self.share[&node] as i64 + 1),
            node,
        )
    }

    fn fill(&mut self) {
        for partition in 0..self.owners.len() {
            while self.owners[partition].len() < self.replicas {
                let free = self
                    .members
                    .keys()
                    .copied()
                    .filter(|node| !self.owners[partition].contains(node));
                let best = free.min_by_key(|&node| self.fitness(partition, node));
                self.add(
                    partition,
                    best.expect("there are at least as many members as replicas"),
                );
            }
        }
    }

    /// Where filling up left somebody two or more above another who could take it, it moves.
    fn even_out(&mut self) {
        for _ in 0..self.owners.len() * self.replicas {
            let Some((partition, from, to)) = self.one_move() else {
                return;
            };
            self.remove(partition, from);
            self.add(partition, to);
        }
    }

    fn one_move(&self) -> Option<(usize, NodeId, NodeId)> {
        let mut by_excess: Vec<NodeId> = self.members.keys().copied().collect();
        by_excess.sort_by_key(|&node| (self.excess(node), node));
        for &from in by_excess.iter().rev() {
            for &to in by_excess
                .iter()
                .take_while(|&&to| self.excess(from) - self.excess(to) >= 2)
            {
                let movable = |owners: &Vec<NodeId>| {
                    let zone = self.zone(to);
                    let others = owners.iter().filter(|&&owner| owner != from);
                    owners.contains(&from)
                        && !owners.contains(&to)
                        && (zone == self.zone(from) || others.clone().all(|&owner| self.zone(owner) != zone))
                };
                if let Some(partition) = self.owners.iter().position(movable) {
                    return Some((partition, from, to));
                }
            }
        }
        None
    }
}

/// How many replicas each member should hold: by weight, no more than one of each partition, and whole numbers that add up.
fn shares(members: &BTreeMap<NodeId, Member>, partitions: usize, replicas: usize) -> BTreeMap<NodeId, usize> {
    let mut shares: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut open: BTreeSet<NodeId> = members.keys().copied().collect();
    let mut left = partitions * replicas;
    // A member that would hold every partition holds exactly that; the others share the rest.
    loop {
        let weight: u64 = open.iter().map(|node| u64::from(members[node].weight)).sum();
        let full =
            |node: &NodeId| left as u64 * u64::from(members[node].weight) >= weight * partitions as u64;
        let Some(node) = open.iter().copied().find(|node| full(node)) else {
            break;
        };
        open.remove(&node);
        shares.insert(node, partitions.min(left));
        left -= partitions.min(left);
    }
    let weight: u64 = open.iter().map(|node| u64::from(members[node].weight)).sum();
    let mut remainders = Vec::new();
    let mut given = 0;
    for &node in &open {
        let exact = left as u64 * u64::from(members[&node].weight);
        shares.insert(node, (exact / weight) as usize);
        given += (exact / weight) as usize;
        remainders.push((std::cmp::Reverse(exact % weight), node));
    }
    remainders.sort();
    for (_, node) in remainders.into_iter().take(left - given) {
        *shares.entry(node).or_default() += 1;
    }
    shares
}

/// Puts one owner of each partition first, so that everybody is first in proportion to its weight.
fn balance_primaries(mut owners: Vec<Vec<NodeId>>, members: &BTreeMap<NodeId, Member>) -> Vec<Vec<NodeId>> {
    let mut first: BTreeMap<NodeId, u64> = members.keys().map(|&node| (node, 0)).collect();
    let pressure = |first: &BTreeMap<NodeId, u64>, node: NodeId, more: u64| {
        (first[&node] + more) * 1_000_000 / u64::from(members[&node].weight)
    };
    for owners in &mut owners {
        owners.sort_by_key(|&node| (pressure(&first, node, 0), node));
        *first.entry(owners[0]).or_default() += 1;
    }
    // Swaps as long as they help: a swap lowers the pressure of the more loaded one, so this ends; the count is for the reader.
    for _ in 0..owners.len() {
        let mut changed = false;
        for owners in &mut owners {
            let now = owners[0];
            let better = (1..owners.len()).min_by_key(|&i| (pressure(&first, owners[i], 1), owners[i]));
            if let Some(i) = better.filter(|&i| pressure(&first, owners[i], 1) < pressure(&first, now, 0)) {
                *first.entry(owners[i]).or_default() += 1;
                *first.entry(now).or_default() -= 1;
                owners.swap(0, i);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    for owners in &mut owners {
        owners[1..].sort();
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CopyId;

    fn members(list: &[(u64, u32, u32)]) -> BTreeMap<NodeId, Member> {
        let member = |&(node, weight, zone): &(u64, u32, u32)| {
            let member = Member {
                copy: CopyId(node),
                weight,
                zone,
                address: Vec::new().into(),
            };
            (NodeId(node), member)
        };
        list.iter().map(member).collect()
    }

    fn even(count: u64) -> BTreeMap<NodeId, Member> {
        members(&(1..=count).map(|node| (node, 1, 0)).collect::<Vec<_>>())
    }

    fn loads(assignment: &Assignment) -> BTreeMap<NodeId, (usize, usize)> {
        let mut loads: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
        for owners in &assignment.owners {
            loads.entry(owners[0]).or_default().1 += 1;
            for &node in owners {
                loads.entry(node).or_default().0 += 1;
            }
        }
        loads
    }

    fn moved(before: &Assignment, after: &Assignment) -> usize {
        let pairs = before.owners.iter().zip(&after.owners);
        pairs
            .map(|(before, after)| after.iter().filter(|node| !before.contains(node)).count())
            .sum()
    }

    #[test]
    fn shares_and_primaries_are_even() {
        for count in 1..=9 {
            let assignment = assign(None, even(count), 1024, 3).unwrap();
            let loads = loads(&assignment);
            let (replicas, primaries): (Vec<_>, Vec<_>) = loads.values().copied().unzip();
            assert!(
                replicas.iter().max().unwrap() - replicas.iter().min().unwrap() <= 1,
                "{count}: {replicas:?}"
            );
            assert!(
                primaries.iter().max().unwrap() - primaries.iter().min().unwrap() <= 2,
                "{count}: {primaries:?}"
            );
        }
    }

    #[test]
    fn one_who_joins_gets_its_share_and_nothing_else_moves() {
        let before = assign(None, even(4), 1024, 3).unwrap();
        let after = assign(Some(&before), even(5), 1024, 3).unwrap();
        assert_eq!(loads(&after)[&NodeId(5)].0, moved(&before, &after));
        assert!(moved(&before, &after) <= 1024 * 3 / 5 + 1);
    }

    #[test]
    fn one_who_leaves_gives_up_its_share_and_nothing_else_moves() {
        let before = assign(None, even(5), 1024, 3).unwrap();
        let after = assign(Some(&before), even(4), 1024, 3).unwrap();
        let gone = loads(&before)[&NodeId(5)].0;
        assert!(
            moved(&before, &after) <= gone + 8,
            "{} for {gone}",
            moved(&before, &after)
        );
    }

    #[test]
    fn weights_count() {
        let assignment = assign(
            None,
            members(&[(1, 1, 0), (2, 1, 0), (3, 2, 0), (4, 2, 0)]),
            512,
            2,
        )
        .unwrap();
        let loads = loads(&assignment);
        assert!(
            loads[&NodeId(3)].0.abs_diff(2 * loads[&NodeId(1)].0) <= 4,
            "{loads:?}"
        );
        assert!(
            loads[&NodeId(3)].1.abs_diff(2 * loads[&NodeId(1)].1) <= 4,
            "{loads:?}"
        );
    }

    #[test]
    fn every_partition_is_in_as_many_zones_as_it_can() {
        let flat = assign(
            None,
            members(&[(1, 1, 1), (2, 1, 1), (3, 1, 2), (4, 1, 2)]),
            256,
            3,
        )
        .unwrap();
        let with = members(&[(1, 1, 1), (2, 1, 1), (3, 1, 2), (4, 1, 2), (5, 1, 3), (6, 1, 3)]);
        let after = assign(Some(&flat), with.clone(), 256, 3).unwrap();
        for owners in &after.owners {
            let zones: BTreeSet<u32> = owners.iter().map(|node| with[node].zone).collect();
            assert_eq!(zones.len(), 3);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_layout() {
        assert_eq!(assign(None, even(7), 64, 3), assign(None, even(7), 64, 3));
    }
}

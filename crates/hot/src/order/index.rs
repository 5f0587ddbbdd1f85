//! Finding, linking and killing nodes.

use std::cmp::Ordering as Order;

use crate::actor::Actor;
use crate::error::{Error, Result, corrupt};
use crate::order::node::{DEAD, HEAD, LEVELS, MARK, Node};
use crate::protocol::RETRIES;
use crate::region::Shared;
use crate::session::field;
use crate::sync::{AtomicU64, Ordering};

/// For each level the tower of the last node before a key, and the first node not before it, 0 for none.
pub(crate) struct Path {
    pub(crate) towers: [u64; LEVELS],
    pub(crate) nodes: [u64; LEVELS],
}

/// Up to where a search goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The first node whose key is at least the one that is looked for.
    AtLeast,
    /// The first node whose key is greater.
    Beyond,
}

impl Shared {
    /// Searches for a key, and unlinks killed nodes on the way. The caller is pinned.
    pub(crate) fn seek(&self, key: &[u8], until: Until) -> Result<Path> {
        'search: for _ in 0..RETRIES {
            let mut path = Path {
                towers: [HEAD; LEVELS],
                nodes: [0; LEVELS],
            };
            let mut tower = HEAD;
            let mut steps = self.layout.len / 64;
            for level in (0..LEVELS).rev() {
                let mut link = self.tower_link(tower, level)?;
                let mut next = link.load(Ordering::Acquire) & !MARK;
                while next != 0 {
                    steps = match steps.checked_sub(1) {
                        Some(steps) => steps,
                        None => return corrupt("a list that ends", next),
                    };
                    let node = Node::load(self, next)?;
                    let behind = node.link(level)?.load(Ordering::Acquire);
                    if behind & MARK != 0 {
                        let unlinked =
                            link.compare_exchange(next, behind & !MARK, Ordering::AcqRel, Ordering::Acquire);
                        if unlinked.is_err() {
                            continue 'search;
                        }
                        next = behind & !MARK;
                        continue;
                    }
                    match (node.compare(key), until) {
                        (Order::Less, _) | (Order::Equal, Until::Beyond) => {}
                        _ => break,
                    }
                    tower = node.tower();
                    link = node.link(level)?;
                    next = behind;
                }
                path.towers[level] = tower;
                path.nodes[level] = next;
            }
            return Ok(path);
        }
        Err(Error::Again("a list that others keep changing"))
    }

    fn tower_link(&self, tower: u64, level: usize) -> Result<&AtomicU64> {
        if tower != HEAD {
            self.layout.volume_of(tower)?;
        }
        self.map.word(tower + level as u64 * 8)
    }

    /// The last node before a key, or of all where there is no key.
    pub(crate) fn node_before(&self, key: Option<&[u8]>) -> Result<Option<Node<'_>>> {
        if let Some(key) = key {
            let tower = self.seek(key, Until::AtLeast)?.towers[0];
            return if tower == HEAD {
                Ok(None)
            } else {
                Node::load(self, tower - 32).map(Some)
            };
        }
        let mut last = None;
        let mut steps = self.layout.len / 64;
        for level in (0..LEVELS).rev() {
            let mut next = match &last {
                None => self.tower_link(HEAD, level)?,
                Some(node) => Node::link(node, level)?,
            }
            .load(Ordering::Acquire);
            while next & !MARK != 0 {
                steps = match steps.checked_sub(1) {
                    Some(steps) => steps,
                    None => return corrupt("a list that ends", next),
                };
                let node = Node::load(self, next & !MARK)?;
                next = node.link(level)?.load(Ordering::Acquire);
                last = Some(node);
            }
        }
        Ok(last)
    }
}

impl<'a> Actor<'a> {
    /// A node for a key, made if there is none.
    pub(crate) fn ensure_node(&mut self, key: &[u8]) -> Result<Node<'a>> {
        let shared = self.shared;
        for _ in 0..RETRIES {
            let path = shared.seek(key, Until::AtLeast)?;
            if path.nodes[0] != 0 {
                let node = Node::load(shared, path.nodes[0])?;
                if node.compare(key) == Order::Equal {
                    if !node.is_dead() {
                        return Ok(node);
                    }
                    self.unlink(node)?;
                    continue;
                }
            }
            let node = self.create_node(key)?;
            for (link, &next) in node.links().iter().zip(&path.nodes) {
                link.store(next, Ordering::Relaxed);
            }
            let first = shared.tower_link(path.towers[0], 0)?;
            // Release: whoever follows the link sees the node.
            if first
                .compare_exchange(path.nodes[0], node.offset, Ordering::AcqRel, Ordering::Acquire)
                .is_err()
            {
                self.discard(node.offset)?;
                continue;
            }
            self.raise(node, key, path)?;
            self.declare(node.offset)?;
            return Ok(node);
        }
        Err(Error::Again("a list that others keep changing"))
    }

    /// Links a node of ours, which is in the list, into the levels above. Nobody can kill it before it is declared live.
    fn raise(&self, node: Node<'a>, key: &[u8], mut path: Path) -> Result<()> {
        for level in 1..node.links().len() {
            for _ in 0..RETRIES {
                let link = self.shared.tower_link(path.towers[level], level)?;
                let next = path.nodes[level];
                if next == node.offset {
                    break;
                }
                node.link(level)?.store(next, Ordering::Relaxed);
                if link
                    .compare_exchange(next, node.offset, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
                {
                    break;
                }
                path = self.shared.seek(key, Until::AtLeast)?;
            }
        }
        Ok(())
    }

    /// Makes sure that a key which was just inserted has a node that nobody kills for the time before.
    pub(crate) fn renew(&mut self, key: &[u8], mut node: Node<'a>) -> Result<()> {
        for _ in 0..RETRIES {
            // Against the compare-and-swap in `kill`, and after the insertion into the map.
            if node.stamp().fetch_add(1, Ordering::SeqCst) & DEAD == 0 {
                return Ok(());
            }
            node = self.ensure_node(key)?;
        }
        Err(Error::Again("a list that others keep changing"))
    }

    /// Kills the node of a key that the map doesn't have.
    pub(crate) fn kill_node(&mut self, key: &[u8]) -> Result<()> {
        let offset = self.shared.seek(key, Until::AtLeast)?.nodes[0];
        if offset == 0 {
            return Ok(());
        }
        let node = Node::load(self.shared, offset)?;
        let stamp = node.stamp().load(Ordering::SeqCst);
        if node.compare(key) != Order::Equal || !node.is_complete() {
            return Ok(());
        }
        if stamp & DEAD == 0 {
            // One that has expired still has its place in the map, and may be given a value there.
            if self.shared.find_any(self.shared.hash(key), key)?.is_some() {
                return Ok(());
            }
            self.own(field::OLD).store(offset, Ordering::Release);
            if node
                .stamp()
                .compare_exchange(stamp, stamp | DEAD, Ordering::SeqCst, Ordering::SeqCst)
                .is_err()
            {
                return Ok(());
            }
        }
        self.unlink(node)
    }

    /// Takes a dead node out of the list and retires it. Any number may do so at once.
    pub(crate) fn unlink(&mut self, node: Node<'a>) -> Result<()> {
        self.own(field::OLD).store(node.offset, Ordering::Release);
        let header = node.header();
        for link in node.links().iter().rev() {
            link.fetch_or(MARK, Ordering::AcqRel);
        }
        // Past all nodes of this key, so that it is met on every level.
        self.shared.seek(&node.key(), Until::Beyond)?;
        self.bury(node.offset, header)?;
        Ok(())
    }

    /// Whether a node is in the list.
    pub(crate) fn is_listed(&self, node: Node<'_>) -> Result<bool> {
        let found = self.shared.seek(&node.key(), Until::AtLeast)?.nodes[0];
        Ok(found == node.offset)
    }
}

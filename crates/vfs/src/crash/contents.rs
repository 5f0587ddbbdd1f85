//! The sectors of a file, as a persistent tree: a copy is one pointer, and a write to a shared tree copies
//! only the path to its sector.

use std::array;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

pub(super) const SECTOR: usize = 512;
pub(super) type Sector = [u8; SECTOR];

/// Sectors that were written together, and are kept so: one allocation, not eight.
pub(super) type Page = [Sector; 8];
pub(super) const PAGE: usize = size_of::<Page>();

const BITS: u32 = 4;
const FAN: usize = 1 << BITS;

/// A sector, or a part of the tree. `Hole` and `Zero` may stand for any number of sectors.
#[derive(Clone, Debug, Default)]
pub(super) enum Node {
    /// Never written: reads as zeros, takes no space.
    #[default]
    Hole,
    /// Zeros that take space.
    Zero,
    Data(Arc<Sector>),
    /// One of the sectors of a page.
    InPage(Arc<Page>, u8),
    Inner(Arc<[Node; FAN]>),
}

impl Node {
    /// The node for a sector with these bytes.
    pub(super) fn sector(bytes: &Sector) -> Node {
        if is_zero(bytes) {
            Node::Zero
        } else {
            Node::Data(Arc::new(*bytes))
        }
    }

    /// The nodes for a page with these bytes.
    pub(super) fn page(bytes: &Page) -> impl Iterator<Item = Node> {
        let page = Arc::new(*bytes);
        (0..8).map(move |i| match is_zero(&page[i]) {
            true => Node::Zero,
            false => Node::InPage(Arc::clone(&page), i as u8),
        })
    }

    /// The bytes of a sector; zeros but for data.
    pub(super) fn bytes(&self) -> Sector {
        self.data().copied().unwrap_or([0; SECTOR])
    }

    fn data(&self) -> Option<&Sector> {
        match self {
            Node::Data(sector) => Some(sector),
            Node::InPage(page, i) => Some(&page[usize::from(*i)]),
            Node::Hole | Node::Zero | Node::Inner(_) => None,
        }
    }

    pub(super) fn is_data(&self) -> bool {
        self.data().is_some()
    }

    fn children(&mut self) -> &mut [Node; FAN] {
        if !matches!(self, Node::Inner(_)) {
            let same = mem::take(self);
            *self = Node::Inner(Arc::new(array::from_fn(|_| same.clone())));
        }
        match self {
            Node::Inner(children) => Arc::make_mut(children),
            _ => unreachable!("made an inner node just above"),
        }
    }

    /// Puts `with`, a `Hole` or `Zero`, in the place of the sectors in `range`; in that of holes alone if
    /// `holes_only`.
    fn fill(&mut self, height: u32, base: u64, range: &Range<u64>, with: &Node, holes_only: bool) {
        let span = span(height);
        let covered = range.start <= base && base + span <= range.end;
        match self {
            Node::Zero | Node::Data(_) | Node::InPage(..) if holes_only => {}
            Node::Inner(_) if holes_only || !covered => {
                self.fill_children(height, base, range, with, holes_only);
            }
            _ if covered => *self = with.clone(),
            Node::Hole if matches!(with, Node::Hole) => {}
            _ => self.fill_children(height, base, range, with, holes_only),
        }
    }

    fn fill_children(&mut self, height: u32, base: u64, range: &Range<u64>, with: &Node, holes_only: bool) {
        let step = span(height - 1);
        for (i, child) in self.children().iter_mut().enumerate() {
            let start = base + i as u64 * step;
            if start < range.end && range.start < start + step {
                child.fill(height - 1, start, range, with, holes_only);
            }
        }
    }

    /// Shows the parts of `range`, in order, each a sector of data or a stretch of holes or zeros.
    fn walk(&self, height: u32, base: u64, range: &Range<u64>, show: &mut impl FnMut(Range<u64>, &Node)) {
        let Node::Inner(children) = self else {
            show(base.max(range.start)..(base + span(height)).min(range.end), self);
            return;
        };
        let step = span(height - 1);
        let first = range.start.saturating_sub(base) / step;
        for (i, child) in children.iter().enumerate().skip(first as usize) {
            let start = base + i as u64 * step;
            if start >= range.end {
                break;
            }
            child.walk(height - 1, start, range, show);
        }
    }
}

fn is_zero(bytes: &Sector) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// How many sectors a tree of this height has.
fn span(height: u32) -> u64 {
    1 << (BITS * height)
}

/// The sectors of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    root: Node,
    height: u32,
}

impl Contents {
    pub(super) fn get(&self, sector: u64) -> &Node {
        if sector >= span(self.height) {
            return &Node::Hole;
        }
        let mut node = &self.root;
        let mut height = self.height;
        while let Node::Inner(children) = node {
            height -= 1;
            node = &children[(sector >> (BITS * height)) as usize % FAN];
        }
        node
    }

    /// Puts `new` in the place of a sector and returns what was there.
    pub(super) fn set(&mut self, sector: u64, new: Node) -> Node {
        self.grow(sector + 1);
        let mut node = &mut self.root;
        for height in (0..self.height).rev() {
            node = &mut node.children()[(sector >> (BITS * height)) as usize % FAN];
        }
        mem::replace(node, new)
    }

    /// The nodes of the eight sectors from `first`, a multiple of eight, on.
    pub(super) fn page_mut(&mut self, first: u64) -> &mut [Node] {
        self.grow(first + 8);
        let mut node = &mut self.root;
        for height in (1..self.height).rev() {
            node = &mut node.children()[(first >> (BITS * height)) as usize % FAN];
        }
        &mut node.children()[first as usize % FAN..][..8]
    }

    /// Makes room for `sectors`.
    fn grow(&mut self, sectors: u64) {
        while sectors > span(self.height) {
            if !matches!(self.root, Node::Hole) {
                let mut children: [Node; FAN] = Default::default();
                children[0] = mem::take(&mut self.root);
                self.root = Node::Inner(Arc::new(children));
            }
            self.height += 1;
        }
    }

    /// Frees the sectors of a range.
    pub(super) fn free(&mut self, range: Range<u64>) {
        let range = range.start..range.end.min(span(self.height));
        if !range.is_empty() {
            self.root.fill(self.height, 0, &range, &Node::Hole, false);
        }
    }

    /// Gives the holes of a range space.
    pub(super) fn allocate(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.grow(range.end);
            self.root.fill(self.height, 0, &range, &Node::Zero, true);
        }
    }

    /// Shows the parts of `range`, in order, each a sector of data or a stretch of holes or zeros.
    pub(super) fn walk(&self, range: Range<u64>, mut show: impl FnMut(Range<u64>, &Node)) {
        let end = span(self.height);
        let inside = range.start..range.end.min(end);
        if !inside.is_empty() {
            self.root.walk(self.height, 0, &inside, &mut show);
        }
        let outside = range.start.max(end)..range.end;
        if !outside.is_empty() {
            show(outside, &Node::Hole);
        }
    }

    /// How many sectors of the range are holes.
    pub(super) fn holes(&self, range: Range<u64>) -> u64 {
        let mut holes = 0;
        self.walk(range, |part, node| {
            if matches!(node, Node::Hole) {
                holes += part.end - part.start;
            }
        });
        holes
    }

    /// How many sectors take space.
    pub(super) fn allocated(&self) -> u64 {
        span(self.height) - self.holes(0..span(self.height))
    }

    /// The sectors of the range that hold data.
    pub(super) fn data(&self, range: Range<u64>) -> Vec<u64> {
        let mut data = Vec::new();
        self.walk(range, |part, node| {
            if node.is_data() {
                data.push(part.start);
            }
        });
        data
    }

    /// Fills `buf` with the bytes from `offset` on.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) {
        const SIZE: u64 = SECTOR as u64;
        let end = offset + buf.len() as u64;
        self.walk(offset / SIZE..end.div_ceil(SIZE), |part, node| {
            let start = (part.start * SIZE).max(offset);
            let stop = (part.end * SIZE).min(end);
            let target = &mut buf[(start - offset) as usize..(stop - offset) as usize];
            match node.data() {
                Some(sector) => target.copy_from_slice(&sector[(start % SIZE) as usize..][..target.len()]),
                None => target.fill(0),
            }
        });
    }

    /// Drops all that lies at byte `len` and beyond.
    pub(super) fn cut(&mut self, len: u64) {
        let kept = (len % SECTOR as u64) as usize;
        let last = len / SECTOR as u64;
        if kept > 0 && self.get(last).is_data() {
            let mut bytes = self.get(last).bytes();
            bytes[kept..].fill(0);
            self.set(last, Node::sector(&bytes));
        }
        self.free(len.div_ceil(SECTOR as u64)..u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::super::chance::Dice;
    use super::*;

    #[test]
    fn a_tree_is_an_array() {
        let mut dice = Dice::new(1);
        for round in 0..50 {
            let size = [1, 16, 304, 5000][round % 4];
            let mut tree = Contents::default();
            let mut model = vec![None::<u8>; size as usize];
            let mut copies = Vec::new();
            for _ in 0..200 {
                let start = dice.below(size);
                let end = (start + dice.below(100)).min(size);
                let part = start as usize..end as usize;
                match dice.below(10) {
                    0 => {
                        tree.free(start..end);
                        model[part].fill(None);
                    }
                    1 => {
                        tree.allocate(start..end);
                        model[part].iter_mut().for_each(|cell| *cell = cell.or(Some(0)));
                    }
                    2 => copies.push((tree.clone(), model.clone())),
                    3 if size > 16 => {
                        let first = start / 8 * 8;
                        let page: Page = array::from_fn(|i| [(i % 3) as u8; SECTOR]);
                        let nodes = tree.page_mut(first).iter_mut().zip(Node::page(&page));
                        nodes.for_each(|(node, new)| *node = new);
                        model.resize(model.len().max(first as usize + 8), None);
                        (0..8).for_each(|i| model[first as usize + i] = Some((i % 3) as u8));
                    }
                    _ => {
                        let byte = dice.below(4) as u8;
                        tree.set(start, Node::sector(&[byte; SECTOR]));
                        model[start as usize] = Some(byte);
                    }
                }
            }
            copies.push((tree, model));
            for (tree, model) in copies {
                assert_eq!(
                    tree.holes(0..size),
                    model.iter().filter(|cell| cell.is_none()).count() as u64
                );
                assert_eq!(tree.allocated(), model.iter().flatten().count() as u64);
                let mut bytes = vec![9; size as usize * SECTOR];
                tree.read(&mut bytes, 0);
                for (i, cell) in model.iter().enumerate() {
                    let expected = cell.unwrap_or(0);
                    assert_eq!(tree.get(i as u64).bytes(), [expected; SECTOR]);
                    assert!(bytes[i * SECTOR..][..SECTOR].iter().all(|&b| b == expected));
                }
            }
        }
    }

    #[test]
    fn far_sectors_cost_little() {
        let mut tree = Contents::default();
        tree.set(u64::MAX >> 10, Node::sector(&[1; SECTOR]));
        assert!(tree.get(u64::MAX >> 10).is_data());
        assert_eq!(tree.data(0..u64::MAX >> 9), [u64::MAX >> 10]);
        tree.cut(5);
        assert_eq!(tree.allocated(), 0);
    }
}

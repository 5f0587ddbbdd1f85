//! Changing a tree: from changed entries to changed pages, level by level.
//!
//! The pages of a level are the entries of the next, so every level is rewritten alike. On each, a change is
//! looked at in a *window* of pages around it, wide enough that cuts outside don't feel it: as a rule the one
//! page whose run it falls in, in a run that had to be thinned some hundreds of entries to each side. What
//! comes out does not depend on what was there before, other than the entries.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::iter::Peekable;
use core::slice;

use super::cut::{self, FELT_AFTER, FELT_BEFORE};
use super::finger::Finger;
use super::page::{Overflow, PAGE_LEN_MAX, Page, PageEntry, height};
use super::source::Pages;
use crate::element::Element;
use crate::hash::Hash;
use crate::node::{LEVELS_MAX, Node, value_hash};

/// What an update changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The pages that change, by level and then by first key.
    pub pages: Vec<PageChange>,
    /// The level of the topmost page afterwards; `None` if the tree is empty.
    pub top_level: Option<u8>,
    /// The topmost node afterwards.
    pub top: Option<Node>,
    /// How many hashes were computed: values, leaves, heights and nodes.
    pub hashes: u64,
}

impl Changes {
    /// Where the page of that place is among those that change, or would be.
    fn find(&self, level: u8, key: &[u8]) -> Result<usize, usize> {
        self.pages
            .binary_search_by(|page| page.place().cmp(&(level, key)))
    }

    /// The root hash afterwards.
    #[must_use]
    pub fn root(&self) -> Hash {
        Node::root(self.top.as_ref())
    }
}

/// What becomes of a page, that is of the one of some level that begins with some key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageChange {
    /// It was not there.
    New(Arc<Page>),
    /// It has other entries.
    Replaced {
        /// As it was.
        before: Arc<Page>,
        /// As it is.
        after: Arc<Page>,
        /// How many entries at the beginning, and how many of the others at the end, both have at least.
        shared: (usize, usize),
    },
    /// It is no more.
    Gone(Arc<Page>),
}

impl PageChange {
    /// The page as it was, if there was one.
    #[must_use]
    pub fn before(&self) -> Option<&Arc<Page>> {
        match self {
            PageChange::New(_) => None,
            PageChange::Replaced { before, .. } | PageChange::Gone(before) => Some(before),
        }
    }

    /// The page as it is, if there is one.
    #[must_use]
    pub fn after(&self) -> Option<&Arc<Page>> {
        match self {
            PageChange::New(after) | PageChange::Replaced { after, .. } => Some(after),
            PageChange::Gone(_) => None,
        }
    }

    /// How many entries at the beginning, and how many of the others at the end, it has before and after. The first entry counts as one at the
    /// beginning only. Where only entries were set, and none came or went, there can be more.
    #[must_use]
    pub fn shared(&self) -> (usize, usize) {
        match self {
            PageChange::Replaced { shared, .. } => *shared,
            _ => (0, 0),
        }
    }

    /// Its level and first key.
    #[must_use]
    pub fn place(&self) -> (u8, &[u8]) {
        let (PageChange::New(page) | PageChange::Replaced { after: page, .. } | PageChange::Gone(page)) =
            self;
        (page.level(), page.first_key())
    }
}

/// Why an update can't be made. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateError<E> {
    /// The storage failed.
    Storage(E),
    /// The count or the sum of the tree would be too large.
    Overflow,
    /// The storage lacks a page that another names, or has one where none can be.
    Damaged,
}

impl<E: fmt::Display> fmt::Display for UpdateError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpdateError::Storage(error) => error.fmt(f),
            UpdateError::Overflow => f.write_str("the count or the sum of the tree would be too large"),
            UpdateError::Damaged => f.write_str("the tree lacks a page or has one too many"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for UpdateError<E> {}

impl<E> From<Overflow> for UpdateError<E> {
    fn from(_: Overflow) -> UpdateError<E> {
        UpdateError::Overflow
    }
}

/// A key, and what it is set to: `None` for removed.
type Edit = (Vec<u8>, Option<Head>);

/// An entry but for its key.
#[derive(Clone, Copy)]
struct Head {
    height: u8,
    node: Node,
}

impl Head {
    fn under(self, key: &[u8]) -> PageEntry<'_> {
        PageEntry {
            key,
            height: self.height,
            node: self.node,
        }
    }
}

/// The pages that change when each of those keys is set to its element, or removed where there is `None`.
///
/// The work is in proportion to the number of edits and the logarithm of the number of entries, whatever the
/// keys. The same contents give the same pages, whatever the order in which they came, and in what batches.
pub fn update<P: Pages, K: Borrow<[u8]>>(
    pages: &P,
    edits: &BTreeMap<K, Option<Element>>,
) -> Result<Changes, UpdateError<P::Error>> {
    let old_top = pages.top_level().map_err(UpdateError::Storage)?;
    let mut changes = Changes {
        pages: Vec::new(),
        top_level: old_top,
        top: None,
        hashes: 0,
    };
    let mut edits: Vec<Edit> = edits
        .iter()
        .map(|(key, element)| leaf(key.borrow(), element.as_ref(), &mut changes.hashes))
        .collect();
    let mut finger = Finger::new(pages);
    let mut level = 0;
    loop {
        let mut rewrite = Rewrite {
            finger: &mut finger,
            level,
            edits: &edits,
            changes: &mut changes,
            parents: Vec::new(),
        };
        rewrite.run()?;
        let parents = rewrite.parents;
        let inside = old_top.is_some_and(|top| level < top);
        if !inside && parents.iter().filter(|parent| parent.head.is_some()).count() < 2 {
            break;
        }
        // At the top every page is among the parents, so a level begun here has them all.
        let edited = parents.into_iter().filter(|parent| parent.changed || !inside);
        edits = edited.map(|parent| (parent.key, parent.head)).collect();
        level += 1;
        if level >= LEVELS_MAX {
            return Err(UpdateError::Damaged);
        }
    }
    lower_top(pages, &mut changes, level)?;
    Ok(changes)
}

/// Drops top pages that only repeat the one below them.
fn lower_top<P: Pages>(pages: &P, changes: &mut Changes, mut level: u8) -> Result<(), UpdateError<P::Error>> {
    let kept = |page: &PageChange| page.after().filter(|page| page.level() == level).cloned();
    let top = match changes.pages.iter().find_map(kept) {
        Some(page) => Some(page),
        None => {
            let page = pages.after(level, None).map_err(UpdateError::Storage)?;
            page.filter(|page| changes.find(level, page.first_key()).is_err())
        }
    };
    let Some(mut top) = top else {
        changes.top_level = None;
        return Ok(());
    };
    while level > 0 && top.len() == 1 {
        let first = top.first_key().to_vec();
        match changes.find(level, &first) {
            Ok(at) => match changes.pages[at].before().cloned() {
                Some(before) => changes.pages[at] = PageChange::Gone(before),
                None => drop(changes.pages.remove(at)),
            },
            Err(at) => changes.pages.insert(at, PageChange::Gone(top)),
        }
        level -= 1;
        let below = match changes.find(level, &first) {
            Ok(at) => changes.pages[at].after().cloned(),
            Err(_) => pages.page(level, &first).map_err(UpdateError::Storage)?,
        };
        top = below.ok_or(UpdateError::Damaged)?;
    }
    changes.top_level = Some(level);
    changes.top = Some(top.top());
    Ok(())
}

fn leaf(key: &[u8], element: Option<&Element>, hashes: &mut u64) -> Edit {
    let entry = element.map(|element| {
        *hashes += 3;
        let node = Node::leaf(key, &value_hash(&element.encode()), element.sum());
        Head {
            height: height(key),
            node,
        }
    });
    (key.to_vec(), entry)
}

/// A page of a rewritten level, or one that is no more, for the level above.
struct Parent {
    key: Vec<u8>,
    head: Option<Head>,
    changed: bool,
}

/// One level being rewritten.
struct Rewrite<'a, 'p, P> {
    finger: &'a mut Finger<'p, P>,
    level: u8,
    edits: &'a [Edit],
    changes: &'a mut Changes,
    parents: Vec<Parent>,
}

/// Pages next to each other, with the edits that fall among them.
struct Window<'a> {
    pages: VecDeque<Arc<Page>>,
    /// The only page, if the edits set nothing but keys that it has.
    page_stays: Option<Arc<Page>>,
    edits: &'a [Edit],
    /// Whether the run goes on to the left, and to the right.
    cut_left: bool,
    cut_right: bool,
}

/// Entries to read to the left of a change in a long run, so that what is decided there is decided as from
/// its start.
const CONTEXT: usize = FELT_BEFORE + FELT_AFTER + PAGE_LEN_MAX;

impl<'a, P: Pages> Rewrite<'a, '_, P> {
    fn run(&mut self) -> Result<(), UpdateError<P::Error>> {
        let mut rest = self.edits;
        while !rest.is_empty() {
            let window = self.window(rest)?;
            rest = &rest[window.edits.len()..];
            match &window.page_stays {
                Some(page) => self.replace(page, window.edits)?,
                None => self.rewrite(&window)?,
            }
        }
        Ok(())
    }

    /// The window around the first of `edits`.
    fn window(&mut self, edits: &'a [Edit]) -> Result<Window<'a>, UpdateError<P::Error>> {
        let mut window = Window {
            pages: VecDeque::new(),
            page_stays: None,
            edits,
            cut_left: false,
            cut_right: false,
        };
        let Some(place) = self.finger.find(self.level, &edits[0].0)? else {
            return Ok(window);
        };
        let (page, is_first) = (place.page.clone(), place.is_first);
        let next = place.next();
        let here = edits_before(edits, next);
        // Without a look at its neighbours, if no later window reaches back into the page, and it begins
        // where it did.
        let ends = next.is_none_or(|next| begins_run(self.level, next, edits));
        let begins = is_first || begins_run(self.level, first(&page), edits);
        let replaces = |edit: &Edit| edit.1.is_some() && page.find(&edit.0).1;
        let stays = (ends || here == edits.len()) && edits[..here].iter().all(replaces);
        let alone = begins && ends;
        if stays {
            window.edits = &edits[..here];
            window.page_stays = Some(page);
            return Ok(window);
        }
        window.pages.push_back(page);
        if alone {
            window.edits = &edits[..here];
        } else {
            self.extend_left(&mut window)?;
            self.extend_right(&mut window)?;
        }
        Ok(window)
    }

    fn extend_left(&mut self, window: &mut Window<'_>) -> Result<(), UpdateError<P::Error>> {
        let mut context = 0;
        while !begins_run(self.level, first(&window.pages[0]), window.edits) {
            if context >= CONTEXT {
                window.cut_left = true;
                break;
            }
            let Some(page) = self.finger.before(self.level, window.pages[0].first_key())? else {
                break;
            };
            context += page.len();
            window.pages.push_front(page);
        }
        Ok(())
    }

    /// Goes on until a run begins, or so long after the last edit that the window of a later one won't reach
    /// back.
    fn extend_right(&mut self, window: &mut Window<'_>) -> Result<(), UpdateError<P::Error>> {
        let mut context = 0;
        let mut taken = 0;
        loop {
            let last = &window.pages[window.pages.len() - 1];
            let next = self.finger.after(self.level, last.first_key())?;
            let here = edits_before(&window.edits[taken..], next.as_deref().map(first));
            taken += here;
            context = if here > 0 { 0 } else { context + last.len() };
            match next {
                None => break,
                Some(next) if begins_run(self.level, first(&next), window.edits) => break,
                Some(_) if context >= 2 * CONTEXT + PAGE_LEN_MAX => {
                    window.cut_right = true;
                    break;
                }
                Some(next) => window.pages.push_back(next),
            }
        }
        window.edits = &window.edits[..taken];
        Ok(())
    }

    fn rewrite(&mut self, window: &Window<'_>) -> Result<(), UpdateError<P::Error>> {
        let merged = Merged::of(window);
        let cuts = merged.cuts(self.level, window);
        let mut old = window.pages.iter().peekable();
        let ends = cuts.iter().skip(1).copied().chain([merged.entries.len()]);
        for (&from, to) in cuts.iter().zip(ends) {
            let entries = &merged.entries[from..to];
            let PageEntry { key, height, .. } = entries[0];
            while let Some(gone) = old.next_if(|page| page.first_key() < key) {
                self.remove(gone);
            }
            let before = old.next_if(|page| page.first_key() == key);
            let node = self.put(before, entries)?;
            let changed = before.is_none_or(|before| before.top() != node);
            self.parents.push(Parent {
                key: key.to_vec(),
                head: Some(Head { height, node }),
                changed,
            });
        }
        old.for_each(|gone| self.remove(gone));
        Ok(())
    }

    fn remove(&mut self, page: &Arc<Page>) {
        self.changes.pages.push(PageChange::Gone(page.clone()));
        self.parents.push(Parent {
            key: page.first_key().to_vec(),
            head: None,
            changed: true,
        });
    }

    fn put(&mut self, before: Option<&Arc<Page>>, entries: &[PageEntry<'_>]) -> Result<Node, Overflow> {
        let Some(before) = before else {
            let (page, hashes) = Page::new(self.level, entries)?;
            self.changes.hashes += hashes;
            let node = page.top();
            self.changes.pages.push(PageChange::New(Arc::new(page)));
            return Ok(node);
        };
        let Some((page, shared, hashes)) = before.with_entries(entries)? else {
            return Ok(before.top());
        };
        self.changes.hashes += hashes;
        let node = page.top();
        self.change(before, page, shared);
        Ok(node)
    }

    /// Sets keys that the page has, which leaves all cuts where they are.
    fn replace(&mut self, page: &Arc<Page>, edits: &[Edit]) -> Result<(), Overflow> {
        let nodes = edits.iter().filter_map(|(key, head)| {
            let (index, node) = (page.find(key).0, head.as_ref()?.node);
            (page.entry(index).node != node).then_some((index, node))
        });
        let nodes: Vec<(usize, Node)> = nodes.collect();
        let (key, height) = first(page);
        let mut node = page.top();
        let changed = !nodes.is_empty();
        if changed {
            let (after, hashes) = page.with_nodes(&nodes)?;
            self.changes.hashes += hashes;
            node = after.top();
            self.change(page, after, (0, 0));
        }
        self.parents.push(Parent {
            key: key.to_vec(),
            head: Some(Head { height, node }),
            changed,
        });
        Ok(())
    }

    fn change(&mut self, before: &Arc<Page>, after: Page, shared: (usize, usize)) {
        self.changes.pages.push(PageChange::Replaced {
            before: before.clone(),
            after: Arc::new(after),
            shared,
        });
    }
}

/// The first key of a page, and its height.
fn first(page: &Page) -> (&[u8], u8) {
    let first = page.entry(0);
    (first.key, first.height)
}

/// How many of `edits` come before the page that begins with `next`.
fn edits_before(edits: &[Edit], next: Option<(&[u8], u8)>) -> usize {
    next.map_or(edits.len(), |(next, _)| {
        edits.iter().take_while(|(key, _)| key[..] < *next).count()
    })
}

/// Whether a page that begins with a key of that height does so for its height's sake, and the key stays.
fn begins_run(level: u8, (key, height): (&[u8], u8), edits: &[Edit]) -> bool {
    let edit = edits.binary_search_by(|edit| edit.0[..].cmp(key));
    height > level && !edit.is_ok_and(|edit| edits[edit].1.is_none())
}

/// The entries of a window after its edits.
struct Merged<'w> {
    entries: Vec<PageEntry<'w>>,
    /// Where pages began before, as indices of `entries`.
    old_cuts: Vec<usize>,
    /// Where keys came or went: the first and the last index.
    moved: Option<(usize, usize)>,
}

impl<'w> Merged<'w> {
    fn of(window: &'w Window<'_>) -> Merged<'w> {
        let entries: usize = window.pages.iter().map(|page| page.len()).sum();
        let mut merged = Merged {
            entries: Vec::with_capacity(entries + window.edits.len()),
            old_cuts: Vec::new(),
            moved: None,
        };
        let mut edits = window.edits.iter().peekable();
        for page in &window.pages {
            while let Some(edit) = edits.next_if(|(key, _)| **key < *page.first_key()) {
                merged.insert(edit);
            }
            merged.old_cuts.push(merged.entries.len());
            merged.page(page, &mut edits);
        }
        edits.for_each(|edit| merged.insert(edit));
        merged
    }

    /// Adds the entries of a page with the edits among them, and leaves those after its last key.
    fn page(&mut self, page: &'w Page, edits: &mut Peekable<slice::Iter<'w, Edit>>) {
        let mut copied = 0;
        while let Some(edit) = edits.peek() {
            let (index, is_there) = page.find(&edit.0);
            if index == page.len() {
                break;
            }
            self.entries
                .extend((copied..index).map(|index| page.entry(index)));
            copied = index + usize::from(is_there);
            match edit {
                (_, None) if is_there => self.moves(),
                (key, Some(head)) if is_there => self.entries.push(head.under(key)),
                edit => self.insert(edit),
            }
            edits.next();
        }
        self.entries
            .extend((copied..page.len()).map(|index| page.entry(index)));
    }

    fn insert(&mut self, (key, head): &'w Edit) {
        if let Some(head) = head {
            self.moves();
            self.entries.push(head.under(key));
        }
    }

    fn moves(&mut self) {
        let here = self.entries.len();
        self.moved = Some((self.moved.map_or(here, |(first, _)| first), here));
    }

    fn cuts(&self, level: u8, window: &Window<'_>) -> Vec<usize> {
        let Some((first, last)) = self.moved else {
            return self.old_cuts.clone();
        };
        // In a run that goes on outside, cuts far from all changes are those that were: here too little is
        // known of it to tell them anew.
        let from = if window.cut_left {
            first.saturating_sub(FELT_BEFORE)
        } else {
            0
        };
        let to = if window.cut_right {
            last + FELT_AFTER
        } else {
            self.entries.len()
        };
        let near = |cut: &usize| (from..=to).contains(cut);
        let mut cuts: Vec<usize> = self.old_cuts.iter().copied().filter(|cut| !near(cut)).collect();
        for (start, end) in cut::runs(level, &self.entries) {
            let run = &self.entries[start..end];
            let goes_on = (start == 0 && window.cut_left) || (end == self.entries.len() && window.cut_right);
            let told = if goes_on {
                cut::thinned(run)
            } else {
                cut::cuts(level, run)
            };
            cuts.extend(told.into_iter().map(|cut| start + cut).filter(near));
        }
        cuts.sort_unstable();
        cuts
    }
}

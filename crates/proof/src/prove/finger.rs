//! The way down to a key, kept for the next one close by.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::page::Page;
use super::source::Pages;
use super::update::UpdateError;

/// The pages from the topmost down to one that was asked for.
pub(crate) struct Finger<'a, P> {
    pages: &'a P,
    way: Vec<Place>,
}

/// A page, and where it lies on its level.
pub(crate) struct Place {
    pub(crate) page: Arc<Page>,
    /// Whether no page is before it.
    pub(crate) is_first: bool,
    /// Where the page above, or one above that, has the page after it.
    next: Option<(Arc<Page>, usize)>,
}

impl Place {
    /// First key, and its height, of the page after it.
    pub(crate) fn next(&self) -> Option<(&[u8], u8)> {
        let (page, index) = self.next.as_ref()?;
        let next = page.entry(*index);
        Some((next.key, next.height))
    }

    fn holds(&self, key: &[u8]) -> bool {
        (self.is_first || self.page.first_key() <= key) && self.next().is_none_or(|(next, _)| key < next)
    }

    /// Which entry holds `key`.
    fn index_of(&self, key: &[u8]) -> usize {
        let (before, is_there) = self.page.find(key);
        if is_there {
            before
        } else {
            before.saturating_sub(1)
        }
    }
}

impl<'a, P: Pages> Finger<'a, P> {
    pub(crate) fn new(pages: &'a P) -> Finger<'a, P> {
        Finger {
            pages,
            way: Vec::new(),
        }
    }

    /// The page of that level in which `key` is, or would be; `None` if there is no such level.
    pub(crate) fn find(&mut self, level: u8, key: &[u8]) -> Result<Option<&Place>, UpdateError<P::Error>> {
        let fits = |place: &Place| place.page.level() >= level && place.holds(key);
        while self.way.pop_if(|place| !fits(place)).is_some() {}
        if self.way.is_empty() {
            let Some(page) = self.pages.topmost().map_err(UpdateError::Storage)? else {
                return Ok(None);
            };
            self.way.push(Place {
                page,
                is_first: true,
                next: None,
            });
        }
        while let Some(place) = self.way.last()
            && place.page.level() > level
        {
            let index = place.index_of(key);
            self.descend(index)?;
        }
        Ok(self.way.last().filter(|place| place.page.level() == level))
    }

    /// Goes down into an entry of the last page on the way.
    fn descend(&mut self, index: usize) -> Result<(), UpdateError<P::Error>> {
        let Some(place) = self.way.last() else {
            return Err(UpdateError::Damaged);
        };
        let child = place.page.entry(index);
        let page = self
            .pages
            .child(place.page.level() - 1, child.key, &child.node)
            .map_err(UpdateError::Storage)?;
        let next = (index + 1 < place.page.len()).then(|| (place.page.clone(), index + 1));
        let below = Place {
            page: page.ok_or(UpdateError::Damaged)?,
            is_first: place.is_first && index == 0,
            next: next.or_else(|| place.next.clone()),
        };
        self.way.push(below);
        Ok(())
    }

    /// The page before the one that begins with `key`.
    pub(crate) fn before(
        &mut self,
        level: u8,
        key: &[u8],
    ) -> Result<Option<Arc<Page>>, UpdateError<P::Error>> {
        self.find(level, key)?;
        // The nearest page above that has anything before the key.
        while self.way.pop_if(|place| place.page.find(key).0 == 0).is_some() {}
        while let Some(place) = self.way.last() {
            if place.page.level() == level {
                return Ok(Some(place.page.clone()));
            }
            let index = place.page.find(key).0.saturating_sub(1);
            self.descend(index)?;
        }
        Ok(None)
    }

    /// The page after the one that begins with `key`.
    pub(crate) fn after(
        &mut self,
        level: u8,
        key: &[u8],
    ) -> Result<Option<Arc<Page>>, UpdateError<P::Error>> {
        let place = self.find(level, key)?.ok_or(UpdateError::Damaged)?;
        let Some(next) = place.next().map(|(next, _)| next.to_vec()) else {
            return Ok(None);
        };
        let place = self.find(level, &next)?.ok_or(UpdateError::Damaged)?;
        Ok(Some(place.page.clone()))
    }
}

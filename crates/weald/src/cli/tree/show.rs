//! Elements and answers as people and scripts read them.

use std::io;

use weald_proof::{Answer, Element, Entry};

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Fields, Output};
use crate::cli::tree::path::{TreePath, shown_reference};

/// How an answer is written.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    pub(crate) hex: bool,
    pub(crate) json: bool,
}

/// What a key holds, in a word.
pub(crate) fn kind(element: &Element) -> &'static str {
    match element {
        Element::Item(_) => "item",
        Element::SumItem(_) => "sum-item",
        Element::Tree(_) => "tree",
        Element::SumTree { .. } => "sum-tree",
        Element::CountTree { .. } => "count-tree",
        Element::Reference(_) => "reference",
    }
}

/// The fields of an element in an object.
pub(crate) fn fields<'w>(object: Fields<'w>, element: &Element) -> io::Result<Fields<'w>> {
    let object = object.text("kind", kind(element))?;
    match element {
        Element::Item(bytes) => object.bytes("value", bytes),
        Element::SumItem(number) => object.integer("value", i128::from(*number)),
        Element::Tree(root) => object.text("root", &root.to_string()),
        Element::SumTree { root, sum } => object.text("root", &root.to_string())?.integer("sum", *sum),
        Element::CountTree { root, count } => object.text("root", &root.to_string())?.number("count", *count),
        Element::Reference(reference) => object.text("to", &shown_reference(reference)),
    }
}

impl Style {
    /// An entry of the tree at `path`, with those before it in `mark`.
    pub(crate) fn entry(
        self,
        out: &mut Output,
        mark: Option<&str>,
        path: &TreePath,
        key: &[u8],
        element: &Element,
    ) -> Result<()> {
        if self.json {
            return out.json(self.hex, |object| {
                let object = match mark {
                    Some(mark) => object.text("change", mark)?,
                    None => object,
                };
                let object = object
                    .text("path", &path.join(key).to_string())?
                    .bytes("key", key)?;
                fields(object, element)
            });
        }
        let mark = mark.map(|mark| format!("{mark}\t")).unwrap_or_default();
        let line = format!("{mark}{}\t{}\t", path.join(key), kind(element));
        out.raw(line.as_bytes())?;
        match element {
            Element::Item(bytes) if out.is_terminal() => out.glimpse(bytes, self.hex)?,
            Element::Item(bytes) => out.readable(bytes, self.hex)?,
            Element::SumItem(number) => out.raw(number.to_string().as_bytes())?,
            Element::Tree(root) => out.raw(root.to_string().as_bytes())?,
            Element::SumTree { root, sum } => out.raw(format!("{root}\t{sum}").as_bytes())?,
            Element::CountTree { root, count } => out.raw(format!("{root}\t{count}").as_bytes())?,
            Element::Reference(reference) => out.raw(shown_reference(reference).as_bytes())?,
        }
        out.raw(b"\n")
    }

    /// An answer about the tree at `path`; no, if there is no such tree.
    pub(crate) fn answer(self, out: &mut Output, path: &TreePath, answer: &Answer) -> Result<Outcome> {
        match answer {
            Answer::Entries(entries) => {
                self.entries(out, path, entries)?;
                Ok(Outcome::Done)
            }
            Answer::Totals(totals) => {
                if self.json {
                    out.json(false, |object| {
                        object.number("count", totals.count)?.integer("sum", totals.sum)
                    })?;
                } else {
                    out.line(format_args!("{}\t{}", totals.count, totals.sum))?;
                }
                Ok(Outcome::Done)
            }
            Answer::NoSubtree { .. } if self.json => {
                out.json(false, |object| object.truth("subtree", false))?;
                Ok(Outcome::No)
            }
            Answer::NoSubtree { .. } => Err(Failure::Refused(format!("there is no subtree {path}"))),
        }
    }

    fn entries(self, out: &mut Output, path: &TreePath, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            self.entry(out, None, path, &entry.key, &entry.element)?;
            if let Some(below) = &entry.below {
                self.answer(out, &path.join(&entry.key), below)?;
            }
        }
        Ok(())
    }
}

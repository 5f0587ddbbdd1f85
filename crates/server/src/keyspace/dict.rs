//! Hashes and sets: members, of a hash with values.

use crate::keyspace::layout::{self, HASH_LEN, PREFIX_LEN, tag};
use crate::keyspace::packed::{self, PACKED_MAX, Packed};
use crate::keyspace::record::{Body, Entry, INTEGERS, Record, Spread, Value, WIDE, damaged};
use crate::keyspace::{Keyspace, Kind, Result};

impl Keyspace<'_> {
    /// What belongs to a member: the value of a field, nothing to a member of a set, a score in bytes.
    pub(crate) fn member<'a>(
        &'a self,
        db: usize,
        record: &Record<'a>,
        name: &[u8],
    ) -> Result<Option<&'a [u8]>> {
        match record.body {
            Body::String(_) => Ok(None),
            Body::Packed(packed) if record.kind == Kind::Set => {
                Ok(Packed(packed).find(|member| *member == name).map(|_| &b""[..]))
            }
            Body::Packed(packed) => Ok(Packed(packed)
                .pairs()
                .find(|(member, _)| *member == name)
                .map(|(_, value)| value)),
            Body::Spread(spread) => {
                let key = layout::member(spread.id, name, self.seed);
                let Some(value) = self.item(db, &key)? else {
                    return Ok(None);
                };
                let whole_name = if layout::is_long(name) { 4 + name.len() } else { 0 };
                value.get(whole_name..).map(Some).ok_or_else(damaged)
            }
        }
    }

    /// Whether a collection has a member.
    pub(crate) fn has_member(&self, db: usize, record: &Record<'_>, name: &[u8]) -> Result<bool> {
        Ok(self.member(db, record, name)?.is_some())
    }

    /// Gives `visit` each member and what belongs to it.
    pub(crate) fn each_member<'a>(
        &'a self,
        db: usize,
        record: &Record<'a>,
        mut visit: impl FnMut(&'a [u8], &'a [u8]) -> Result<()>,
    ) -> Result<()> {
        match record.body {
            Body::String(_) => Ok(()),
            Body::Packed(packed) if record.kind != Kind::Set => Packed(packed)
                .pairs()
                .try_for_each(|(member, value)| visit(member, value)),
            Body::Packed(packed) if record.flags & INTEGERS == 0 => {
                Packed(packed).try_for_each(|member| visit(member, b""))
            }
            Body::Packed(packed) => {
                // As Redis has them in an intset.
                let mut members: Vec<&[u8]> = Packed(packed).collect();
                members.sort_by_key(|member| weald_resp::parse_i64(member));
                members.into_iter().try_for_each(|member| visit(member, b""))
            }
            Body::Spread(spread) => {
                for pair in self.items_of(db, spread.id, tag::MEMBER)? {
                    let (key, value) = pair?;
                    let (member, value) =
                        layout::split_member(&key[PREFIX_LEN + HASH_LEN..], value).ok_or_else(damaged)?;
                    visit(member, value)?;
                }
                Ok(())
            }
        }
    }

    /// All members.
    pub(crate) fn members<'a>(&'a self, db: usize, record: &Record<'a>) -> Result<Vec<&'a [u8]>> {
        let mut members = Vec::with_capacity(record.count() as usize);
        self.each_member(db, record, |member, _| {
            members.push(member);
            Ok(())
        })?;
        Ok(members)
    }

    /// Sets a field of a hash; whether it is a new one.
    pub(crate) fn put_field(&mut self, entry: &mut Entry, field: &[u8], value: &[u8]) -> Result<bool> {
        let new = self.put_member(entry, field, value)?;
        let limits = &self.encodings;
        if field.len() > limits.hash_value
            || value.len() > limits.hash_value
            || (new && entry.flags & WIDE == 0 && entry.count() > limits.hash_entries)
        {
            entry.flags |= WIDE;
        }
        Ok(new)
    }

    /// Adds a member to a set; whether it is a new one.
    pub(crate) fn add_to_set(&mut self, entry: &mut Entry, member: &[u8]) -> Result<bool> {
        let was_empty = entry.count() == 0;
        let new = self.put_member(entry, member, b"")?;
        if !new || entry.flags & WIDE != 0 {
            return Ok(new);
        }
        let limits = &self.encodings;
        let integer = weald_resp::parse_i64(member).is_some();
        if was_empty && integer {
            entry.flags |= INTEGERS;
        }
        let was_integers = entry.flags & INTEGERS != 0;
        let count = entry.count();
        if was_integers && (!integer || count > limits.intset_entries) {
            entry.flags &= !INTEGERS;
        }
        let small = count <= limits.set_entries && member.len() <= limits.set_value;
        if entry.flags & INTEGERS == 0 && !small {
            entry.flags |= WIDE;
        }
        Ok(new)
    }

    /// Sets what belongs to a member of a hash, set or sorted set; whether the member is a new one.
    pub(super) fn put_member(&mut self, entry: &mut Entry, name: &[u8], value: &[u8]) -> Result<bool> {
        if let Value::Packed(packed) = &mut entry.value {
            let is_set = entry.kind == Kind::Set;
            match place(packed, entry.kind, name) {
                Some(_) if is_set => return Ok(false),
                Some((_, at, end)) => {
                    let mut changed = Vec::new();
                    packed::push(&mut changed, value);
                    packed.splice(at..end, changed);
                }
                None => {
                    packed::push(packed, name);
                    if !is_set {
                        packed::push(packed, value);
                    }
                    if packed.len() > PACKED_MAX {
                        self.spread_members(entry)?;
                    }
                    return Ok(true);
                }
            }
            if packed.len() > PACKED_MAX {
                self.spread_members(entry)?;
            }
            return Ok(false);
        }
        let Value::Spread(spread) = entry.value else {
            return Err(damaged());
        };
        let key = layout::member(spread.id, name, self.seed);
        let new = self.item(entry.db, &key)?.is_none();
        self.put_item(entry.db, &key, &layout::member_value(name, value))?;
        if new {
            entry.value = Value::Spread(Spread {
                count: spread.count + 1,
                ..spread
            });
        }
        Ok(new)
    }

    fn spread_members(&mut self, entry: &mut Entry) -> Result<()> {
        let packed = self.unpack(entry)?;
        let mut elements = Packed(&packed);
        while let Some(name) = elements.next() {
            let value = if entry.kind == Kind::Set {
                b""
            } else {
                elements.next().ok_or_else(damaged)?
            };
            self.put_member(entry, name, value)?;
        }
        Ok(())
    }

    /// Removes a field of a hash or a member of a set; whether it was there.
    pub(crate) fn remove_member(&mut self, entry: &mut Entry, name: &[u8]) -> Result<bool> {
        match &mut entry.value {
            Value::String(_) => Ok(false),
            Value::Packed(packed) => {
                let found = place(packed, entry.kind, name);
                if let Some((start, _, end)) = found {
                    packed.drain(start..end);
                }
                Ok(found.is_some())
            }
            Value::Spread(spread) => {
                let spread = *spread;
                let key = layout::member(spread.id, name, self.seed);
                if self.item(entry.db, &key)?.is_none() {
                    return Ok(false);
                }
                self.discard_item(entry.db, &key)?;
                entry.value = Value::Spread(Spread {
                    count: spread.count - 1,
                    ..spread
                });
                Ok(true)
            }
        }
    }
}

/// Where a member begins, where what belongs to it begins, and where that ends.
fn place(packed: &[u8], kind: Kind, name: &[u8]) -> Option<(usize, usize, usize)> {
    let mut rest = Packed(packed);
    loop {
        let start = packed.len() - rest.0.len();
        let found = rest.next()? == name;
        let middle = packed.len() - rest.0.len();
        if kind != Kind::Set {
            rest.next()?;
        }
        if found {
            return Some((start, middle, packed.len() - rest.0.len()));
        }
    }
}

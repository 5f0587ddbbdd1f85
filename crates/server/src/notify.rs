//! Events of keys, and which of them are told.

/// The kinds of events of keys, each with the letter that `notify-keyspace-events` has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event(u16);

impl Event {
    pub(crate) const GENERIC: Event = Event(1);
    pub(crate) const STRING: Event = Event(1 << 1);
    pub(crate) const LIST: Event = Event(1 << 2);
    pub(crate) const SET: Event = Event(1 << 3);
    pub(crate) const HASH: Event = Event(1 << 4);
    pub(crate) const ZSET: Event = Event(1 << 5);
    pub(crate) const EXPIRED: Event = Event(1 << 6);
    pub(crate) const EVICTED: Event = Event(1 << 7);
    pub(crate) const STREAM: Event = Event(1 << 8);
    pub(crate) const MODULE: Event = Event(1 << 9);
    /// A read of a key that is not there.
    pub(crate) const MISS: Event = Event(1 << 10);
    /// A key that was not there before.
    pub(crate) const NEW: Event = Event(1 << 11);
}

/// Which events are told, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Notified {
    events: u16,
    /// To `__keyspace@<db>__:<key>`.
    pub(crate) keyspace: bool,
    /// To `__keyevent@<db>__:<event>`.
    pub(crate) keyevent: bool,
}

const LETTERS: [(char, Event); 12] = [
    ('g', Event::GENERIC),
    ('$', Event::STRING),
    ('l', Event::LIST),
    ('s', Event::SET),
    ('h', Event::HASH),
    ('z', Event::ZSET),
    ('x', Event::EXPIRED),
    ('e', Event::EVICTED),
    ('t', Event::STREAM),
    ('d', Event::MODULE),
    ('m', Event::MISS),
    ('n', Event::NEW),
];

/// What the letter A means: all but misses and new keys.
const ALL: u16 = (1 << 10) - 1;

impl Notified {
    /// Reads the value of `notify-keyspace-events`.
    pub(crate) fn parse(text: &str) -> Option<Notified> {
        let mut notified = Notified::default();
        for letter in text.chars() {
            match letter {
                'K' => notified.keyspace = true,
                'E' => notified.keyevent = true,
                'A' => notified.events |= ALL,
                letter => notified.events |= LETTERS.iter().find(|(l, _)| *l == letter)?.1.0,
            }
        }
        Some(notified)
    }

    /// Whether such events are told at all.
    #[inline]
    pub(crate) fn wants(self, event: Event) -> bool {
        self.events & event.0 != 0 && (self.keyspace || self.keyevent)
    }
}

impl std::fmt::Display for Notified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.events & ALL == ALL;
        if all {
            f.write_str("A")?;
        }
        for (letter, event) in LETTERS {
            if self.events & event.0 != 0 && !(all && event.0 & ALL != 0) {
                write!(f, "{letter}")?;
            }
        }
        f.write_str(if self.keyspace { "K" } else { "" })?;
        f.write_str(if self.keyevent { "E" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_and_written() {
        for (text, expected) in [
            ("", ""),
            ("KEA", "AKE"),
            ("Kg$", "g$K"),
            ("g$lshzxetdE", "AE"),
            ("KEAmn", "AmnKE"),
        ] {
            let notified = Notified::parse(text).expect("these are letters");
            assert_eq!(notified.to_string(), expected);
        }
        assert_eq!(Notified::parse("KEq"), None);
        assert!(!Notified::parse("A").expect("a letter").wants(Event::LIST));
    }
}

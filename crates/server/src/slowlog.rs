//! Commands that took long.

use std::collections::VecDeque;

/// More arguments of a command than this are not remembered.
const ARGS_MAX: usize = 32;
/// Longer arguments are cut.
const ARG_LEN_MAX: usize = 128;

/// A command that took long.
pub(crate) struct SlowCommand {
    pub(crate) id: u64,
    pub(crate) at_s: u64,
    pub(crate) us: u64,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) peer: String,
    pub(crate) name: Vec<u8>,
}

/// Commands that took long, the newest first.
#[derive(Default)]
pub(crate) struct Slowlog {
    entries: VecDeque<SlowCommand>,
    next_id: u64,
}

impl Slowlog {
    pub(crate) fn add(&mut self, args: &[&[u8]], us: u64, at_s: u64, peer: &str, name: &[u8], max: usize) {
        let id = self.next_id;
        self.next_id += 1;
        let args = cut(args);
        self.entries.push_front(SlowCommand {
            id,
            at_s,
            us,
            args,
            peer: peer.to_owned(),
            name: name.to_vec(),
        });
        self.entries.truncate(max);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &SlowCommand> {
        self.entries.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

/// Arguments in short, with secrets left out.
fn cut(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let shown = if args.len() > ARGS_MAX {
        ARGS_MAX - 1
    } else {
        args.len()
    };
    let mut cut: Vec<Vec<u8>> = args[..shown]
        .iter()
        .map(|arg| match arg.len().checked_sub(ARG_LEN_MAX) {
            None | Some(0) => arg.to_vec(),
            Some(more) => [&arg[..ARG_LEN_MAX], format!("... ({more} more bytes)").as_bytes()].concat(),
        })
        .collect();
    if shown < args.len() {
        cut.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    cut
}

/// Arguments with those left out that may be secrets.
pub(crate) fn redacted<'a>(args: &[&'a [u8]]) -> Vec<&'a [u8]> {
    const HIDDEN: &[u8] = b"(redacted)";
    let is = |at: usize, word: &str| {
        args.get(at)
            .is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    let has = |word: &[u8]| args.iter().any(|arg| arg.eq_ignore_ascii_case(word));
    let user = is(0, "acl") && (is(1, "setuser") || is(1, "deluser") || is(1, "getuser"));
    let password = is(0, "config") && is(1, "set") && has(b"requirepass");
    let login = is(0, "hello") && has(b"auth");
    let hidden_from = match () {
        () if is(0, "auth") => 1,
        () if user || password || login => 2,
        () => args.len(),
    };
    args.iter()
        .enumerate()
        .map(|(i, arg)| if i >= hidden_from { HIDDEN } else { arg })
        .collect()
}

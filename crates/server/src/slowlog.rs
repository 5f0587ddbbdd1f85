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
pub(crate) fn redacted<'a>(command: &str, args: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let is = |arg: &[u8], word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    let has = |word: &str| args.iter().any(|arg| is(arg, word));
    let hidden_from = match command {
        "auth" => 1,
        "acl|setuser" | "acl|deluser" | "acl|getuser" => 2,
        "config|set" if has("requirepass") || has("masterauth") => 2,
        "hello" if has("auth") => 2,
        "migrate" if has("auth") || has("auth2") => 6,
        _ => args.len(),
    };
    args.iter()
        .enumerate()
        .map(|(i, arg)| if i >= hidden_from { &b"(redacted)"[..] } else { arg })
        .collect()
}

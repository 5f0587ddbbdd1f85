//! Who a process is, and whether it still lives.
//!
//! A process is named by its pid and the time at which it was started, because pids are used again. Both fit into one
//! word, so that a session slot can be claimed, with its owner's name in it, by a single compare-and-swap: there is no
//! instant at which a slot is taken by nobody in particular.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::error::{Error, Result};

/// A process for all time: pid, and the low 28 bits of its start time in clock ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    pub(crate) start: u32,
}

pub(crate) const START_BITS: u32 = 28;

impl Identity {
    /// This process.
    pub(crate) fn own() -> Result<Identity> {
        let pid = std::process::id();
        let stat = Stat::of(pid).map_err(|e| Error::io("read this process's start time", e))?;
        Ok(Identity {
            pid,
            start: stat.start,
        })
    }

    pub(crate) fn pack(self) -> u64 {
        u64::from(self.pid) | u64::from(self.start) << 32
    }

    pub(crate) fn unpack(word: u64) -> Identity {
        Identity {
            pid: word as u32,
            start: (word >> 32) as u32 & ((1 << START_BITS) - 1),
        }
    }
}

/// Answers whether a process can still execute an instruction. One that is stopped can.
pub(crate) type Liveness = fn(Identity) -> bool;

/// Asks the kernel.
pub(crate) fn lives(who: Identity) -> bool {
    match fs::read_to_string(format!("/proc/{}/stat", who.pid)) {
        Ok(text) => match Stat::parse(&text) {
            // A leader that has exited is a zombie while its other threads go on.
            Some(stat) => {
                stat.start == who.start && !(matches!(stat.state, 'Z' | 'X' | 'x') && stat.threads <= 1)
            }
            None => true,
        },
        // Only a clear answer counts: too many open files, say, are nobody's death.
        Err(e) => !(e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH)),
    }
}

struct Stat {
    state: char,
    threads: u64,
    start: u32,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The second field is the program's name in brackets, which may hold anything, brackets too.
        let rest = &text[text.rfind(')')? + 1..];
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Stat {
            state: fields.first()?.chars().next()?,
            threads: fields.get(17)?.parse().ok()?,
            start: (fields.get(19)?.parse::<u64>().ok()? & ((1 << START_BITS) - 1)) as u32,
        })
    }

    fn of(pid: u32) -> io::Result<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Stat::parse(&text).ok_or(io::ErrorKind::InvalidData.into())
    }
}

/// The namespace in which this process's pids mean something.
pub(crate) fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino())
}

/// This start of the machine, as a number that no other start has; zeros where the system doesn't say.
pub(crate) fn boot_id() -> [u64; 2] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let half = |range| {
        digits
            .get(range)
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .unwrap_or(0)
    };
    [half(0..16), half(16..32)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_lives_until_it_is_killed_even_before_it_is_reaped() {
        let mut child = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let stat = Stat::of(child.id()).unwrap();
        let who = Identity {
            pid: child.id(),
            start: stat.start,
        };
        assert!(lives(who));
        assert!(
            !lives(Identity {
                start: who.start ^ 1,
                ..who
            }),
            "another process with the same pid"
        );
        child.kill().unwrap();
        let patience = std::time::Instant::now();
        while lives(who) {
            assert!(patience.elapsed().as_secs() < 10, "a zombie counts as dead");
        }
        child.wait().unwrap();
        assert!(!lives(who));
    }

    #[test]
    fn identity_survives_packing() {
        let own = Identity::own().unwrap();
        assert!(lives(own));
        assert_eq!(Identity::unpack(own.pack()), own);
    }
}

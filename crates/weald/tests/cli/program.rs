//! Running the program.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A directory with the path of a database, which is there once something is set.
pub(crate) struct Place {
    dir: TempDir,
}

/// What a process printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// With a database that holds what `db` does. Another process makes it: a lock that this one has let go of stays with the children
    /// that other tests are just starting.
    pub(crate) fn with(db: &weald::Database) -> Place {
        let place = Place::new();
        let mut dump = Vec::new();
        db.dump(&mut dump).unwrap();
        place.feed_ok(&["load"], &dump);
        place
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.path("my.weald")
    }

    /// What lies in the directory, sorted; the lock file, which stays, left out.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with("-lock"))
            .collect();
        names.sort();
        names
    }

    /// The program on the database, ready to run.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = program();
        command
            .current_dir(self.dir.path())
            .args(args)
            .env("WEALD_DB", "my.weald");
        command
    }

    /// Runs the program on the database.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Answer {
        self.feed(args, b"")
    }

    /// Runs it with something on standard input.
    pub(crate) fn feed<A: AsRef<OsStr>>(&self, args: &[A], input: &[u8]) -> Answer {
        feed(self.command(args), input)
    }

    /// Runs it and gives what it printed; it must succeed and complain of nothing.
    pub(crate) fn ok<A: AsRef<OsStr>>(&self, args: &[A]) -> Vec<u8> {
        self.feed_ok(args, b"")
    }

    /// The same with something on standard input.
    pub(crate) fn feed_ok<A: AsRef<OsStr>>(&self, args: &[A], input: &[u8]) -> Vec<u8> {
        let answer = self.feed(args, input);
        let shown: Vec<_> = args.iter().map(AsRef::as_ref).collect();
        assert_eq!(answer.code, Some(0), "{shown:?}: {}", answer.err);
        let is_quiet = answer
            .err
            .lines()
            .all(|line| line.starts_with("weald: made the database "));
        assert!(is_quiet, "{shown:?}: {}", answer.err);
        answer.out
    }

    /// The same as text.
    pub(crate) fn text<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        String::from_utf8(self.ok(args)).unwrap()
    }

    /// The same as JSON, a value a line.
    pub(crate) fn json<A: AsRef<OsStr>>(&self, args: &[A]) -> Vec<serde_json::Value> {
        lines(&self.ok(args))
    }

    /// Runs it and gives its complaint, which must be one line; it must end with `code` and print nothing.
    pub(crate) fn refused<A: AsRef<OsStr>>(&self, code: i32, args: &[A]) -> String {
        let answer = self.run(args);
        let shown: Vec<_> = args.iter().map(AsRef::as_ref).collect();
        assert_eq!(answer.code, Some(code), "{shown:?}: {}", answer.err);
        assert!(answer.out.is_empty(), "{shown:?}: {:?}", answer.out);
        assert_eq!(answer.err.lines().count(), 1, "{shown:?}: {}", answer.err);
        assert!(answer.err.starts_with("weald: "), "{shown:?}: {}", answer.err);
        answer.err
    }
}

/// The lines of JSON in what was printed.
pub(crate) fn lines(out: &[u8]) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(out).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The program, with nothing of the environment that could matter.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weald"));
    command.env_remove("WEALD_DB");
    piped(&mut command);
    command
}

/// The program under a limit on its memory: heap and stacks, but not what it maps of files.
pub(crate) fn limited(place: &Place, mebibytes: u32, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            &format!("ulimit -d {}; exec \"$0\" \"$@\"", mebibytes * 1024),
        ])
        .arg(env!("CARGO_BIN_EXE_weald"))
        .args(args)
        .current_dir(place.dir())
        .env("WEALD_DB", "my.weald");
    piped(&mut command);
    command
}

fn piped(command: &mut Command) {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// Runs a process with something on standard input.
pub(crate) fn feed(mut command: Command, input: &[u8]) -> Answer {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = std::thread::scope(|scope| {
        // A process that does not read its input to the end closes it, which is no failure of the test.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    Answer {
        code: status.code(),
        out: stdout,
        err: String::from_utf8(stderr).unwrap(),
    }
}

pub(crate) const SIGINT: i32 = 2;
pub(crate) const SIGTERM: i32 = 15;

/// Whether Ctrl-C does anything: programs that a shell started in the background, and what they start, ignore it.
pub(crate) fn heeds_interrupts() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.unwrap_or(0) & 1 << (SIGINT - 1) == 0
}

/// Sends a signal, as the shell does; another one instead of an interrupt where that would do nothing.
pub(crate) fn signal(child: &Child, name: &str) {
    let name = if name == "INT" && !heeds_interrupts() {
        eprintln!("SKIPPED: interrupts are ignored here, so this is ended by SIGTERM");
        "TERM"
    } else {
        name
    };
    let status = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// An argument of any bytes.
pub(crate) fn arg(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

/// Bytes that look random.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}

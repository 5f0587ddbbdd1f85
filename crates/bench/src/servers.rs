//! Processes that were started for a comparison, and end with it.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::engine::Result;

/// The system counts CPU time of others in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Servers {
    children: Vec<Child>,
    pub(crate) dir: PathBuf,
}

impl Servers {
    pub(crate) fn new(dir: &Path, name: &str) -> Result<Servers> {
        let dir = dir.join(format!("weald-bench-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir)?;
        Ok(Servers {
            children: Vec::new(),
            dir,
        })
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, program: &Path, args: impl IntoIterator<Item = String>) -> Result<()> {
        let done = Command::new(program).args(args).current_dir(&self.dir).output()?;
        if done.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&done.stderr).into_owned().into())
    }

    pub(crate) fn spawn(&mut self, program: impl AsRef<OsStr>, args: &[String]) -> Result<()> {
        let log = File::create(self.dir.join(format!("log-{}", self.children.len())))?;
        let child = Command::new(program)
            .args(args)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.children.push(child);
        Ok(())
    }

    /// The number of the process that was started last.
    pub(crate) fn last_id(&self) -> Option<u32> {
        self.children.last().map(Child::id)
    }

    /// Asks the process that was started last to end, and waits until it has.
    pub(crate) fn end_last(&mut self) -> Result<()> {
        let Some(mut child) = self.children.pop() else {
            return Ok(());
        };
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        child.wait()?;
        Ok(())
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.children.iter().map(|child| cpu_of(child.id())).sum()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn cpu_of(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the name, which may hold anything: user and system time are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(')').ok_or("a line of /proc/PID/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks
        .map(str::parse::<u32>)
        .sum::<std::result::Result<u32, _>>()?;
    Ok(TICK * ticks)
}

pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Ports that are free at the moment.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// Tries until it works; says what went wrong last if it never does.
pub(crate) fn wait<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

//! `weald cluster join`, `leave`, `replace` and `repair`.

use std::time::{Duration, Instant};

use clap::Args;
use weald_server::Frame;

use crate::cli::Outcome;
use crate::cli::cluster::look::write_json;
use crate::cli::cluster::talk::{At, Talk, field, text};
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;

const STEP: Duration = Duration::from_millis(100);

/// How a change is waited for and told.
#[derive(Args, Debug)]
struct Told {
    #[command(flatten)]
    at: At,

    /// End at once, when the change has begun
    #[arg(long)]
    no_wait: bool,

    /// Seconds to wait for the end of the change
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,

    /// Print the status as a JSON object at the end
    #[arg(long)]
    json: bool,
}

/// How much of the data a node takes, and where it stands.
#[derive(Args, Debug)]
struct Share {
    /// How much it takes, in proportion to the others; without, as before, or as much as the node whose place it takes
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    weight: Option<u32>,

    /// Number of its rack or data centre; without, as before, or that of the node whose place it takes
    #[arg(long, value_name = "NUMBER")]
    zone: Option<u32>,
}

impl Share {
    /// The words of the command.
    fn words(&self) -> Vec<String> {
        let parts = [("WEIGHT", self.weight), ("ZONE", self.zone)];
        let said = |(word, number): (&str, Option<u32>)| Some([word.to_owned(), number?.to_string()]);
        parts.into_iter().filter_map(said).flatten().collect()
    }
}

/// Take a node in
///
/// A node that is started with --join is taken in by itself. This is for one that has left, or that was let go, and runs.
#[derive(Args, Debug)]
pub(crate) struct Join {
    /// The node's number, as 'status' shows it; without, the node that is talked to
    number: Option<String>,

    #[command(flatten)]
    share: Share,

    #[command(flatten)]
    told: Told,
}

/// Let a node go: its partitions move to the others, and then it may be stopped
///
/// It needs no answer of a node that is gone for ever.
#[derive(Args, Debug)]
pub(crate) struct Leave {
    /// The node's number, as 'status' shows it; without, the node that is talked to
    number: Option<String>,

    #[command(flatten)]
    told: Told,
}

/// Let a node go and take another one in, in one move
///
/// The new node was started with --join, so that the others have heard of it.
#[derive(Args, Debug)]
pub(crate) struct Replace {
    /// The number of the node that goes
    old: String,
    /// The number of the node that comes
    new: String,

    #[command(flatten)]
    share: Share,

    #[command(flatten)]
    told: Told,
}

/// Read every key from all of its replicas, which makes those equal that differ
///
/// Replicas are compared and made equal all the time; this doesn't wait for that, and fails where a replica doesn't answer.
#[derive(Args, Debug)]
pub(crate) struct Repair {
    #[command(flatten)]
    told: Told,
}

impl Join {
    pub(super) fn run(&self) -> Result<Outcome> {
        let share = self.share.words();
        let mut command = vec!["CLUSTER", "JOIN"];
        command.extend(self.number.as_deref());
        command.extend(share.iter().map(String::as_str));
        self.told.change(&command)
    }
}

impl Leave {
    pub(super) fn run(&self) -> Result<Outcome> {
        let mut command = vec!["CLUSTER", "LEAVE"];
        command.extend(self.number.as_deref());
        self.told.change(&command)
    }
}

impl Replace {
    pub(super) fn run(&self) -> Result<Outcome> {
        let share = self.share.words();
        let mut command = vec!["CLUSTER", "REPLACE", &self.old, &self.new];
        command.extend(share.iter().map(String::as_str));
        self.told.change(&command)
    }
}

impl Repair {
    pub(super) fn run(&self) -> Result<Outcome> {
        let mut talk = self.told.at.talk()?;
        talk.run(&["CLUSTER", "REPAIR"])?;
        let status = self.told.wait(&mut talk, |status| {
            field(field(status, "repair"), "running") == &Frame::Boolean(false)
        })?;
        let repair = field(&status, "repair");
        let error = text(field(repair, "error"));
        if error != "-" && !self.told.no_wait {
            return Err(Failure::Refused(format!("the repair failed: {error}")));
        }
        let keys = text(field(repair, "keys"));
        self.told.tell(
            &status,
            &format!("{keys} keys were read from all of their replicas"),
        )
    }
}

impl Told {
    fn change(&self, command: &[&str]) -> Result<Outcome> {
        let mut talk = self.at.talk()?;
        let Frame::Integer(version) = talk.run(command)? else {
            return Err(Failure::Refused("the node answered something else".to_owned()));
        };
        let status = self.wait(&mut talk, |status| {
            let has = matches!(field(status, "layout"), Frame::Integer(layout) if *layout >= version);
            has && text(field(status, "phase")) == "stable"
        })?;
        let layout = text(field(&status, "layout"));
        self.tell(
            &status,
            &format!("layout {layout} is {}", text(field(&status, "phase"))),
        )
    }

    /// Waits until the status is as wanted.
    fn wait(&self, talk: &mut Talk, done: impl Fn(&Frame) -> bool) -> Result<Frame> {
        let end = Instant::now() + Duration::from_secs(self.timeout);
        loop {
            let status = talk.run(&["CLUSTER", "STATUS"])?;
            if self.no_wait || done(&status) {
                return Ok(status);
            }
            if Instant::now() >= end {
                return Err(Failure::Refused(format!(
                    "it was not done after {} seconds, and goes on: 'weald cluster status' shows how far it is",
                    self.timeout
                )));
            }
            std::thread::sleep(STEP);
        }
    }

    fn tell(&self, status: &Frame, line: &str) -> Result<Outcome> {
        let mut out = Output::new();
        if self.json {
            let mut bytes = Vec::new();
            // Writing to memory doesn't fail.
            let _ = write_json(&mut bytes, status);
            bytes.push(b'\n');
            out.raw(&bytes)?;
        } else {
            out.line(line)?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}

//! `weald cluster status` and `layout`.

use std::io::{self, Write};

use clap::Args;
use weald_server::Frame;

use crate::cli::Outcome;
use crate::cli::cluster::talk::{At, elements, field, text};
use crate::cli::failure::Result;
use crate::cli::output::Output;

/// Show the cluster as a node sees it: members, moves, repair
///
/// The exit code is 1 where the node doesn't serve.
#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    at: At,

    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Show who owns which partition
#[derive(Args, Debug)]
pub(crate) struct Layout {
    #[command(flatten)]
    at: At,

    /// Print a JSON object for each line
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(&self) -> Result<Outcome> {
        let status = self.at.talk()?.run(&["CLUSTER", "STATUS"])?;
        let mut out = Output::new();
        if self.json {
            let mut line = Vec::new();
            // Writing to memory doesn't fail.
            let _ = write_json(&mut line, &status);
            line.push(b'\n');
            out.raw(&line)?;
        } else {
            show(&mut out, &status)?;
        }
        out.finish()?;
        Ok(Outcome::of(field(&status, "serving") == &Frame::Boolean(true)))
    }
}

fn show(out: &mut Output, status: &Frame) -> Result<()> {
    let of = |name: &str| text(field(status, name));
    let quorums = field(status, "quorums");
    let number = |name: &str| text(field(quorums, name));
    out.line(format_args!(
        "node {}: serving {}, layout {} {}, {} replicas, writes wait for {}, reads for {}, {} partitions",
        of("node"),
        of("serving"),
        of("layout"),
        of("phase"),
        number("replica_count"),
        number("write_quorum"),
        number("read_quorum"),
        number("partitions")
    ))?;
    out.line(format_args!(
        "{:<16}  {:<22} {:<8} {:<8} {:>10} {:>8} {:>6} {:>4}",
        "NODE", "ADDRESS", "STATE", "MEMBER", "PARTITIONS", "PRIMARY", "WEIGHT", "ZONE"
    ))?;
    for member in elements(field(status, "members")) {
        let of = |name: &str| text(field(member, name));
        out.line(format_args!(
            "{:<16}  {:<22} {:<8} {:<8} {:>10} {:>8} {:>6} {:>4}",
            of("node"),
            of("address"),
            of("state"),
            of("member"),
            of("partitions"),
            of("primary"),
            of("weight"),
            of("zone")
        ))?;
    }
    let left = of("to_fetch");
    if left != "0" {
        out.line(format_args!(
            "{left} partitions are still to be fetched by this node"
        ))?;
    }
    let repair = field(status, "repair");
    let of = |name: &str| text(field(repair, name));
    if of("running") == "yes" {
        out.line(format_args!("a repair is going on: {} keys so far", of("keys")))?;
    }
    if of("error") != "-" {
        out.line(format_args!("the last repair failed: {}", of("error")))?;
    }
    Ok(())
}

impl Layout {
    pub(super) fn run(&self) -> Result<Outcome> {
        let layout = self.at.talk()?.run(&["CLUSTER", "LAYOUT"])?;
        let mut out = Output::new();
        for line in text(&layout).lines() {
            if self.json {
                let fields: Vec<(&str, &str)> = line
                    .split(' ')
                    .filter_map(|field| field.split_once('='))
                    .collect();
                out.json(false, |json| {
                    fields
                        .iter()
                        .try_fold(json, |json, (name, value)| match value.parse() {
                            Ok(number) if *name != "owners" && *name != "before" => json.number(name, number),
                            _ => json.text(name, value),
                        })
                })?;
            } else {
                out.line(line)?;
            }
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}

/// A reply as JSON. The node's own replies have texts for names, and nothing deeper than a few levels.
pub(super) fn write_json(out: &mut impl Write, frame: &Frame) -> io::Result<()> {
    match frame {
        Frame::Null => out.write_all(b"null"),
        Frame::Integer(number) => write!(out, "{number}"),
        Frame::Boolean(yes) => write!(out, "{yes}"),
        Frame::Array(frames) | Frame::Set(frames) | Frame::Push(frames) => {
            out.write_all(b"[")?;
            for (at, frame) in frames.iter().enumerate() {
                if at > 0 {
                    out.write_all(b",")?;
                }
                write_json(out, frame)?;
            }
            out.write_all(b"]")
        }
        Frame::Map(pairs) => {
            out.write_all(b"{")?;
            for (at, (key, value)) in pairs.iter().enumerate() {
                if at > 0 {
                    out.write_all(b",")?;
                }
                crate::cli::json::string(out, &text(key))?;
                out.write_all(b":")?;
                write_json(out, value)?;
            }
            out.write_all(b"}")
        }
        frame => crate::cli::json::string(out, &text(frame)),
    }
}

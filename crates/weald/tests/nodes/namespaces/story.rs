//! What three nodes go through, by each transport.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weald::server::Frame;

use super::network::Network;
use super::node::Town;
use crate::nodes::failures::check_all;
use crate::nodes::host::until;

/// Clients that write keys of their own, one on each of these nodes.
struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    written: Arc<Mutex<Written>>,
    threads: Vec<JoinHandle<()>>,
}

/// Keys by what was said of them; each has its own name for a value.
#[derive(Default)]
struct Written {
    acknowledged: Vec<String>,
    /// These may or may not have taken effect.
    refused: Vec<String>,
}

impl Load {
    fn on(town: &Town, nodes: &[usize], name: &str) -> Load {
        let mut load = Load {
            stop: Arc::default(),
            count: Arc::default(),
            written: Arc::default(),
            threads: Vec::new(),
        };
        for &at in nodes {
            let (stop, count, written) = (load.stop.clone(), load.count.clone(), load.written.clone());
            let (mut client, name) = (town.client(at), format!("{name}:{at}"));
            load.threads.push(std::thread::spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let key = format!("{name}:{number}");
                    let answer = client.try_run(&format!("SET {key} {key}")).expect("answered");
                    let mut written = written.lock().expect("whole");
                    if matches!(answer, Frame::Simple(_)) {
                        written.acknowledged.push(key);
                        count.fetch_add(1, Ordering::SeqCst);
                    } else {
                        written.refused.push(key);
                    }
                    drop(written);
                    // What matters is that some go on all the time, and each is looked at in the end.
                    std::thread::sleep(Duration::from_millis(10));
                }
            }));
        }
        load
    }

    fn wait_for(&self, more: usize) {
        let goal = self.count.load(Ordering::SeqCst) + more;
        until("writes", || self.count.load(Ordering::SeqCst) >= goal);
    }

    fn end(self, all: &mut Written) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("it does not panic");
        }
        let mut written = self.written.lock().expect("whole");
        all.acknowledged.append(&mut written.acknowledged);
        all.refused.append(&mut written.refused);
    }
}

/// A node that reaches nobody says so, of writes and of reads, and goes on answering what needs nobody else.
fn refuses(town: &Town, at: usize, known: &str, written: &mut Written) {
    let mut client = town.client(at);
    let key = format!("alone:{at}:{known}:{}", written.refused.len());
    assert_eq!(
        client.text(&format!("SET {key} {key}")),
        "-NOREPLICAS 1 of 2 replicas answered; the write may still take effect"
    );
    written.refused.push(key);
    assert_eq!(
        client.text(&format!("GET {known}")),
        "-NOREPLICAS 1 of 2 replicas answered"
    );
    assert_eq!(client.text(&format!("WEALD.WITH eventual GET {known}")), known);
    assert_eq!(client.text("PING"), "PONG");
}

/// After the network is whole: nothing is lost, and all copies are equal. What was written since the last time is looked at, and goes to the rest.
fn recovers(town: &mut Town, all: &mut Written, past: &mut Vec<String>, what: &str) {
    town.network.heal();
    for at in 0..3 {
        (0..3)
            .filter(|of| *of != at)
            .for_each(|of| town.wait_for_doubt(at, of, false));
    }
    town.wait_for_members(3);
    town.told(&format!("whole again after {what}: all answer each other"));
    check_everywhere(town, &all.acknowledged, &all.refused);
    let (there, refused) = (all.acknowledged.len(), all.refused.len());
    town.told(&format!(
        "{there} acknowledged writes are on all three, {refused} refused ones alike"
    ));
    past.append(&mut all.acknowledged);
    all.refused.clear();
}

fn check_everywhere(town: &Town, acknowledged: &[String], refused: &[String]) {
    town.wait_for_equal_copies(acknowledged, refused);
    for at in 0..3 {
        check_all(&mut town.client(at), acknowledged);
    }
}

fn story(transport: &str) {
    let network = match Network::of(3, transport) {
        Ok(network) => network,
        Err(why) if std::env::var_os("WEALD_NEED_NAMESPACES").is_some() => panic!("{why}"),
        Err(why) => return eprintln!("SKIPPED: no network namespaces here: {why}"),
    };
    println!("{transport}");
    let mut town = Town::of(network, transport);
    let (mut all, mut past) = (Written::default(), Vec::new());
    let load = Load::on(&town, &[0, 1, 2], "whole");
    load.wait_for(100);
    load.end(&mut all);
    let known = all.acknowledged[0].clone();
    town.told("writes by all three");

    // The cable of one is pulled under load.
    let load = Load::on(&town, &[0, 1], "cut");
    load.wait_for(30);
    town.network.cut(2);
    load.wait_for(60);
    refuses(&town, 2, &known, &mut all);
    town.wait_for_doubt(0, 2, true);
    town.wait_for_doubt(2, 0, true);
    load.wait_for(30);
    load.end(&mut all);
    town.told("one cut off: it refuses, the others go on");
    recovers(&mut town, &mut all, &mut past, "the cut");

    // One hears the others, and they don't hear it.
    let load = Load::on(&town, &[0, 1], "mute");
    let misled = town.network.misled();
    (0..2).for_each(|to| town.network.lose(2, to));
    load.wait_for(60);
    refuses(&town, 2, &known, &mut all);
    town.wait_for_doubt(0, 2, true);
    load.wait_for(30);
    load.end(&mut all);
    assert!(town.network.misled() > misled, "what it said was lost");
    town.told("one can't be heard: it refuses, the others go on");
    recovers(&mut town, &mut all, &mut past, "the silence");

    // The others hear it, and it doesn't hear them.
    let load = Load::on(&town, &[0, 1], "deaf");
    (0..2).for_each(|from| town.network.lose(from, 2));
    load.wait_for(60);
    refuses(&town, 2, &known, &mut all);
    town.wait_for_doubt(0, 2, true);
    load.wait_for(30);
    load.end(&mut all);
    town.told("one can't hear: it refuses, the others go on");
    recovers(&mut town, &mut all, &mut past, "the deafness");

    // One direction between two of them leads nowhere: each still has a majority with the third.
    let load = Load::on(&town, &[0, 1, 2], "way");
    let misled = town.network.misled();
    town.network.lose(0, 1);
    load.wait_for(100);
    load.end(&mut all);
    assert!(town.network.misled() > misled, "something was lost");
    town.told("one direction between two lost: all three go on");
    recovers(&mut town, &mut all, &mut past, "the lost direction");

    // The whole network loses some of what it carries.
    let load = Load::on(&town, &[0, 1, 2], "lossy");
    let goal = load.count.load(Ordering::SeqCst) + 150;
    let end = Instant::now() + Duration::from_secs(30);
    let (how, lost) = town.network.trouble(|| {
        assert!(Instant::now() < end, "writes did not go on");
        load.count.load(Ordering::SeqCst) < goal
    });
    load.end(&mut all);
    assert!(lost > 0, "nothing was lost ({how})");
    town.told(&format!(
        "writes by all three while {lost} packets were lost ({how})"
    ));
    recovers(&mut town, &mut all, &mut past, "the losses");
    check_everywhere(&town, &past, &[]);
    town.told(&format!(
        "{} acknowledged writes in all are still there",
        past.len()
    ));
}

#[test]
fn networks_that_break_lose_nothing_by_tcp() {
    story("tcp");
}

#[test]
fn networks_that_break_lose_nothing_by_udp() {
    story("udp");
}

#[cfg(feature = "io_uring")]
#[test]
fn networks_that_break_lose_nothing_by_uring() {
    story("uring");
}

//! Nodes that die, hang and come back while clients write.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use weald::server::Frame;

use super::client::{Client, shown};
use super::host::{Town, until};

/// Clients that write keys of their own, and remember which writes were acknowledged.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    pub(crate) count: Arc<AtomicUsize>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Each thread prefers another of these nodes, and goes on to the next when it is gone.
    pub(crate) fn on(town: &Town, nodes: &[usize], name: &str) -> Load {
        let mut load = Load {
            stop: Arc::default(),
            count: Arc::default(),
            acknowledged: Arc::default(),
            threads: Vec::new(),
        };
        let ports: Vec<u16> = nodes.iter().map(|at| town.hosts[*at].port).collect();
        for thread in 0..nodes.len() {
            let (stop, count, acknowledged) =
                (load.stop.clone(), load.count.clone(), load.acknowledged.clone());
            let (ports, name) = (ports.clone(), format!("{name}:{thread}"));
            load.threads.push(std::thread::spawn(move || {
                let mut at = thread;
                let mut client = None;
                let mut number = 0;
                while !stop.load(Ordering::SeqCst) {
                    let Some(open) = &mut client else {
                        at = (at + 1) % ports.len();
                        client = Client::connect(ports[at]).ok();
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    };
                    number += 1;
                    let key = format!("{name}:{number}");
                    match open.try_run(&format!("SET {key} {key}")) {
                        Ok(Frame::Simple(_)) => {
                            acknowledged.lock().expect("whole").push(key);
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(_) => {}
                        Err(_) => client = None,
                    }
                }
            }));
        }
        load
    }

    pub(crate) fn wait_for(&self, more: usize) {
        let goal = self.count.load(Ordering::SeqCst) + more;
        until("writes", || self.count.load(Ordering::SeqCst) >= goal);
    }

    /// The keys of all writes that were acknowledged.
    pub(crate) fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("it does not panic");
        }
        std::mem::take(&mut *self.acknowledged.lock().expect("whole"))
    }
}

/// Every key is there, by this node.
pub(crate) fn check_all<S: Read + Write>(client: &mut Client<S>, keys: &[String]) {
    for some in keys.chunks(200) {
        let commands: Vec<Vec<&str>> = some.iter().map(|key| vec!["GET", key]).collect();
        client.send(&commands).expect("sent");
        for key in some {
            assert_eq!(&shown(&client.reply().expect("answered")), key);
        }
    }
}

#[test]
fn no_acknowledged_write_is_lost_whoever_is_killed() {
    let mut town = Town::of(3);

    // One is killed under load: the others go on.
    let load = Load::on(&town, &[0, 1, 2], "one");
    load.wait_for(300);
    town.hosts[2].signal("KILL");
    load.wait_for(300);
    let mut keys = load.end();
    check_all(&mut town.client(0), &keys);
    check_all(&mut town.client(1), &keys);
    town.told(&format!(
        "one of three killed under load: {} acknowledged writes, none lost",
        keys.len()
    ));

    // It comes back with its data, and what it missed comes to it.
    town.restart(2);
    town.wait_for_members(3);
    town.told("it serves again");
    town.wait_for_equal_copies(&[0, 1, 2], &keys);
    town.told("its copies are those of the others");

    // One hangs for longer than it takes to be suspected.
    let load = Load::on(&town, &[0, 2], "hung");
    load.wait_for(50);
    town.hosts[1].signal("STOP");
    load.wait_for(100);
    std::thread::sleep(Duration::from_millis(1500));
    load.wait_for(100);
    town.hosts[1].signal("CONT");
    let written = load.end();
    check_all(&mut town.client(1), &written);
    town.told(&format!(
        "one of three hung under load and went on: {} acknowledged writes, none lost",
        written.len()
    ));
    keys.extend(written);
    town.wait_for_equal_copies(&[0, 1, 2], &keys);
    town.told("its copies are those of the others");

    // All are killed at once: what was acknowledged is on a quorum of disks.
    let load = Load::on(&town, &[0, 1, 2], "all");
    load.wait_for(200);
    for at in 0..3 {
        town.hosts[at].signal("KILL");
    }
    keys.extend(load.end());
    for at in 0..3 {
        town.restart(at);
    }
    town.wait_for_members(3);
    for at in 0..3 {
        check_all(&mut town.client(at), &keys);
    }
    town.told(&format!(
        "all killed under load and started again: {} acknowledged writes, none lost",
        keys.len()
    ));
    town.wait_for_equal_copies(&[0, 1, 2], &keys);
    town.told("their copies are equal");

    // With one of three left, a quorum can't be had, and the answer says so.
    town.hosts[1].signal("KILL");
    town.hosts[2].signal("KILL");
    let mut client = town.client(0);
    assert_eq!(
        client.text("SET few 1"),
        "-NOREPLICAS 1 of 2 replicas answered; the write may still take effect"
    );
    assert_eq!(client.text("GET few"), "-NOREPLICAS 1 of 2 replicas answered");
    let text = client.text("INCR few-count");
    assert!(text.starts_with("-NOREPLICAS 1 of 2 replicas answered"), "{text}");
    assert_eq!(
        client.text(&format!("WEALD.WITH eventual GET {}", keys[0])),
        keys[0]
    );
    assert_eq!(client.text("PING"), "PONG");
    town.told("two of three dead: typed errors");

    // Alone since its start it doesn't know what the others agreed on meanwhile, and says so to whoever sends it clients.
    assert_eq!(town.hosts[0].http("/readyz"), "ready\n");
    town.hosts[0].signal("KILL");
    town.restart(0);
    town.client(0);
    until("it says that it doesn't serve", || {
        town.hosts[0].http("/readyz").contains("does not serve")
    });
    town.restart(1);
    until("it serves", || town.hosts[0].http("/readyz") == "ready\n");
    town.told("started alone, it serves when a second one is there");
}

//! Connections with somebody in between who changes, repeats, reorders or swallows what passes.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use weald_cluster::{Identity, Keys, Receive, Refused, Tcp, TcpOptions, Transport};
use weald_cluster_proto::{Lane, NodeId};

const INTACT: u8 = 0;
const CHANGE: u8 = 1;
const REPEAT: u8 = 2;
const SWAP: u8 = 3;
const SWALLOW: u8 = 4;

/// What arrived.
#[derive(Default)]
struct Arrivals(Mutex<Vec<(NodeId, Vec<u8>)>>);

impl Arrivals {
    fn all(&self) -> Vec<Vec<u8>> {
        let arrivals = self.0.lock().expect("no panics");
        arrivals.iter().map(|(_, message)| message.clone()).collect()
    }
}

impl Receive for Arrivals {
    fn receive(&self, from: NodeId, message: &[u8]) -> Result<(), Refused> {
        if message == b"junk" {
            return Err(Refused);
        }
        self.0.lock().expect("no panics").push((from, message.to_vec()));
        Ok(())
    }
}

fn end(seed: u8) -> (Arc<Tcp>, Arc<Arrivals>, NodeId) {
    let keys = Keys::new(
        Identity::from_seed(&[seed; 32]),
        "orchard",
        b"sixteen random bytes",
    );
    let node = keys.node();
    let options = TcpOptions {
        check_interval: Duration::from_millis(100),
        retry_max: Duration::from_millis(200),
        connect_timeout: Duration::from_secs(2),
        ..TcpOptions::new("127.0.0.1:0")
    };
    let tcp = Tcp::bind(options, keys).expect("a port");
    let arrivals = Arc::new(Arrivals::default());
    tcp.start(arrivals.clone());
    (tcp, arrivals, node)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{what} did not come about");
        thread::sleep(Duration::from_millis(5));
    }
}

fn record(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 2];
    from.read_exact(&mut len)?;
    let mut record = len.to_vec();
    record.resize(2 + usize::from(u16::from_le_bytes(len)), 0);
    from.read_exact(&mut record[2..])?;
    Ok(record)
}

/// Passes records on as the fault says; a fault other than swallowing strikes once.
fn pass(mut from: TcpStream, mut to: TcpStream, fault: &AtomicU8) -> io::Result<()> {
    let mut held: Option<Vec<u8>> = None;
    loop {
        let mut record = record(&mut from)?;
        if let Some(held) = held.take() {
            to.write_all(&record)?;
            to.write_all(&held)?;
            continue;
        }
        match fault.load(Ordering::SeqCst) {
            SWALLOW => continue,
            SWAP => {
                fault.store(INTACT, Ordering::SeqCst);
                held = Some(record);
                continue;
            }
            CHANGE => {
                fault.store(INTACT, Ordering::SeqCst);
                let last = record.len() - 20;
                record[last] ^= 1;
            }
            REPEAT => {
                fault.store(INTACT, Ordering::SeqCst);
                to.write_all(&record)?;
            }
            _ => {}
        }
        to.write_all(&record)?;
    }
}

/// Stands between: its address, and what it does to what passes to the target.
fn between(target: Vec<u8>) -> (Vec<u8>, Arc<AtomicU8>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string().into_bytes();
    let fault = Arc::new(AtomicU8::new(INTACT));
    let armed = fault.clone();
    thread::spawn(move || {
        for from in listener.incoming() {
            let from = from.expect("a connection");
            let to = TcpStream::connect(std::str::from_utf8(&target).expect("text")).expect("connected");
            let (back_from, back_to) = (to.try_clone().expect("cloned"), from.try_clone().expect("cloned"));
            let (fault, calm) = (armed.clone(), AtomicU8::new(INTACT));
            thread::spawn(move || {
                let closing = to.try_clone().expect("cloned");
                let _ = pass(from, to, &fault);
                let _ = closing.shutdown(std::net::Shutdown::Both);
            });
            thread::spawn(move || {
                let closing = back_to.try_clone().expect("cloned");
                let _ = pass(back_from, back_to, &calm);
                let _ = closing.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    (address, fault)
}

fn strike(fault: u8) -> (Vec<Vec<u8>>, u64) {
    let (here, _, _) = end(1);
    let (there, arrivals, peer) = end(2);
    let (address, armed) = between(there.address());
    let send = |message: &[u8]| here.send(Some(peer), &address, Lane::Request, message.to_vec());
    assert!(send(b"before"));
    until("the first message", || arrivals.all() == [b"before"]);
    armed.store(fault, Ordering::SeqCst);
    send(b"struck");
    thread::sleep(Duration::from_millis(20));
    send(b"next");
    until("the end of the connection", || {
        there.stats().refused + there.stats().broken + here.stats().broken > 0
    });
    armed.store(INTACT, Ordering::SeqCst);
    until("another connection", || {
        send(b"after");
        arrivals.all().contains(&b"after".to_vec())
    });
    assert!(here.stats().sessions >= 2);
    let refused = there.stats().refused;
    here.stop();
    there.stop();
    let mut all = arrivals.all();
    all.retain(|message| message != b"after");
    (all, refused)
}

#[test]
fn what_was_changed_does_not_arrive() {
    let (arrived, refused) = strike(CHANGE);
    assert_eq!((arrived, refused), (vec![b"before".to_vec()], 1));
}

#[test]
fn what_is_repeated_arrives_once() {
    let (arrived, refused) = strike(REPEAT);
    let mut once = arrived.clone();
    once.dedup();
    assert_eq!((once, refused), (arrived, 1));
}

#[test]
fn what_is_reordered_does_not_arrive() {
    let (arrived, refused) = strike(SWAP);
    assert_eq!((arrived, refused), (vec![b"before".to_vec()], 1));
}

#[test]
fn a_connection_that_leads_nowhere_is_given_up_and_made_again() {
    let (arrived, _) = strike(SWALLOW);
    assert_eq!(arrived, [b"before".to_vec()]);
}

#[test]
fn long_messages_arrive_whole_and_share_writes() {
    let (here, _, node) = end(1);
    let (there, arrivals, peer) = end(2);
    let long: Vec<u8> = (0..10 << 20).map(|at: u32| (at % 251) as u8).collect();
    assert!(here.send(Some(peer), &there.address(), Lane::Transfer, long.clone()));
    for number in 0..1000u32 {
        assert!(here.send(
            Some(peer),
            &there.address(),
            Lane::Answer,
            number.to_le_bytes().to_vec()
        ));
    }
    until("all of them", || {
        arrivals.0.lock().expect("no panics").len() == 1001
    });
    let (last, short) = {
        arrivals
            .all()
            .split_last()
            .map(|(last, short)| (last.clone(), short.to_vec()))
    }
    .expect("some");
    assert!(last == long, "the answers overtook it");
    assert!(
        short
            .iter()
            .zip(0u32..)
            .all(|(message, number)| message[..] == number.to_le_bytes())
    );
    assert!(
        arrivals
            .0
            .lock()
            .expect("no panics")
            .iter()
            .all(|(from, _)| *from == node)
    );
    assert!(here.stats().writes < 200, "{:?}", here.stats());
    assert_eq!(here.stats().sent, 1001);
    here.stop();
    there.stop();
}

#[test]
fn what_is_for_another_node_or_is_no_message_is_not_taken() {
    let (here, _, _) = end(1);
    let (there, arrivals, peer) = end(2);
    let address = there.address();
    here.send(Some(NodeId(77)), &address, Lane::Request, b"for another".to_vec());
    here.send(Some(peer), &address, Lane::Request, b"for it".to_vec());
    until("its message", || arrivals.all() == [b"for it"]);
    assert_eq!(here.stats().dropped, 1);
    // Too long, and not sent at all.
    assert!(!here.send(
        None,
        &address,
        Lane::Request,
        vec![0; weald_cluster_proto::MESSAGE_MAX + 1]
    ));
    here.send(Some(peer), &address, Lane::Request, b"junk".to_vec());
    until("a refusal", || there.stats().refused == 1);
    until("another connection", || {
        here.send(Some(peer), &address, Lane::Request, b"again".to_vec());
        arrivals.all().contains(&b"again".to_vec())
    });
    here.stop();
    there.stop();
}

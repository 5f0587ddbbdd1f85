//! Against real sockets; where the system forbids rings there is nothing to test, and that is said.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn ring() -> Option<SocketRing> {
    SocketRing::new()
        .inspect_err(|error| eprintln!("SKIPPED: no io_uring for sockets here: {error}"))
        .ok()
}

fn pair() -> (Arc<TcpStream>, Arc<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let here = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    (
        Arc::new(here),
        Arc::new(listener.accept().expect("a connection").0),
    )
}

/// Waits for so many ends.
fn ends(ring: &mut SocketRing, count: usize) -> BTreeMap<u64, Ended> {
    let until = Instant::now() + PATIENCE;
    let mut ended = Vec::new();
    while ended.len() < count {
        assert!(Instant::now() < until, "{count} ends did not come");
        ring.wait(until, &mut ended).expect("waited");
    }
    ended.into_iter().map(|ended| (ended.token, ended)).collect()
}

#[test]
fn what_is_received_comes_behind_what_the_buffer_held() {
    let Some(mut ring) = ring() else { return };
    let (here, there) = pair();
    let mut buffer = Vec::with_capacity(7);
    buffer.extend(b"so ");
    ring.receive(1, &there, buffer);
    ring.send(2, &here, b"...far and further".to_vec(), 3);
    let ended = ends(&mut ring, 2);
    assert_eq!(ended[&2].result.as_ref().ok(), Some(&15));
    assert_eq!(ended[&1].buffer[..6], *b"so far");
    assert!(ended[&1].buffer.len() <= 16, "no more than there was room for");
}

#[test]
fn an_end_and_a_break_are_told_apart() {
    let Some(mut ring) = ring() else { return };
    let (here, there) = pair();
    here.shutdown(Shutdown::Write).expect("shut");
    ring.receive(1, &there, Vec::with_capacity(10));
    assert_eq!(ends(&mut ring, 1)[&1].result.as_ref().ok(), Some(&0));
    there.shutdown(Shutdown::Both).expect("shut");
    ring.send(2, &there, b"late".to_vec(), 0);
    let ended = ends(&mut ring, 1);
    let error = ended[&2].result.as_ref().expect_err("nobody listens");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_peer_that_takes_nothing_holds_its_send_and_no_other() {
    let Some(mut ring) = ring() else { return };
    let (here, there) = pair();
    let (quick, other) = pair();
    let much: Vec<u8> = (0..16 << 20).map(|at: u32| (at % 251) as u8).collect();
    ring.send(1, &here, much.clone(), 0);
    ring.send(2, &quick, b"quick".to_vec(), 0);
    ring.receive(3, &other, Vec::with_capacity(10));
    let ended = ends(&mut ring, 2);
    assert!(ended.contains_key(&2) && ended[&3].buffer == b"quick");
    let reader = thread::spawn(move || {
        let mut got = vec![0; 16 << 20];
        (&*there).read_exact(&mut got).expect("all of it");
        got
    });
    let mut sent = 0;
    let mut buffer = None;
    while sent < much.len() {
        if let Some(rest) = buffer.take() {
            ring.send(1, &here, rest, sent);
        }
        let ended = ends(&mut ring, 1).remove(&1).expect("nothing else is under way");
        sent += ended.result.expect("sent");
        buffer = Some(ended.buffer);
    }
    assert!(reader.join().expect("no panics") == much);
}

#[test]
fn more_operations_are_under_way_than_the_queue_holds() {
    let Some(mut ring) = ring() else { return };
    let pairs: Vec<_> = (0..400).map(|_| pair()).collect();
    for (at, (_, there)) in pairs.iter().enumerate() {
        ring.receive(at as u64, there, Vec::with_capacity(8));
    }
    assert_eq!(ring.under_way(), 400);
    ring.wait(Instant::now() + Duration::from_millis(5), &mut Vec::new())
        .expect("waited");
    for (at, (here, _)) in pairs.iter().enumerate() {
        (&**here).write_all(&at.to_le_bytes()).expect("written");
    }
    let ended = ends(&mut ring, 400);
    for (at, ended) in &ended {
        assert_eq!(ended.buffer, at.to_le_bytes());
    }
    assert_eq!(ring.under_way(), 0);
}

#[test]
fn connections_are_announced_and_made() {
    let Some(mut ring) = ring() else { return };
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").expect("a port"));
    ring.acceptable(1, &listener);
    let mut ended = Vec::new();
    ring.wait(Instant::now() + Duration::from_millis(20), &mut ended)
        .expect("waited");
    assert!(ended.is_empty(), "nobody is there");
    let here = Arc::new(TcpStream::connect(listener.local_addr().expect("bound")).expect("connected"));
    ring.writable(2, &here);
    let ended = ends(&mut ring, 2);
    assert!(ended.values().all(|ended| ended.result.is_ok()));
    listener.accept().expect("it is there");
}

#[test]
fn a_wait_ends_when_it_is_called_and_when_its_time_has_come() {
    let Some(mut ring) = ring() else { return };
    let began = Instant::now();
    ring.wait(began + Duration::from_millis(30), &mut Vec::new())
        .expect("waited");
    assert!(began.elapsed() >= Duration::from_millis(25));
    // Before, during, and again and again: no call is lost.
    for pause in [None, Some(20), Some(0), None, Some(1), Some(5)] {
        let waker = ring.waker();
        let caller = thread::spawn(move || {
            thread::sleep(Duration::from_millis(pause.unwrap_or(0)));
            waker.wake();
            waker.wake();
        });
        let caller = if pause.is_none() {
            caller.join().expect("no panics");
            None
        } else {
            Some(caller)
        };
        let called = Instant::now();
        ring.wait(Instant::now() + PATIENCE, &mut Vec::new())
            .expect("waited");
        assert!(called.elapsed() < PATIENCE / 2);
        caller.map(thread::JoinHandle::join);
        // The second call, and what is left of the first, don't last.
        for _ in 0..3 {
            ring.wait(Instant::now() + Duration::from_millis(1), &mut Vec::new())
                .expect("waited");
        }
    }
}

#[test]
fn a_ring_that_is_dropped_ends_what_is_under_way() {
    let Some(mut ring) = ring() else { return };
    let (here, there) = pair();
    ring.receive(1, &there, vec![7; 100]);
    ring.send(2, &here, vec![1; 32 << 20], 0);
    ring.wait(Instant::now() + Duration::from_millis(20), &mut Vec::new())
        .expect("waited");
    // One that was never submitted as well.
    ring.receive(3, &here, Vec::new());
    let began = Instant::now();
    drop(ring);
    assert!(began.elapsed() < END_SOON, "{:?}", began.elapsed());
    // Nothing holds the sockets any more.
    assert_eq!((Arc::strong_count(&here), Arc::strong_count(&there)), (1, 1));
}

const END_SOON: Duration = Duration::from_millis(1500);

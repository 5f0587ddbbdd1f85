//! Commands that wait for keys.

use std::time::{Duration, Instant};

use crate::client::{Client, Served};

/// Waits until so many clients wait.
fn wait_for_blocked(client: &mut Client, count: usize) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        let info = crate::client::show(&client.run("INFO clients"));
        if info.contains(&format!("blocked_clients:{count}\r\n")) {
            return;
        }
    }
    panic!("they do not wait");
}

#[test]
fn who_came_first_is_served_first() {
    let served = Served::new();
    let (mut first, mut second, mut pusher) = (served.client(), served.client(), served.client());
    first.send("BLPOP a b 0");
    wait_for_blocked(&mut pusher, 1);
    second.send("BLPOP b 0");
    wait_for_blocked(&mut pusher, 2);
    pusher.check("RPUSH b 1 2", ":2");
    first.expect("[b 1]");
    second.expect("[b 2]");
    pusher.check("EXISTS b", ":0");
    wait_for_blocked(&mut pusher, 0);
}

#[test]
fn what_was_sent_after_it_waits_too() {
    let served = Served::new();
    let (mut waiter, mut pusher) = (served.client(), served.client());
    waiter.send_bytes(b"BLPOP a 0\r\nPING\r\nBLPOP a 0\r\nPING\r\n");
    wait_for_blocked(&mut pusher, 1);
    pusher.check("RPUSH a 1", ":1");
    waiter.expect("[a 1]");
    waiter.expect("+PONG");
    pusher.check("RPUSH a 2", ":1");
    waiter.expect("[a 2]");
    waiter.expect("+PONG");
}

#[test]
fn the_wait_ends_after_its_time() {
    let served = Served::new();
    let mut client = served.client();
    let begin = Instant::now();
    client.check("BLPOP a 0.05", "null");
    client.check("BLMOVE a b LEFT RIGHT 0.05", "null");
    client.check("BZPOPMIN a 0.05", "null");
    assert!(begin.elapsed() >= Duration::from_millis(150));
    client.check("BLPOP a -1", "-ERR timeout is negative");
    client.check("BLPOP a x", "-ERR timeout is not a float or out of range");
}

#[test]
fn within_a_transaction_nothing_waits() {
    let served = Served::new();
    let mut client = served.client();
    client.check("MULTI", "+OK");
    client.check("BLPOP a 0", "+QUEUED");
    client.check("EXEC", "[null]");
}

#[test]
fn a_chain_of_waiting_clients_is_served_to_its_end() {
    let served = Served::new();
    let (mut mover, mut popper, mut pusher) = (served.client(), served.client(), served.client());
    mover.send("BLMOVE a b LEFT RIGHT 0");
    wait_for_blocked(&mut pusher, 1);
    popper.send("BLPOP b 0");
    wait_for_blocked(&mut pusher, 2);
    pusher.check("LPUSH a x", ":1");
    mover.expect("x");
    popper.expect("[b x]");
}

#[test]
fn a_key_of_another_type_wakes_nobody() {
    let served = Served::new();
    let (mut waiter, mut other) = (served.client(), served.client());
    waiter.send("BLPOP a 0");
    wait_for_blocked(&mut other, 1);
    other.check("SET a 1", "+OK");
    other.check("DEL a", ":1");
    other.check("RPUSH a x", ":1");
    waiter.expect("[a x]");
}

#[test]
fn somebody_else_can_end_the_wait() {
    let served = Served::new();
    let (mut waiter, mut other) = (served.client(), served.client());
    let id = crate::client::show(&waiter.run("CLIENT ID")).replace(':', "");
    other.check(&format!("CLIENT UNBLOCK {id}"), ":0");
    waiter.send("BLPOP a 0");
    wait_for_blocked(&mut other, 1);
    other.check(&format!("CLIENT UNBLOCK {id} ERROR"), ":1");
    waiter.expect("-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    let info = crate::client::show(&other.run("INFO everything"));
    assert!(info.contains("errorstat_UNBLOCKED:count=1\r\n"), "{info}");
    assert!(
        info.contains("cmdstat_blpop:") && info.contains("failed_calls=1\r\n"),
        "{info}"
    );
    waiter.send("BLPOP a 0");
    wait_for_blocked(&mut other, 1);
    other.check(&format!("CLIENT UNBLOCK {id}"), ":1");
    waiter.expect("null");
}

#[test]
fn one_that_goes_away_gets_nothing() {
    let served = Served::new();
    let (mut waiter, mut other) = (served.client(), served.client());
    waiter.send("BLPOP a 0");
    wait_for_blocked(&mut other, 1);
    drop(waiter);
    wait_for_blocked(&mut other, 0);
    other.check("RPUSH a x", ":1");
    other.check("LRANGE a 0 -1", "[x]");
}

#[test]
fn pauses_hold_writes_back_and_end() {
    let served = Served::new();
    let (mut one, mut other) = (served.client(), served.client());
    one.check("CLIENT PAUSE 300 WRITE", "+OK");
    let begin = Instant::now();
    other.check("GET a", "null");
    other.check("SET a 1", "+OK");
    assert!(begin.elapsed() >= Duration::from_millis(200));
    one.check("CLIENT PAUSE 100000 WRITE", "+OK");
    other.send("SET a 2");
    one.check("CLIENT UNPAUSE", "+OK");
    other.expect("+OK");
}

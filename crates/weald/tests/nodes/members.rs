//! Nodes that come and go while keys are read and written.

use std::sync::atomic::{AtomicBool, Ordering};

use super::failures::{Load, check_all};
use super::host::{Town, until, weald};

#[test]
fn nodes_join_and_leave_while_keys_are_read() {
    let mut town = Town::of(3);
    let load = Load::on(&town, &[0, 1, 2], "before");
    load.wait_for(500);
    let mut keys = load.end();
    town.told(&format!("{} writes", keys.len()));

    let load = Load::on(&town, &[0, 1, 2], "join");
    let done = AtomicBool::new(false);
    let mut clients: Vec<_> = (0..3).map(|at| town.client(at)).collect();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::SeqCst) {
                for client in &mut clients {
                    check_all(client, &keys);
                }
                rounds += 1;
            }
            rounds
        });
        town.add();
        town.wait_for_members(4);
        done.store(true, Ordering::SeqCst);
        assert!(reader.join().expect("every key was there") > 0);
    });
    keys.extend(load.end());
    check_all(&mut town.client(3), &keys);
    town.told("a fourth joined while keys were read and written");

    // The founder goes, by the command line, and is stopped.
    let load = Load::on(&town, &[1, 2, 3], "leave");
    let node = format!("127.0.0.1:{}", town.hosts[0].port);
    let left = weald()
        .args(["cluster", "leave", "--node", &node])
        .output()
        .expect("the program runs");
    assert!(left.status.success(), "{left:?}");
    town.hosts[0].signal("TERM");
    keys.extend(load.end());
    for at in 1..4 {
        check_all(&mut town.client(at), &keys);
    }
    town.wait_for_members(3);
    town.told("the founder left, and was stopped");

    // A node that left stays out when it is started again, and answers for the others' keys once it is asked to come back.
    town.restart(0);
    let mut client = town.client(0);
    until("the node that left to hear of the others", || {
        client.text("CLUSTER INFO").contains("cluster_known_nodes:4")
    });
    let joined = weald()
        .args(["cluster", "join", "--node", &node])
        .output()
        .expect("the program runs");
    assert!(joined.status.success(), "{joined:?}");
    town.wait_for_members(4);
    check_all(&mut town.client(0), &keys);
    town.told("it came back");
}

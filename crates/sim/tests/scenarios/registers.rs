//! Compare-and-set.

use weald_cluster_proto::{Bug, Bytes, Expect, Found, NodeId, Reply, Request};
use weald_sim::World;

use crate::town::{Town, bytes};

#[test]
fn counters_count_every_success_once() {
    let mut town = Town::new(3, &[]);
    let key = bytes("counter");
    let mut known: Option<Bytes> = None;
    let mut done = 0u64;
    for step in 0..60u64 {
        let next: Bytes = (done + 1).to_string().into_bytes().into();
        let expect = known.clone().map_or(Expect::Absent, Expect::Value);
        let request = Request::CompareAndSet {
            key: key.clone(),
            expect,
            value: Some(next.clone()),
            ttl_ms: None,
        };
        match town.ask(1 + step % 3, request) {
            Reply::Compared { swapped: true, .. } => {
                done += 1;
                known = Some(next);
            }
            other => panic!("{other:?}"),
        }
    }
    let plain = town.value(2, "counter").unwrap();
    assert_eq!(plain, Some(bytes("60")), "a plain read goes through the register");
    town.put(3, "counter", Some("reset")).unwrap();
    let found = town.ask(1, Request::GetRegister { key });
    assert!(matches!(found, Reply::Register(Found { value: Some(value), .. }) if value == bytes("reset")));
}

#[test]
fn a_swap_that_others_followed_tells_what_it_wrote() {
    let mut town = Town::new(3, &[]);
    // The first one's value reaches node 2, but nobody's answer reaches it.
    town.cut(&[1], &[3]);
    let first = town.begin_set(1, "k", Some("first"));
    town.wait_for_message(1, 2, "Accept");
    town.world.network.blocked.insert((NodeId(2), NodeId(1)));
    town.wait(10_000);
    let second = town.set(3, "k", Some("second"));
    assert_eq!(second.value, Some(bytes("second")));
    town.join_up();
    let Reply::Compared { swapped: true, found } = town.reply(first) else {
        panic!("it was taken up, and the second came from it");
    };
    assert_eq!(found.value, Some(bytes("first")));
    assert!(found.version < second.version);
    assert_eq!(town.value(2, "k"), Ok(Some(bytes("second"))));
}

#[test]
fn what_is_written_when_one_has_forgotten_a_register_and_another_has_not_stays() {
    for (bugs, stays) in [(&[][..], true), (&[Bug::EarlyDrop][..], false)] {
        let mut town = Town::new(3, bugs);
        town.set(1, "k", Some("v"));
        town.set(1, "k", None);
        let layout = town.world.newest_layout().unwrap();
        let owners = layout.readers(layout.partition_of(b"k"));
        let [primary, other, late] = [0, 1, 2].map(|place: usize| owners[place].node);
        // The round's last word reaches two of them. The third goes on with what it had when the power is back.
        let held = |world: &World, id: &NodeId| {
            world.machines[id]
                .disk
                .data
                .keys()
                .any(|(_, key)| *key == bytes("k"))
        };
        let last = if stays { "Forget" } else { "Settle" };
        for round in 0.. {
            assert!(round < 100, "it is never forgotten");
            town.wait_for_message(primary.0, late.0, last);
            town.world.pause(late);
            town.wait(20_000);
            if !held(&town.world, &primary) && !held(&town.world, &other) {
                break;
            }
            town.world.resume(late);
        }
        assert!(held(&town.world, &late));
        town.put(primary.0, "k", Some("new")).unwrap();
        town.world.crash(late);
        town.cut(&[other.0], &[primary.0, late.0]);
        town.world.start(late);
        town.wait_for("it serves", |world| {
            let node = world.machines[&late].node.as_ref();
            node.is_some_and(weald_cluster_proto::Node::is_serving)
        });
        assert_eq!(town.value(late.0, "k"), Ok(stays.then(|| bytes("new"))));
    }
}

//! What is deleted stays deleted, beside a node that was away and one whose folder was put back from an old copy.

use std::path::Path;

use super::failures::{Load, check_all};
use super::host::{Town, until};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("a type").is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("copied");
        }
    }
}

/// All nodes agree that these are gone and those are there; no store of theirs has a value of the former.
fn check(town: &Town, gone: &[String], there: &[String]) {
    for at in 0..3 {
        let mut client = town.client(at);
        assert_eq!(client.text(&format!("EXISTS {}", gone.join(" "))), "0");
        check_all(&mut client, there);
        until("no copy of what is deleted", || {
            gone.iter()
                .all(|key| !client.text(&format!("WEALD.LOCAL {key}")).contains("present"))
        });
    }
}

#[test]
fn what_is_deleted_does_not_come_back_with_a_node_that_was_away_or_an_old_copy() {
    let mut town = Town::of(3);
    let load = Load::on(&town, &[0, 1, 2], "some");
    load.wait_for(200);
    let keys = load.end();
    town.wait_for_equal_copies(&[0, 1, 2], &keys);
    town.told(&format!("{} keys on all three", keys.len()));

    // One is killed, and its folder copied; then most keys are deleted.
    town.hosts[2].signal("KILL");
    let (dir, old) = (town.hosts[2].dir.clone(), town.hosts[2].dir.with_extension("old"));
    copy(&dir, &old);
    let (gone, there) = keys.split_at(keys.len() - 20);
    assert_eq!(
        town.client(0).text(&format!("DEL {}", gone.join(" "))),
        gone.len().to_string()
    );
    town.restart(2);
    town.wait_for_members(3);
    check(&town, gone, there);
    town.told(&format!(
        "one was away while {} were deleted: none came back",
        gone.len()
    ));

    // It takes part, and then its folder is what it was before.
    let load = Load::on(&town, &[0, 1, 2], "more");
    load.wait_for(100);
    let more = load.end();
    town.hosts[2].signal("KILL");
    std::fs::remove_dir_all(&dir).expect("removed");
    copy(&old, &dir);
    town.restart(2);
    town.wait_for_members(3);
    until("the old copy to be refused", || {
        town.hosts[2]
            .http("/api/v1/cluster/events?after=0")
            .contains("CopyRefused")
    });
    check(&town, gone, there);
    let there = [there, &more[..]].concat();
    town.wait_for_equal_copies(&[0, 1, 2], &there);
    check(&town, gone, &there);
    town.told("its folder was put back from an old copy: it was refused and filled anew, and none came back");
}

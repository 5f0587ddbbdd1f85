//! What a cluster comes to when nothing goes wrong.

use super::client::shown;
use super::host::Town;

/// Bytes that three nodes with 2,000 small keys take together, at most.
const RESIDENT_MAX: u64 = 150 << 20;

#[test]
fn every_write_reaches_every_node_and_takes_little_memory() {
    let mut town = Town::of(3);
    let keys: Vec<String> = (0..6000).map(|number| format!("calm:{number}")).collect();
    for (turn, some) in keys.chunks(500).enumerate() {
        let mut client = town.client(turn % 3);
        let commands: Vec<Vec<&str>> = some.iter().map(|key| vec!["SET", key, key]).collect();
        client.send(&commands).expect("sent");
        for key in some {
            assert_eq!(shown(&client.reply().expect("answered")), "OK", "{key}");
        }
        if cfg!(target_os = "linux") && (turn + 1) * 500 == 2000 {
            let resident: u64 = town.hosts.iter().map(|host| host.resident_bytes()).sum();
            assert!(resident < RESIDENT_MAX, "{resident} bytes");
            town.told(&format!(
                "2000 keys by two of three nodes each; all three take {} MB of memory",
                resident >> 20
            ));
        }
    }
    town.told("6000 keys by two of three nodes each");
    town.wait_for_equal_copies(&[0, 1, 2], &keys);
    town.told("each of them is on all three");
}

//! Ending and starting again.

use crate::client::Served;

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let served = Served::new();
    let mut client = served.client();
    client.check("SET a 1", "+OK");
    client.check("SELECT 3", "+OK");
    client.check("RPUSH l 1 2 3", ":3");
    client.check("WEALD.BUCKET CREATE b", ":1");
    let served = Served::in_dir(served.end(), &[]);
    let mut client = served.client();
    client.check("GET a", "1");
    client.check("SELECT 3", "+OK");
    client.check("LRANGE l 0 -1", "[1 2 3]");
    client.check("WEALD.BUCKET LIST", "[b]");
}

#[test]
fn shutdown_ends_it() {
    let served = Served::new();
    let mut client = served.client();
    client.check("SET a 1", "+OK");
    client.send("SHUTDOWN");
    assert_eq!(client.next(), None);
    let served = Served::in_dir(served.end(), &[]);
    served.client().check("GET a", "1");
}

#[test]
fn each_durability_answers() {
    let served = Served::with(&[("durability", "immediate")]);
    let mut client = served.client();
    client.check("WEALD.DURABILITY", "immediate");
    for durability in ["none", "batched", "immediate", "default"] {
        client.check(&format!("WEALD.DURABILITY {durability}"), "+OK");
        client.check(&format!("SET a {durability}"), "+OK");
        client.check("GET a", durability);
    }
    client.check("WAITAOF 1 0 0", "[:1 :0]");
}

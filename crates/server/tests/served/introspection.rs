//! What the server tells of itself.

use crate::client::{Served, show};

#[test]
fn info_has_what_tools_look_for() {
    let served = Served::new();
    let mut client = served.client();
    client.check("SET a 1 EX 100", "+OK");
    let info = show(&client.run("INFO"));
    for field in [
        "redis_version:7.2.4",
        "redis_mode:standalone",
        "connected_clients:1",
        "used_memory:",
        "maxmemory:0",
        "role:master",
        "uptime_in_seconds:",
        "total_commands_processed:",
        "db0:keys=1,expires=1",
        "aof_enabled:1",
        "instantaneous_ops_per_sec:",
    ] {
        assert!(info.contains(field), "{field} in {info}");
    }
    let all = show(&client.run("INFO everything"));
    assert!(all.contains("cmdstat_set:calls=1"), "{all}");
    let one = show(&client.run("INFO server"));
    assert!(!one.contains("# Clients"), "{one}");
}

#[test]
fn commands_tell_of_themselves() {
    let served = Served::new();
    let mut client = served.client();
    client.check("COMMAND GETKEYS MSET a 1 b 2", "[a b]");
    client.check("COMMAND GETKEYS EVAL x", "-ERR Invalid command specified");
    client.check("COMMAND GETKEYS PING", "-ERR The command has no key arguments");
    let get = show(&client.run("COMMAND INFO get nothing"));
    assert!(
        get.starts_with("[[get :2 [+readonly +fast] :1 :1 :1 [") && get.ends_with("null]"),
        "{get}"
    );
    client.run("HELLO 3");
    let docs = show(&client.run("COMMAND DOCS get"));
    assert!(docs.contains("since=1.0.0 group=string"), "{docs}");
}

#[test]
fn clients_are_listed_and_named() {
    let served = Served::new();
    let (mut one, mut other) = (served.client(), served.client());
    one.check("CLIENT SETNAME first", "+OK");
    one.check(
        "CLIENT SETNAME a\tb",
        "-ERR Client names cannot contain spaces, newlines or special characters.",
    );
    one.check("CLIENT SETINFO lib-name tests", "+OK");
    let list = show(&other.run("CLIENT LIST"));
    assert_eq!(list.lines().count(), 2);
    assert!(
        list.contains(" name=first ") && list.contains(" lib-name=tests "),
        "{list}"
    );
    let id = show(&one.run("CLIENT ID")).replace(':', "");
    other.check(&format!("CLIENT KILL ID {id}"), ":1");
    assert_eq!(one.next(), None);
    other.check("CLIENT KILL 1.2.3.4:5", "-ERR No such client");
}

#[test]
fn settings_are_changed_together_or_not_at_all() {
    let served = Served::new();
    let mut client = served.client();
    client.check("CONFIG SET timeout 7 maxclients 0", "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 1000000 inclusive");
    client.check("CONFIG GET timeout", "[timeout 0]");
    client.check(
        "CONFIG SET port 7",
        "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config",
    );
    client.check(
        "CONFIG SET nothing 7",
        "-ERR Unknown option or number of arguments for CONFIG SET - 'nothing'",
    );
    client.check("CONFIG SET maxmemory-clients 1mb", "+OK");
    client.check("CONFIG GET maxmemory-clients", "[maxmemory-clients 1048576]");
}

#[test]
fn slow_commands_are_remembered() {
    let served = Served::with(&[("slowlog-log-slower-than", "0")]);
    let mut client = served.client();
    client.check("SET a 1", "+OK");
    let log = show(&client.run("SLOWLOG GET 1"));
    assert!(log.contains("[SET a 1]"), "{log}");
    client.check("SLOWLOG RESET", "+OK");
}

/// That a page of the documentation has, after a line that says so, what the program says of itself. With `WEALD_BLESS` in the environment it gets it.
fn check_page(page: &str, generated: &str) {
    const BEGIN: &str = "<!-- What follows comes from the program; a test compares it. -->\n";
    const END: &str = "<!-- Here it ends. -->\n";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(page);
    let text = std::fs::read_to_string(&path).expect("the page");
    let (before, rest) = text.split_once(BEGIN).expect("it says where that begins");
    let (found, after) = rest.split_once(END).expect("it says where that ends");
    if std::env::var_os("WEALD_BLESS").is_some() {
        std::fs::write(&path, [before, BEGIN, generated, END, after].concat()).expect("the page");
    } else {
        assert_eq!(
            found, generated,
            "{page} is stale: run this test with WEALD_BLESS=1"
        );
    }
}

#[test]
fn the_page_on_compatibility_lists_what_there_is() {
    check_page("redis.md", &weald_server::compatibility());
}

#[test]
fn the_page_on_configuration_lists_all_settings() {
    check_page("configuration.md", &weald_server::Config::documentation());
}

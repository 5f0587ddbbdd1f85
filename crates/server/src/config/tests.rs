//! Settings from flags, the environment and a file.

use std::ffi::OsString;

use super::*;

#[test]
fn defaults_are_values_that_the_settings_take() {
    let mut config = Config::default();
    for setting in settings() {
        assert_eq!(
            setting.kind.check(setting.default).as_deref(),
            Ok(setting.default),
            "{}",
            setting.name
        );
        if setting.alias_of.is_none() {
            config.set(setting.name, setting.default).expect("a default");
        }
    }
    assert_eq!(config, Config::default());
    config.check().expect("the defaults hold together");
}

#[test]
fn what_is_printed_is_read_back() {
    let mut config = Config::default();
    config.set("port", "7001").expect("a port");
    config.set("bind", "127.0.0.1 \"x\"").expect("a text");
    config.set("protected-mode", "no").expect("a word");
    let mut read = Config::default();
    read.read_toml(&config.to_toml()).expect("it was printed by us");
    assert_eq!(read, config);
}

#[test]
fn secrets_are_not_printed() {
    let mut config = Config::default();
    config.set("requirepass", "hunter2").expect("a password");
    assert!(!config.to_toml().contains("hunter2"));
}

#[test]
fn file_environment_and_flags_say_the_same_things() {
    let mut of_file = Config::default();
    of_file
        .read_toml("maxclients = 12\nprotected-mode = false\nbind = [\"::1\", \"127.0.0.1\"]")
        .expect("a file");
    let mut of_env = Config::default();
    let variables = [
        ("WEALD_MAXCLIENTS", "12"),
        ("WEALD_PROTECTED_MODE", "no"),
        ("WEALD_BIND", "::1 127.0.0.1"),
        ("WEALD_DB", "x"),
        ("PORT", "1"),
    ];
    of_env
        .read_env(variables.map(|(n, v)| (OsString::from(n), OsString::from(v))))
        .expect("an environment");
    let mut of_lines = Config::default();
    of_lines
        .read_lines("# hi\nmaxclients 12\n\nprotected-mode no\nbind ::1 127.0.0.1\n")
        .expect("lines");
    assert_eq!(of_file, of_env);
    assert_eq!(of_file, of_lines);
}

#[test]
fn wrong_values_are_named() {
    let mut config = Config::default();
    let mut check = |name: &str, value: &str, expected: &str| {
        assert_eq!(
            config.set(name, value).expect_err("it is wrong").to_string(),
            expected
        );
    };
    check("port", "x", "port: argument couldn't be parsed into an integer");
    check(
        "port",
        "65536",
        "port: argument must be between 0 and 65535 inclusive",
    );
    check(
        "durability",
        "x",
        "durability: argument(s) must be one of the following: immediate, batched, none",
    );
    check(
        "nothing",
        "x",
        "there is no setting \"nothing\": 'weald serve --help' lists them",
    );
    assert!(config.read_toml("port = 1.5").is_err());
    assert!(config.read_toml("port = ").is_err());
}

#[test]
fn durability_can_be_said_in_the_words_of_redis() {
    let mut config = Config::default();
    config.set("appendfsync", "everysec").expect("a word of Redis");
    assert_eq!(
        config.settings().expect("settings").durability,
        Durability::Batched
    );
}

#[test]
fn limits_of_classes_are_set_one_by_one() {
    let mut config = Config::default();
    config
        .read_lines(
            "client-output-buffer-limit normal 1mb 0 0\nclient-output-buffer-limit pubsub 2mb 1mb 5\n",
        )
        .expect("lines");
    assert_eq!(
        config.get("client-output-buffer-limit"),
        Some("normal 1048576 0 0 slave 268435456 67108864 60 pubsub 2097152 1048576 5")
    );
    assert!(config.set("client-output-buffer-limit", "normal 1").is_err());
}

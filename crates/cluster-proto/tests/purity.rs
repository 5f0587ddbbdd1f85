//! The protocol is a state machine: nothing in it reads a clock, draws randomness of its own, does I/O, or depends on the order of a hash table.

use std::path::Path;

const IMPURE: [&str; 12] = [
    "std::time",
    "std::thread",
    "std::net",
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::sync::Mutex",
    "std::sync::atomic",
    "HashMap",
    "HashSet",
    "getrandom",
];

fn look(folder: &Path, files: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look(&path, files);
            continue;
        }
        *files += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        for word in IMPURE {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn nothing_but_its_inputs_decides_what_a_node_does() {
    let mut files = 0;
    look(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut files);
    assert!(files > 30, "{files}");
}

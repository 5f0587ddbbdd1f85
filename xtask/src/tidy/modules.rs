//! Which files a crate is made of, and what a file of Rust must and must not have.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::source::{code, is_word, words};
use super::{Files, Finding, line_of};
use crate::manifest::{entries, strings};

const LINES_MAX: usize = 1000;

/// Crates that may have unsafe code: for files and mappings, shared memory, and access to pages.
const UNSAFE_CRATES: [&str; 3] = ["crates/vfs", "crates/hot", "crates/engine"];
/// Crates that may except single files from `deny`: interfaces of other databases are unsafe.
const DENYING_CRATES: [&str; 1] = ["crates/bench"];
/// Where in the engine.
const UNSAFE_IN_ENGINE: [&str; 2] = ["crates/engine/src/store/", "crates/engine/src/tree/raw.rs"];

pub(super) fn check(files: &Files) -> Vec<Finding> {
    let sources: Vec<(&PathBuf, &String, String)> = files
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|(path, text)| (path, text, code(text)))
        .collect();
    let mut findings = Vec::new();
    for (path, text, code) in &sources {
        findings.extend(file(path, text, code));
    }
    let mut reached = BTreeSet::new();
    for (manifest, text) in files.iter().filter(|(path, _)| path.ends_with("Cargo.toml")) {
        let folder = manifest.parent().unwrap_or(Path::new(""));
        for root in roots(folder, text, files) {
            reach(&root, true, files, &mut reached, &mut findings);
        }
    }
    let lost = sources.iter().filter(|(path, ..)| !reached.contains(*path));
    findings.extend(lost.map(|(path, ..)| Finding::new(path, 0, "no crate has this file")));
    findings.extend(unsafe_crates(files));
    findings
}

/// What is wrong with a single file.
fn file(path: &Path, text: &str, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |at: usize, what: &str| findings.push(Finding::new(path, line_of(text, at), what));
    if !text.starts_with("//!") {
        report(0, "a file begins with a `//!` that says how its parts fit");
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        report(0, &format!("{lines} lines; the limit is {LINES_MAX}"));
    }
    for name in ["todo", "unimplemented"] {
        for at in words(code, name).filter(|at| code[at + name.len()..].starts_with('!')) {
            report(at, "what is not there yet does not land");
        }
    }
    for at in words(code, "ignore") {
        let after = code[at + "ignore".len()..].trim_start();
        if code[..at].trim_end().ends_with("#[") && after.starts_with(']') {
            report(at, "an ignored test says why: #[ignore = \"...\"]");
        }
    }
    for at in words(code, "dead_code") {
        let attribute = code[..at]
            .rfind("#[")
            .or(code[..at].rfind("#!["))
            .map_or("", |start| &code[start..at]);
        if words(attribute, "allow").next().is_some() {
            report(at, "dead code goes, it is not allowed");
        }
    }
    if may_not_be_unsafe(path) {
        for at in words(code, "unsafe") {
            report(
                at,
                "unsafe code lives in src/store and src/tree/raw.rs, behind safe files",
            );
        }
    }
    findings
}

/// Whether this is a file of the engine where nothing unsafe belongs.
fn may_not_be_unsafe(path: &Path) -> bool {
    let path = path.to_string_lossy();
    let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
    path.starts_with("crates/engine/src/")
        && !is_test
        && !UNSAFE_IN_ENGINE.iter().any(|place| path.starts_with(place))
}

/// Crates that don't forbid unsafe code and should.
fn unsafe_crates(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files {
        let is_root = ["src/lib.rs", "src/main.rs"]
            .iter()
            .any(|root| path.ends_with(root));
        let folder = path.parent().and_then(Path::parent).unwrap_or(Path::new(""));
        let is_crate = files.contains_key(&folder.join("Cargo.toml"));
        let excepted = UNSAFE_CRATES.iter().any(|name| folder == Path::new(name));
        let denies = DENYING_CRATES.iter().any(|name| folder == Path::new(name));
        let wanted = if denies {
            "#![deny(unsafe_code)]"
        } else {
            "#![forbid(unsafe_code)]"
        };
        if is_root && is_crate && !excepted && !code(text).contains(wanted) {
            findings.push(Finding::new(path, 0, "the crate does not forbid unsafe code"));
        }
    }
    findings
}

/// The files from which a package's targets start.
fn roots(folder: &Path, manifest: &str, files: &Files) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = ["src/lib.rs", "src/main.rs", "build.rs"]
        .iter()
        .map(|name| folder.join(name))
        .collect();
    let listed = entries(manifest);
    for entry in listed
        .iter()
        .filter(|entry| entry.key == "path" && is_target(entry.section))
    {
        roots.extend(strings(&entry.value).into_iter().map(|path| folder.join(path)));
    }
    for (path, _) in files.iter().filter(|(path, _)| path.starts_with(folder)) {
        let Ok(inside) = path.strip_prefix(folder) else {
            continue;
        };
        let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let is_root = match parts.as_slice() {
            ["tests" | "benches" | "examples", file] | ["src", "bin", file] => file.ends_with(".rs"),
            ["tests" | "benches" | "examples", _, "main.rs"] | ["src", "bin", _, "main.rs"] => true,
            _ => false,
        };
        if is_root {
            roots.push(path.clone());
        }
    }
    roots.retain(|path| files.contains_key(path));
    roots
}

fn is_target(section: &str) -> bool {
    matches!(section, "lib" | "bin" | "test" | "bench" | "example")
}

/// Follows `mod` items from a file on. A root's modules are beside it, those of another file in the folder of its name.
fn reach(
    path: &Path,
    is_root: bool,
    files: &Files,
    reached: &mut BTreeSet<PathBuf>,
    missing: &mut Vec<Finding>,
) {
    let Some(text) = files.get(path) else { return };
    if !reached.insert(path.to_owned()) {
        return;
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = is_root || path.file_name().is_some_and(|name| name == "mod.rs");
    let own = if beside {
        folder.to_owned()
    } else {
        path.with_extension("")
    };
    for module in modules(text) {
        let candidates = match &module.path {
            Some(given) => vec![joined(folder, given)],
            None => {
                let base = own.join(&module.name);
                vec![base.with_extension("rs"), base.join("mod.rs")]
            }
        };
        if !candidates.iter().any(|candidate| files.contains_key(candidate)) {
            let what = format!("there is no file for `mod {}`", module.name.display());
            missing.push(Finding::new(path, 0, what));
        }
        for candidate in candidates {
            reach(&candidate, false, files, reached, missing);
        }
    }
}

/// A path seen from a folder, without `..` in it, as the files of the repository are named.
fn joined(folder: &Path, given: &str) -> PathBuf {
    let mut path = folder.to_owned();
    for part in given.split('/') {
        match part {
            "." => {}
            ".." => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path
}

/// `mod name;`, with the modules around it in the name.
#[derive(Debug, PartialEq, Eq)]
struct Module {
    name: PathBuf,
    path: Option<String>,
}

fn modules(text: &str) -> Vec<Module> {
    let code = code(text);
    let mut around: Vec<(String, usize)> = Vec::new();
    let mut found = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    let bytes = code.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                around.retain(|(_, inside)| *inside <= depth);
            }
            b'm' if is_mod(bytes, at) => {
                let rest = code[at + 3..].trim_start();
                let name: String = rest
                    .bytes()
                    .take_while(|byte| is_word(*byte))
                    .map(char::from)
                    .collect();
                let after = rest[name.len()..].trim_start();
                if after.starts_with(';') {
                    let folder: PathBuf = around.iter().map(|(name, _)| name.as_str()).collect();
                    found.push(Module {
                        name: folder.join(&name),
                        path: path_attribute(text, &code, at),
                    });
                } else if after.starts_with('{') {
                    around.push((name, depth + 1));
                }
                at += 3;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn is_mod(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|i| bytes[i]);
    bytes[at..].starts_with(b"mod")
        && !before.is_some_and(|byte| is_word(byte) || byte == b'#')
        && bytes.get(at + 3).is_some_and(u8::is_ascii_whitespace)
}

/// The `#[path = "..."]` of the item at `at`.
fn path_attribute(text: &str, code: &str, at: usize) -> Option<String> {
    let item = code[..at].rfind([';', '}', '{']).map_or(0, |end| end + 1);
    let attribute = item + code[item..at].find("#[path")?;
    strings(&text[attribute..at])
        .first()
        .map(|path| (*path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::files;
    use super::*;

    const MANIFEST: &str = "[package]\nname = \"x\"\n[[bin]]\nname = \"y\"\npath = \"other/y.rs\"\n";
    const ROOT: &str = "//! X.\n#![forbid(unsafe_code)]\n";

    fn findings(entries: &[(&str, &str)]) -> Vec<String> {
        let mut all = vec![("crates/x/Cargo.toml", MANIFEST)];
        all.extend(entries);
        check(&files(&all)).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn files_are_reached_through_modules() {
        let root = format!("{ROOT}mod a;\nmod b {{ mod c; }}\n#[cfg(test)]\n#[path = \"odd.rs\"]\nmod d;\n");
        let found = findings(&[
            ("crates/x/src/lib.rs", &root),
            ("crates/x/src/a.rs", "//! A.\nmod inner;\n"),
            ("crates/x/src/a/inner.rs", "//! Inner.\n"),
            ("crates/x/src/b/c/mod.rs", "//! C.\n"),
            ("crates/x/src/odd.rs", "//! D.\n"),
            (
                "crates/x/tests/it.rs",
                "//! It.\nmod more;\n#[path = \"../src/a/../odder.rs\"]\nmod odder;\n",
            ),
            ("crates/x/src/odder.rs", "//! O.\n"),
            ("crates/x/tests/more/mod.rs", "//! More.\n"),
            ("crates/x/examples/e/main.rs", "//! E.\n"),
            ("crates/x/other/y.rs", "//! Y.\n"),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn a_file_that_no_crate_has_is_found() {
        let root = format!("{ROOT}// mod a;\n/* mod a; */\nconst S: &str = \"mod a;\";\n");
        let found = findings(&[("crates/x/src/lib.rs", &root), ("crates/x/src/a.rs", "//! A.\n")]);
        assert_eq!(found, ["crates/x/src/a.rs: no crate has this file"]);
    }

    #[test]
    fn a_module_without_a_file_is_found() {
        // The compiler does not look where a feature is off.
        let root = format!("{ROOT}#[cfg(feature = \"odd\")]\nmod a;\n");
        let found = findings(&[("crates/x/src/lib.rs", &root)]);
        assert_eq!(found, ["crates/x/src/lib.rs: there is no file for `mod a`"]);
    }

    #[test]
    fn planted_faults_are_found() {
        let check = |line: &str, expected: usize| {
            let text = format!("{ROOT}{line}\n");
            assert_eq!(
                findings(&[("crates/x/src/lib.rs", &text)]).len(),
                expected,
                "{line}"
            );
        };
        check("fn f() {}", 0);
        check(&format!("fn f() {{ {}!() }}", "todo"), 1);
        check(&format!("fn f() {{ {}!(\"x\") }}", "unimplemented"), 1);
        check(&format!("#[{}]\nfn f() {{}}", "ignore"), 1);
        check("#[ignore = \"minutes\"]\nfn f() {}", 0);
        check(
            &format!("#[{}(unused, {})]\nfn f() {{}}", "allow", "dead_code"),
            1,
        );
        check("#[expect(dead_code, reason = \"x\")]\nfn f() {}", 0);
        check(&"\n".repeat(LINES_MAX), 1);
    }

    #[test]
    fn a_file_without_its_sentence_is_found() {
        let found = findings(&[("crates/x/src/lib.rs", "#![forbid(unsafe_code)]\n")]);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_crate_that_does_not_forbid_unsafe_code_is_found() {
        let found = findings(&[("crates/x/src/lib.rs", "//! X.\n// #![forbid(unsafe_code)]\n")]);
        assert_eq!(
            found,
            ["crates/x/src/lib.rs: the crate does not forbid unsafe code"]
        );
    }

    #[test]
    fn unsafe_code_of_the_engine_stays_in_its_place() {
        let check = |path: &str, expected: usize| {
            let text = "//! X.\nfn f() { unsafe { g() } }\n";
            assert_eq!(file(Path::new(path), text, &code(text)).len(), expected, "{path}");
        };
        check("crates/engine/src/commit.rs", 1);
        check("crates/engine/src/store/pool.rs", 0);
        check("crates/engine/src/tree/raw.rs", 0);
        check("crates/engine/src/tree/tests/timing.rs", 0);
    }
}

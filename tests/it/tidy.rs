//! The house, read from its own source: conventions are tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::assurance::report;

/// The longest a source file may be: more than one idea lives in a longer one.
const MOST_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder, with its path from the root of the repository.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, read(&path)));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The group of every module: `lib.rs` lists them in groups that are divided by empty lines.
fn groups() -> BTreeMap<String, usize> {
    let lib = read(&root().join("src/lib.rs"));
    let mut groups = BTreeMap::new();
    let mut group = 0;
    for line in lib.lines() {
        let module = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "));
        match module.and_then(|rest| rest.strip_suffix(';')) {
            Some(module) => {
                groups.insert(module.to_owned(), group);
            }
            None if line.is_empty() => group += 1,
            None => {}
        }
    }
    groups
}

/// What looks down: a module may use only modules of earlier groups.
fn layer_violations(groups: &BTreeMap<String, usize>, name: &str, text: &str) -> Vec<String> {
    let module = name.trim_start_matches("src/").split(['/', '.']).next().unwrap();
    let Some(own) = groups.get(module) else { return Vec::new() };
    let mut violations = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("crate::") {
            let used: String =
                line[at + 7..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let Some(theirs) = groups.get(&used) else { continue };
            if used != module && theirs >= own {
                let sideways = if theirs == own { "sideways" } else { "down" };
                violations.push(format!("{name}:{}: `{module}` looks {sideways} at `{used}`", number + 1));
            }
        }
    }
    violations
}

#[test]
fn modules_look_up_and_never_down() {
    let groups = groups();
    let modules: Vec<&str> = groups.keys().map(String::as_str).collect();
    assert!(modules.len() >= 14 && modules.contains(&"model") && modules.contains(&"cli"), "{modules:?}");
    let violations: Vec<String> =
        sources("src").iter().flat_map(|(name, text)| layer_violations(&groups, name, text)).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_layer_rule_can_fail() {
    let groups = groups();
    let seen = |name: &str, text: &str| layer_violations(&groups, name, text).len();
    assert_eq!(seen("src/store/mod.rs", "use crate::pipeline::Pipeline;"), 1);
    assert_eq!(seen("src/store/mod.rs", "use crate::forward::Forward;"), 1);
    assert_eq!(seen("src/store/mod.rs", "use crate::model::Delivery; crate::store::x()"), 0);
    assert_eq!(seen("src/pipeline.rs", "use crate::store::Store;"), 0);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for folder in ["src", "tests"] {
        for (name, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{name} does not open with `//! `");
        }
    }
}

#[test]
fn no_source_file_is_too_long() {
    for (name, text) in sources("src") {
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{name} has {lines} lines: is it one idea?");
    }
}

#[test]
fn what_belongs_to_one_place_stays_there() {
    // (what, where it is allowed)
    let rules: [(&str, &[&str]); 6] = [
        ("std::io::stdout", &["src/cli/output.rs"]),
        ("io::stdout()", &["src/cli/output.rs"]),
        ("rusqlite", &["src/store/"]),
        ("Timestamp::now", &["src/model/clock.rs"]),
        ("TcpStream::connect", &["src/forward/dial.rs"]),
        ("ExitCode::from", &["src/cli/report.rs"]),
    ];
    for (name, text) in sources("src") {
        for (what, places) in rules {
            let allowed = places.iter().any(|place| name.starts_with(place));
            assert!(allowed || !text.contains(what), "{name} has {what}, which belongs to {places:?}");
        }
    }
}

/// Lines that compare the text of a secret byte by byte: whoever measures how long that takes learns where it differs.
fn telltale_comparisons(text: &str) -> usize {
    let compares = |line: &&str| line.contains("expose()") && (line.contains("==") || line.contains("!="));
    text.lines().filter(compares).count()
}

#[test]
fn secrets_are_compared_in_constant_time() {
    let sources = sources("src");
    for (name, text) in &sources {
        assert_eq!(telltale_comparisons(text), 0, "{name} compares a secret with `==`: use `Secret::is`");
    }
    let secret = read(&root().join("src/model/secret.rs"));
    assert!(secret.contains("#[derive(Clone)]\npub struct Secret("), "a Secret has no `==`");
    assert_eq!(telltale_comparisons("if given == secret.expose() {"), 1);
    report("S20", sources.len(), 0);
}

/// A table of `tests/mutations.toml`.
fn mutations() -> Vec<toml::Table> {
    let all: toml::Table = read(&root().join("tests/mutations.toml")).parse().unwrap();
    let all = all["mutation"].as_array().unwrap();
    all.iter().map(|mutation| mutation.as_table().unwrap().clone()).collect()
}

#[test]
fn every_mutation_can_be_made_and_every_item_has_one() {
    let text = |mutation: &toml::Table, key: &str| mutation[key].as_str().unwrap().to_owned();
    let mutations = mutations();
    for mutation in &mutations {
        let (file, search) = (text(mutation, "file"), text(mutation, "search"));
        let found = read(&root().join(&file)).matches(&search).count();
        assert_eq!(found, 1, "tests/mutations.toml: {file} has {found} × {search:?}");
        assert_ne!(search, text(mutation, "replace"));
    }
    let assured = read(&root().join("docs/assurance.md"));
    let items = assured.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    let is_item = |item: &&str| item.starts_with(['S', 'D']) && item[1..].parse::<u8>().is_ok();
    for item in items.filter(is_item) {
        let has_one = mutations.iter().any(|mutation| mutation["item"].as_str() == Some(item));
        assert!(has_one, "tests/mutations.toml has nothing that shows that the test of {item} can fail");
    }
}

#[test]
fn every_test_file_is_listed() {
    let main = read(&root().join("tests/it/main.rs"));
    for (name, _) in sources("tests/it") {
        let module = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
        let folder = name.trim_start_matches("tests/it/").split_once('/').map(|(folder, _)| folder);
        if let Some(folder) = folder {
            let head = read(&root().join(format!("tests/it/{folder}.rs")));
            assert!(head.contains(&format!("mod {module};")), "{name} is not part of {folder}.rs");
            continue;
        }
        assert!(
            module == "main" || main.contains(&format!("mod {module};")),
            "{name} is not part of main.rs"
        );
        let is_helper = matches!(module, "main" | "world" | "handler" | "assurance" | "relaying" | "fronts");
        assert!(
            is_helper || main.contains(&format!("| `{module}` |")),
            "{name} is not in the table of main.rs"
        );
    }
}

#[test]
fn the_readme_mentions_every_command() {
    let readme = read(&root().join("README.md"));
    let dispatch = read(&root().join("src/cli/mod.rs"));
    let body = dispatch.split("enum Command {").nth(1).unwrap().split('}').next().unwrap();
    let commands: Vec<String> = body
        .lines()
        .map(|line| line.trim().split(['(', ',']).next().unwrap().to_lowercase())
        .filter(|name| name.chars().all(|c| c.is_ascii_alphabetic()) && !name.is_empty())
        .collect();
    assert!(commands.len() >= 11, "{commands:?}");
    for command in commands {
        assert!(readme.contains(&format!("`{command}`")), "README.md does not mention `{command}`");
    }
}

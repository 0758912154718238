//! The documentation, as far as a machine can hold it: README's size, links, and that no
//! setting is missing in the reference. Does not know whether a sentence is true.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of README.md at most.
const README: usize = 6 * 1024;
/// Sources that name variables which people may set.
const NAMING: [&str; 3] = ["schema/abi/src/lib.rs", "client/src/config.rs", "workerd/src/main.rs"];

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The pages at the top and below `docs`, by path below the top.
fn pages() -> Vec<String> {
    let below = |dir: &str| {
        let entries = fs::read_dir(root().join(dir)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let pages = names.filter(|name| name.ends_with(".md"));
        pages.map(|name| format!("{dir}{name}")).collect::<Vec<_>>()
    };
    [below(""), below("docs/")].concat()
}

/// What stands between an opening and the next closing text, each time.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open)
        .skip(1)
        .filter_map(move |rest| Some(rest.split_once(close)?.0))
}

/// The name by which links lead to a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Why a link of a page leads nowhere.
fn fault_of(page: &str, link: &str) -> Option<String> {
    let (path, name) = link.split_once('#').unwrap_or((link, ""));
    let dir = Path::new(page).parent().unwrap_or(Path::new(""));
    let target = match path {
        "" => root().join(page),
        path => root().join(dir).join(path),
    };
    if !target.exists() {
        return Some(format!("{page}: {link}: there is no such file"));
    }
    if name.is_empty() {
        return None;
    }
    let there = fs::read_to_string(&target).unwrap_or_default();
    let mut headings = there.lines().filter(|line| line.starts_with('#'));
    let is_there = headings.any(|heading| anchor(heading) == name);
    (!is_there).then(|| format!("{page}: {link}: there is no such heading"))
}

#[test]
fn readme_is_a_page() {
    let size = text("README.md").len();
    assert!(size <= README, "README.md has {size} bytes; move something into docs/");
}

#[test]
fn links_lead_somewhere() {
    let faults: Vec<String> = pages()
        .iter()
        .flat_map(|page| {
            let text = text(page);
            let links = between(&text, "](", ")").filter(|link| !link.contains("://"));
            links.filter_map(|link| fault_of(page, link)).collect::<Vec<_>>()
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_setting_is_in_the_reference() {
    let reference = text("docs/reference.md");
    let config = text("client/src/config.rs");
    let keys: Vec<&str> = between(&config, "read(\"", "\"").collect();
    assert!(keys.len() >= 10, "only {} settings found", keys.len());
    let settings = keys.iter().map(|key| format!("TERMITE_{}", key.to_uppercase()));
    let sources = NAMING.map(text);
    let named = sources.iter().flat_map(|text| between(text, "\"TERMITE_", "\""));
    // Names that begin so, and those of variables that programs set for each other.
    let public = named.filter(|name| !name.is_empty() && !name.starts_with(['_', '{']));
    let missing: Vec<String> = settings
        .chain(public.map(|name| format!("TERMITE_{name}")))
        .filter(|variable| !reference.contains(&format!("`{variable}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/reference.md: {}", missing.join(", "));
}

//! `cargo xtask rooms`: the rooms of each crate, which other rooms each one uses, and whether they go in
//! a circle.
//!
//! A room is a file, or a directory with all that is in it. Rooms are compared with their neighbours in
//! the same directory: what two files deep inside use of each other is an arrow between the rooms of the
//! first directory that holds both. A directory's own `mod.rs` is its door, which may use all of it and be
//! used by all of it. Tests are no rooms.

mod source;

use anyhow::{Context, Result, bail};
use source::{Crate, Module};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rooms of one directory, by name, each with those that it uses.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Prints every directory of rooms with its arrows. Fails where there is a circle.
pub(crate) fn run(root: &Path) -> Result<()> {
    let directories = all(root)?;
    for (place, arrows) in &directories {
        println!("{place}");
        for (room, used) in arrows {
            let used: Vec<&str> = used.iter().map(String::as_str).collect();
            println!("    {room} -> {}", used.join(" "));
        }
    }
    let circles = circles(&directories);
    if !circles.is_empty() {
        bail!("rooms in a circle:\n  {}", circles.join("\n  "));
    }
    Ok(())
}

/// All directories of rooms below the top of the project.
fn all(root: &Path) -> Result<BTreeMap<String, Arrows>> {
    let mut found = BTreeMap::new();
    for member in members(root)? {
        let of_crate = directories(&Crate::read(&root.join(&member))?);
        found.extend(
            of_crate
                .into_iter()
                .map(|(place, arrows)| (format!("{member}{place}"), arrows)),
        );
    }
    Ok(found)
}

/// One circle of each directory that has some, in words.
fn circles(directories: &BTreeMap<String, Arrows>) -> Vec<String> {
    let in_words = |(place, arrows)| Some(format!("{place}: {}", circle_of(arrows)?.join(" -> ")));
    directories.iter().filter_map(in_words).collect()
}

/// The workspace's crates, as its manifest lists them.
fn members(root: &Path) -> Result<Vec<String>> {
    let path = root.join("Cargo.toml");
    let manifest = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let list = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once(']'));
    let (list, _) = list.context("the workspace's manifest lists no members")?;
    let quoted = list.split('"').skip(1).step_by(2);
    Ok(quoted.map(str::to_owned).collect())
}

/// The arrows in each directory of a crate that has some; the crate's own is called "".
fn directories(of: &Crate) -> BTreeMap<String, Arrows> {
    let mut found: BTreeMap<String, Arrows> = BTreeMap::new();
    for (from, uses) in of.uses() {
        for to in uses {
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            // One is the door of the other's directory.
            if shared == from.len() || shared == to.len() {
                continue;
            }
            let place: String = from[..shared].iter().map(|name| format!("/{name}")).collect();
            let arrows = found.entry(place).or_default();
            arrows
                .entry(from[shared].clone())
                .or_default()
                .insert(to[shared].clone());
        }
    }
    found
}

/// Some rooms that lead back to the first one, which is named again at the end.
fn circle_of(arrows: &Arrows) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    arrows
        .keys()
        .find_map(|room| walk(arrows, room, &mut Vec::new(), &mut done))
}

fn walk(arrows: &Arrows, room: &str, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
    if let Some(at) = way.iter().position(|passed| passed == room) {
        let mut circle = way[at..].to_vec();
        circle.push(room.to_owned());
        return Some(circle);
    }
    if done.contains(room) {
        return None;
    }
    way.push(room.to_owned());
    let next = arrows.get(room).into_iter().flatten();
    let found = next.into_iter().find_map(|next| walk(arrows, next, way, done));
    way.pop();
    done.insert(room.to_owned());
    found
}

/// The path of a module below its crate, name by name.
type Name = Vec<String>;

impl Crate {
    /// Each module with the modules that it uses.
    fn uses(&self) -> BTreeMap<Name, BTreeSet<Name>> {
        let used = |module: &Module| module.paths.iter().filter_map(|path| self.resolve(path)).collect();
        self.modules
            .iter()
            .map(|(name, module)| (name.clone(), used(module)))
            .collect()
    }

    /// The module in which a path of the crate is defined. A name that a module has from another one, by
    /// `use`, is of the other.
    fn resolve(&self, path: &[String]) -> Option<Name> {
        let mut path = path.to_vec();
        // As often as names are passed on in turn, with an end to it.
        for _ in 0..8 {
            let known = (1..=path.len())
                .rev()
                .find(|len| self.modules.contains_key(&path[..*len]))?;
            let passed_on = path
                .get(known)
                .and_then(|name| self.modules[&path[..known]].passes_on.get(name));
            match passed_on {
                Some(origin) => path = origin.clone(),
                None => return Some(path[..known].to_vec()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows(list: &[(&str, &[&str])]) -> Arrows {
        let room = |(name, used): &(&str, &[&str])| (name.to_string(), used.iter().map(|to| to.to_string()).collect());
        list.iter().map(room).collect()
    }

    #[test]
    fn finds_a_circle_where_there_is_one() {
        let straight = arrows(&[("a", &["b", "c"]), ("b", &["c"]), ("d", &["a"])]);
        assert_eq!(circle_of(&straight), None);
        let round = arrows(&[("a", &["b"]), ("b", &["c", "d"]), ("d", &["b"])]);
        assert_eq!(circle_of(&round), Some(["b", "d", "b"].map(String::from).to_vec()));
    }

    #[test]
    fn no_rooms_of_this_project_go_in_a_circle() {
        let directories = all(&crate::steps::root()).unwrap();
        assert!(directories.len() > 10, "{directories:?}");
        assert_eq!(circles(&directories), Vec::<String>::new());
    }

    #[test]
    fn sees_what_files_use_of_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join("src").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("lib.rs", "mod a; mod b; mod c; pub use c::Thing;");
        write("a.rs", "use crate::b::{inner::{X, Y as Z}, self};");
        write("b/mod.rs", "mod inner; fn f() { inner::g() }");
        write(
            "b/inner.rs",
            "use crate::Thing; fn g() { super::super::c::h(); } #[cfg(test)] mod tests { use crate::a::N; }",
        );
        write("c.rs", "fn h() {}");
        let found = directories(&Crate::read(dir.path()).unwrap());
        let expected = BTreeMap::from([(String::new(), arrows(&[("a", &["b"]), ("b", &["c"])]))]);
        assert_eq!(found, expected);
    }
}

//! The modules of a crate and the paths that each one names, read from its files. Knows no rooms.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, UseTree};

/// The modules of a crate by their paths below it; the crate's own is empty.
pub(super) struct Crate {
    pub modules: BTreeMap<Vec<String>, Module>,
}

/// What a module names.
#[derive(Default)]
pub(super) struct Module {
    /// Paths below the crate.
    pub paths: Vec<Vec<String>>,
    /// Names that it has from other modules, with the paths that they have there.
    pub passes_on: HashMap<String, Vec<String>>,
}

impl Crate {
    /// Reads the crate in a directory. Neither tests nor generated code are in it.
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let mut modules = BTreeMap::new();
        read_dir(&dir.join("src"), &mut Vec::new(), &mut modules)?;
        Ok(Self { modules })
    }
}

fn read_dir(dir: &Path, above: &mut Vec<String>, modules: &mut BTreeMap<Vec<String>, Module>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if ["tests", "generated", "trial"].contains(&stem.as_str()) && path.is_dir() {
            continue;
        }
        if path.is_dir() {
            above.push(stem);
            read_dir(&path, above, modules)?;
            above.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "tests" {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let file = syn::parse_file(&text).with_context(|| format!("cannot parse {}", path.display()))?;
            let is_door = ["mod", "lib", "main"].contains(&stem.as_str());
            let own = if is_door { None } else { Some(stem) };
            let name: Vec<String> = above.iter().cloned().chain(own).collect();
            modules.entry(name.clone()).or_default().take_in(&name, &file);
        }
    }
    Ok(())
}

impl Module {
    fn take_in(&mut self, name: &[String], file: &syn::File) {
        let is_child = |item: &Item| match item {
            Item::Mod(child) => child.content.is_none().then(|| child.ident.to_string()),
            _ => None,
        };
        let mut reader = Reader {
            module: self,
            name,
            inside: 0,
            children: file.items.iter().filter_map(is_child).collect(),
        };
        reader.visit_file(file);
    }
}

/// Goes through a file.
struct Reader<'a> {
    module: &'a mut Module,
    name: &'a [String],
    /// Modules within the file that are open here.
    inside: usize,
    children: Vec<String>,
}

impl Reader<'_> {
    /// Below the crate; `None`: of another crate, or of this very module.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let below = |base: &[String], rest: &[String]| Some([base, rest].concat());
        match first.as_str() {
            "crate" => below(&[], rest),
            "self" => below(self.name, rest),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let above = ups.saturating_sub(self.inside);
                let kept = self.name.len().checked_sub(above)?;
                below(&self.name[..kept], &path[ups..])
            }
            child if self.children.iter().any(|name| name == child) => below(self.name, path),
            _ => None,
        }
    }

    fn note(&mut self, path: &[String], as_name: Option<&str>) {
        let Some(path) = self.absolute(path) else { return };
        if let Some(name) = as_name.filter(|_| self.inside == 0) {
            self.module.passes_on.insert(name.to_owned(), path.clone());
        }
        self.module.paths.push(path);
    }

    fn note_tree(&mut self, tree: &UseTree, above: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                above.push(path.ident.to_string());
                self.note_tree(&path.tree, above);
                above.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(tree, above)),
            UseTree::Glob(_) => self.note(above, None),
            UseTree::Name(name) if name.ident == "self" => {
                let last = above.last().cloned();
                self.note(above, last.as_deref());
            }
            UseTree::Name(name) => self.note_leaf(above, &name.ident.to_string(), &name.ident.to_string()),
            UseTree::Rename(name) => self.note_leaf(above, &name.ident.to_string(), &name.rename.to_string()),
        }
    }

    fn note_leaf(&mut self, above: &[String], leaf: &str, as_name: &str) {
        let path: Vec<String> = above.iter().cloned().chain([leaf.to_owned()]).collect();
        self.note(&path, Some(as_name));
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if !attributes.iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.inside += 1;
        visit::visit_item_mod(self, module);
        self.inside -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.note_tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 {
            self.note(&names, None);
        }
        visit::visit_path(self, path);
    }
}

/// `#[cfg(test)]`
fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|condition| condition.is_ident("test"))
}

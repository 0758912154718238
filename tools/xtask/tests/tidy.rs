//! The house rules that a machine can hold: what each file begins with, how long it is,
//! what it may be called, where unsafe code lives.

use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Lines of a file at most.
const LONGEST: usize = 600;
/// Lines of a function at most, its signature included.
const LONGEST_FUNCTION: usize = 70;
/// Lines of a function from which on a comment says what it does.
const EXPLAINED: usize = 25;
/// Names that say nothing about what is inside.
const FORBIDDEN: [&str; 8] = ["util", "utils", "helper", "helpers", "manager", "data", "info", "misc"];
/// Where unsafe code may live: below the library and the types that it shares, in modules
/// called `sys`, and in these.
const UNSAFE_BELOW: [&str; 4] = [
    "shim/",
    "schema/abi/",
    "workerd/src/slot/tests/",
    "tools/termite-run/tests/",
];
const UNSAFE_FILES: [&str; 3] = [
    "workerd/src/view/mapped.rs",
    "workerd/src/watched.rs",
    "tools/termite-run/src/signals.rs",
];

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Every hand-written Rust file: path below the top, and text.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(dir) = open.pop() {
        for path in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "generated" {
                open.push(path);
            } else if name.ends_with(".rs") && path.is_file() {
                let below = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((below, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "only {} files found", found.len());
    found
}

fn expect_none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn every_file_says_its_job_first() {
    let silent = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path);
    expect_none(
        "a file opens with //!: its job, then what it does not know",
        silent.collect(),
    );
}

#[test]
fn no_file_is_too_long() {
    let long = sources()
        .into_iter()
        .map(|(path, text)| (text.lines().count(), path))
        .filter(|(lines, _)| *lines > LONGEST);
    expect_none(
        "look for the second idea in it",
        long.map(|(lines, path)| format!("{path}: {lines} lines")).collect(),
    );
}

#[test]
fn names_say_what_is_inside() {
    let parts = |path: &str| {
        path.trim_end_matches(".rs")
            .split(['/', '_', '-'])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let named = sources().into_iter().map(|(path, _)| path);
    let bad = named.filter(|path| parts(path).iter().any(|part| FORBIDDEN.contains(&part.as_str())));
    expect_none("a room without a purpose", bad.collect());
}

#[test]
fn unsafe_code_stays_where_it_belongs() {
    let allowed = |path: &str| {
        UNSAFE_BELOW.iter().any(|dir| path.starts_with(dir))
            || UNSAFE_FILES.contains(&path)
            || path.trim_end_matches(".rs").split('/').any(|part| part == "sys")
    };
    // Looked for as code has it, not as prose and lints do.
    let has = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
            .iter()
            .any(|form| code.contains(form))
    };
    let found = sources()
        .into_iter()
        .filter(|(path, _)| !allowed(path) && !path.ends_with("tests/tidy.rs"));
    let lines = found.flat_map(|(path, text)| {
        let hits: Vec<_> = text
            .lines()
            .enumerate()
            .filter(|(_, line)| has(line))
            .map(|(at, _)| at + 1)
            .collect();
        hits.into_iter().map(move |at| format!("{path}:{at}"))
    });
    expect_none("unsafe outside the library and sys modules", lines.collect());
}

#[test]
fn nothing_committed_is_left_for_later() {
    // Spelled apart, so that this file does not hold them.
    let marks = [
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
        ["#[", "ignore"].concat(),
    ];
    let found = sources()
        .into_iter()
        .filter(|(_, text)| marks.iter().any(|mark| text.contains(mark.as_str())));
    expect_none("no stubs, no ignored tests", found.map(|(path, _)| path).collect());
}

/// A function: where it is, how many lines it has, and whether it has a comment of its own.
struct Function {
    place: String,
    lines: usize,
    is_explained: bool,
}

/// Finds the functions of a file, those of tests left out.
struct Functions<'a> {
    path: &'a str,
    found: Vec<Function>,
}

impl Functions<'_> {
    fn note(&mut self, attributes: &[syn::Attribute], name: &syn::Ident, whole: impl Spanned) {
        let (first, last) = (name.span().start().line, whole.span().end().line);
        self.found.push(Function {
            place: format!("{}:{first}: {name}", self.path),
            lines: last - first + 1,
            is_explained: attributes.iter().any(|attribute| attribute.path().is_ident("doc")),
        });
    }
}

fn is_of_tests(attributes: &[syn::Attribute]) -> bool {
    let says_test = |attribute: &syn::Attribute| {
        attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|path| path.is_ident("test"))
    };
    let is_test = |attribute: &syn::Attribute| {
        attribute.path().is_ident("test") || attribute.path().is_ident("cfg") && says_test(attribute)
    };
    attributes.iter().any(is_test)
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_of_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !is_of_tests(&function.attrs) {
            self.note(&function.attrs, &function.sig.ident, &function.block);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.attrs, &function.sig.ident, &function.block);
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        if block.trait_.is_none() {
            visit::visit_item_impl(self, block);
            return;
        }
        // What the functions of a trait do is said at the trait.
        let first = self.found.len();
        visit::visit_item_impl(self, block);
        self.found[first..]
            .iter_mut()
            .for_each(|function| function.is_explained = true);
    }
}

/// The functions of all rooms: neither of tests nor of what measures and drives them.
fn functions() -> Vec<Function> {
    let is_room = |path: &str| {
        !path.contains("/tests/")
            && !path.contains("/trial/")
            && !path.ends_with("/tests.rs")
            && !path.starts_with("tests/")
    };
    let rooms = sources().into_iter().filter(|(path, _)| is_room(path));
    let found: Vec<Function> = rooms
        .flat_map(|(path, text)| {
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            let mut functions = Functions {
                path: &path,
                found: Vec::new(),
            };
            functions.visit_file(&file);
            functions.found
        })
        .collect();
    assert!(found.len() > 1000, "only {} functions found", found.len());
    found
}

#[test]
fn no_function_is_too_long() {
    let long = functions()
        .into_iter()
        .filter(|function| function.lines > LONGEST_FUNCTION);
    expect_none(
        "look for the second idea in it",
        long.map(|function| format!("{}: {} lines", function.place, function.lines))
            .collect(),
    );
}

#[test]
fn long_functions_say_what_they_do() {
    let silent = functions()
        .into_iter()
        .filter(|function| function.lines > EXPLAINED && !function.is_explained);
    expect_none(
        "a function of more than 25 lines has a comment",
        silent
            .map(|function| format!("{}: {} lines", function.place, function.lines))
            .collect(),
    );
}

//! What is made from the schemas and committed is what the schemas make; a schema does
//! not change without its protocol number.

mod committed;

use committed::Made;
use std::fs;
use std::process::Command;

/// Without the compiler these tests pass, unless the run is told that it must be there.
fn compiler_at_hand() -> bool {
    let required = std::env::var("TERMITE_REQUIRE").is_ok_and(|names| names.split(',').any(|name| name == "capnp"));
    let at_hand = committed::compiler_at_hand();
    assert!(
        at_hand || !required,
        "TERMITE_REQUIRE names capnp, which cannot be started"
    );
    if !at_hand {
        println!("not checked: no capnp compiler");
    }
    at_hand
}

fn assert_fresh(made: &[Made]) {
    for Made { path, content } in made {
        let committed = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            committed == *content,
            "{} is not what the schema makes: cargo run -p termite-wire --example regenerate",
            path.display()
        );
    }
}

#[test]
fn generated_code_is_fresh() {
    if compiler_at_hand() {
        assert_fresh(&committed::generated().expect("the compiler accepts the schemas"));
    }
}

#[test]
fn golden_bytes_are_the_compilers() {
    if compiler_at_hand() {
        let made = committed::golden().expect("the compiler accepts the golden texts");
        assert!(!made.is_empty());
        assert_fresh(&made);
    }
}

#[test]
fn a_schema_changes_with_its_protocol_number() {
    let made = committed::fingerprint().expect("the schemas can be read");
    let recorded = fs::read_to_string(&made.path).expect("golden/protocol.txt");
    assert_eq!(
        recorded,
        String::from_utf8_lossy(&made.content),
        "raise termite_types::PROTOCOL with every change of a schema, then \
         cargo run -p termite-wire --example regenerate"
    );
}

#[test]
fn the_stub_pulls_in_no_runtime() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args([
            "tree",
            "--offline",
            "-p",
            "termite-wire",
            "--no-default-features",
            "-e",
            "normal",
            "--prefix",
            "none",
        ])
        .current_dir(committed::crate_dir())
        .output()
        .expect("cargo tree");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.contains("capnp v"), "{tree}");
    for runtime in ["tokio", "capnp-rpc", "futures"] {
        assert!(!tree.contains(runtime), "{runtime} in:\n{tree}");
    }
}

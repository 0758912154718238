//! Makes a source file that the program includes.

use std::{env, fs, path::Path};

fn main() {
    let to = Path::new(&env::var("OUT_DIR").unwrap()).join("made.rs");
    fs::write(to, "pub const MADE: &str = \"by the build script\";\n").unwrap();
    println!("cargo:rerun-if-changed=build.rs");
}

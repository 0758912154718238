//! Prints what the build script made and what a library counts.

include!(concat!(env!("OUT_DIR"), "/made.rs"));

fn main() {
    println!("{MADE} {}", pebbles::count("pebbles"));
}

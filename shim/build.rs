//! How the library is linked: in as few segments as will do, since each one costs
//! every process of a build a mapping and page faults.

fn main() {
    for option in ["noseparate-code", "norelro"] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,{option}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}

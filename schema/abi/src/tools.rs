//! Which program names are build tools, hence jobs under a driver that does many
//! other things as well.
//!
//! Knows names only; where a program lies and what it is does not matter here.

/// Base names, separated by colons, where the configuration names none.
pub const BUILT_IN: &[u8] = b"cc:c++:c89:c99:gcc:g++:cpp:clang:clang++:clang-cpp:tcc:icx:icpx:nvcc:\
gfortran:flang:gdc:ldc2:dmd:gnatmake:rustc:swiftc:ghc:ocamlc:ocamlopt:javac:jar:kotlinc:scalac:\
cc1:cc1plus:cc1obj:f951:lto1:collect2:lto-wrapper:\
as:nasm:yasm:ld:ld.bfd:ld.gold:ld.lld:lld:mold:\
ar:ranlib:nm:strip:objcopy:objdump:readelf:gcc-ar:gcc-nm:gcc-ranlib:llvm-ar:llvm-ranlib:llvm-nm:windres:dlltool:\
protoc:bison:flex:yacc:lex:swig:moc:uic:rcc";

/// In a list of one's own: the built-in ones as well.
pub const AND_BUILT_IN: &str = "+";

/// Whether a base name is one of the tools, perhaps with a target in front
/// (`aarch64-linux-gnu-gcc`) and a version behind (`clang++-15`, `gcc-12.2`).
pub fn is_tool(name: &[u8], tools: &[u8]) -> bool {
    let plain = without_version(name);
    tools
        .split(|&byte| byte == b':')
        .filter(|tool| !tool.is_empty())
        .any(|tool| {
            let target = plain.strip_suffix(tool);
            name == tool
                || target.is_some_and(|target| target.is_empty() || is_target(target))
                || tool == AND_BUILT_IN.as_bytes() && is_tool(name, BUILT_IN)
        })
}

/// Takes `-12` or `-12.2` off the end.
fn without_version(name: &[u8]) -> &[u8] {
    let Some(dash) = name.iter().rposition(|&byte| byte == b'-') else {
        return name;
    };
    let (plain, version) = (name.get(..dash), name.get(dash + 1..));
    match (plain, version) {
        (Some(plain), Some([b'0'..=b'9', rest @ ..])) if rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.')) => {
            plain
        }
        _ => name,
    }
}

/// `avr-`, `x86_64-w64-mingw32-`.
fn is_target(prefix: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    matches!(prefix, [_, .., b'-']) && prefix.iter().all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_with_target_and_version() {
        for name in [
            "cc",
            "gcc",
            "gcc-12",
            "gcc-12.2",
            "clang++-15",
            "x86_64-linux-gnu-gcc-12",
            "avr-gcc",
            "ld.gold",
            "aarch64-linux-gnu-ld.bfd",
            "x86_64-w64-mingw32-windres",
            "cc1plus",
            "gcc-ar-12",
            "llvm-ar-14",
            "javac",
        ] {
            assert!(is_tool(name.as_bytes(), BUILT_IN), "{name}");
        }
    }

    #[test]
    fn others_are_not() {
        for name in [
            "", "sh", "bash", "make", "cmake", "test", "old", "tar", "mygcc", "-gcc", "gcc-", "gccgo", "a b-ld",
        ] {
            assert!(!is_tool(name.as_bytes(), BUILT_IN), "{name}");
        }
    }

    #[test]
    fn a_list_of_ones_own_replaces_the_built_in_one() {
        assert!(is_tool(b"frobnicate", b"x::frobnicate"));
        assert!(!is_tool(b"gcc", b"x::frobnicate"));
        assert!(!is_tool(b"", b""));
        for name in ["frobnicate", "gcc-12"] {
            assert!(is_tool(name.as_bytes(), b"+:frobnicate"), "{name}");
        }
        assert!(!is_tool(b"sh", b"+:frobnicate") && !is_tool(b"+", b""));
    }
}

//! Names that programs draw by lot. Knows no trace.

/// Beginnings of names that programs draw by lot, and how many letters are drawn:
/// gcc, ln and install, mktemp, python's tempfile, sed -i, sort, bash, patch, strip and
/// objcopy, and the commands themselves.
const DRAWN: [(&str, usize); 12] = [
    ("cc", 6),
    ("Cu", 6),
    ("tmp.", 10),
    ("tmp", 8),
    ("sed", 6),
    ("sort", 6),
    ("sh-thd.", 6),
    ("po", 6),
    ("pi", 6),
    ("pr", 6),
    ("st", 6),
    ("lot.", 6),
];

/// A path with what was drawn by lot replaced by question marks.
pub(super) fn strike_random(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|byte| *byte == b'/').map(|name| {
        let drawn = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        for (begin, count) in DRAWN {
            let Some(rest) = name.strip_prefix(begin.as_bytes()) else {
                continue;
            };
            let run = rest.iter().take_while(|byte| drawn(byte)).count();
            if run == count {
                return [begin.as_bytes(), &b"?"[..].repeat(count), &rest[count..]].concat();
            }
        }
        // patch draws six letters behind the name of the file, a dot and the kind of its copy.
        if let [before @ .., b'.', kind @ (b'o' | b'r' | b'i' | b'p'), a, b, c, d, e, f] = name
            && [a, b, c, d, e, f].into_iter().all(drawn)
        {
            return [before, &[b'.', *kind], b"??????"].concat();
        }
        // Python writes a compiled module beside its place, with its address in the name.
        if let Some(at) = name.windows(5).position(|part| part == b".pyc.") {
            return [&name[..at], b".pyc.?"].concat();
        }
        name.to_vec()
    });
    parts.collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_drawn_is_struck_out() {
        let cases = [
            ("/tmp/ccAbC123.s", "/tmp/cc??????.s"),
            ("/tmp/ccache12345", "/tmp/ccache12345"),
            ("/w/sedXyZ012", "/w/sed??????"),
            ("/tmp/tmp.0123456789/x", "/tmp/tmp.??????????/x"),
            ("/w/c/x.cpython-311.pyc.14023", "/w/c/x.cpython-311.pyc.?"),
            ("/w/list.txt.oAbCd12", "/w/list.txt.o??????"),
            ("/usr/lib/x", "/usr/lib/x"),
        ];
        for (path, expected) in cases {
            assert_eq!(strike_random(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }
}

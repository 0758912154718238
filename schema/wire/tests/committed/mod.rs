//! The files of this crate that are made from the schemas and committed: generated code,
//! golden bytes, the schemas' fingerprint. Knows how each is made, not who compares.

use std::fs;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The schemas by their file names.
pub(crate) const SCHEMAS: [&str; 2] = ["peer.capnp", "shim.capnp"];

/// A committed file and what it should hold.
pub(crate) struct Made {
    /// Where it is.
    pub path: PathBuf,
    /// What it should hold.
    pub content: Vec<u8>,
}

/// The directory of this crate.
pub(crate) fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn schema_dir() -> &'static Path {
    crate_dir().parent().expect("the crate lies in schema/")
}

/// Whether the schema compiler can be started.
pub(crate) fn compiler_at_hand() -> bool {
    Command::new("capnp")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The Rust code of both schemas, less what only tells which compiler made it.
pub(crate) fn generated() -> io::Result<Vec<Made>> {
    let to = tempfile::tempdir()?;
    let mut compiler = capnpc::CompilerCommand::new();
    compiler
        .src_prefix(schema_dir())
        .output_path(to.path())
        .no_standard_import();
    for schema in SCHEMAS {
        compiler.file(schema_dir().join(schema));
    }
    compiler.run().map_err(io::Error::other)?;
    let made = SCHEMAS.map(|schema| {
        let name = schema.replace(".capnp", "_capnp.rs");
        let code = fs::read_to_string(to.path().join(&name))?;
        let code: String = code
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("// capnp binary version:"))
            .collect();
        Ok(Made {
            path: crate_dir().join("src/generated").join(name),
            content: code.into(),
        })
    });
    made.into_iter().collect()
}

/// The bytes of each `golden/SCHEMA.TYPE.CASE.txt`, as `capnp encode` makes them;
/// `PROTOCOL` in a text stands for its number.
pub(crate) fn golden() -> io::Result<Vec<Made>> {
    let mut made = Vec::new();
    for entry in fs::read_dir(crate_dir().join("golden"))? {
        let text = entry?.path();
        let name = text.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let [schema, kind, _case, "txt"] = name.split('.').collect::<Vec<_>>()[..] else {
            continue;
        };
        let value = fs::read_to_string(&text)?.replace("PROTOCOL", &termite_types::PROTOCOL.to_string());
        let mut input = tempfile::tempfile()?;
        input.write_all(value.as_bytes())?;
        input.rewind()?;
        // The compiler warns where PWD is not the working directory.
        let encoded = Command::new("capnp")
            .env_remove("PWD")
            .arg("encode")
            .arg(schema_dir().join(schema).with_extension("capnp"))
            .arg(kind)
            .stdin(input)
            .stderr(Stdio::inherit())
            .output()?;
        if !encoded.status.success() {
            return Err(io::Error::other(format!(
                "capnp encode {kind} of {name}: {}",
                encoded.status
            )));
        }
        made.push(Made {
            path: text.with_extension("bin"),
            content: encoded.stdout,
        });
    }
    Ok(made)
}

/// The protocol number and what the schemas say under it. Comments and spacing do not count.
pub(crate) fn fingerprint() -> io::Result<Made> {
    let mut lines = format!("protocol {}\n", termite_types::PROTOCOL);
    for schema in SCHEMAS {
        let text = fs::read_to_string(schema_dir().join(schema))?;
        let words = text
            .lines()
            .filter_map(|line| line.split('#').next())
            .flat_map(str::split_whitespace);
        let hash = blake3::hash(words.collect::<Vec<_>>().join(" ").as_bytes());
        lines += &format!("{schema} {hash}\n");
    }
    Ok(Made {
        path: crate_dir().join("golden/protocol.txt"),
        content: lines.into(),
    })
}

//! Contended paths on disk, with the commands that are known to change them. A cache only:
//! what it has lost is learnt anew, by a conflict. Knows the database; decides nothing.

use crate::cache;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use termite_core::writers::{Contended, Evidence};

/// What is known by path, see [`to_bytes`].
const CONTENDED: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("contended 1");

/// All that is there. What cannot be read is left out.
pub(super) fn load(database: &Database) -> Result<HashMap<PathBuf, Contended>, redb::Error> {
    let read = database.begin_read()?;
    let Some(table) = cache::table(&read, CONTENDED)? else {
        return Ok(HashMap::new());
    };
    let mut contended = HashMap::new();
    for row in table.iter()? {
        let (path, known) = row?;
        if let Some(known) = of_bytes(known.value()) {
            contended.insert(OsStr::from_bytes(path.value()).into(), known);
        }
    }
    Ok(contended)
}

/// Replaces the rows of these paths.
pub(super) fn save(database: &Database, contended: &[(PathBuf, Contended)]) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(CONTENDED)?;
        for (path, known) in contended {
            table.insert(path.as_os_str().as_bytes(), &to_bytes(known)[..])?;
        }
    }
    Ok(write.commit()?)
}

/// How many exact commands, those, and then the kinds with what they did; numbers in
/// little-endian order.
fn to_bytes(known: &Contended) -> Vec<u8> {
    let mut bytes = (known.exact.len() as u32).to_le_bytes().to_vec();
    known.exact.iter().for_each(|key| bytes.extend(key.to_le_bytes()));
    for (key, kind) in &known.alike {
        bytes.extend(key.to_le_bytes());
        bytes.extend(kind.changed.to_le_bytes());
        bytes.extend(kind.ran.to_le_bytes());
    }
    bytes
}

fn of_bytes(bytes: &[u8]) -> Option<Contended> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (exact, alike) = rest.split_at_checked(count.checked_mul(16)?)?;
    let ((exact, []), (alike, [])) = (exact.as_chunks::<16>(), alike.as_chunks::<24>()) else {
        return None;
    };
    let kind = |bytes: &[u8; 24]| {
        let (key, counts) = bytes.split_first_chunk::<16>()?;
        let (changed, ran) = counts.split_first_chunk::<4>()?;
        let evidence = Evidence {
            changed: u32::from_le_bytes(*changed),
            ran: u32::from_le_bytes(ran.try_into().ok()?),
        };
        Some((u128::from_le_bytes(*key), evidence))
    };
    Some(Contended {
        exact: exact.iter().map(|bytes| u128::from_le_bytes(*bytes)).collect(),
        alike: alike.iter().filter_map(kind).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_back_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::create(dir.path().join("d")).unwrap();
        assert!(load(&database).unwrap().is_empty());
        let kind = Evidence { changed: 2, ran: 3 };
        let known = Contended {
            exact: [1, u128::MAX].into(),
            alike: [(7, kind)].into(),
        };
        let rows = [(PathBuf::from("/n"), known), ("/m".into(), Contended::default())];
        save(&database, &rows).unwrap();
        assert_eq!(load(&database).unwrap(), HashMap::from(rows));
    }

    #[test]
    fn damaged_bytes_are_nothing() {
        let known = Contended {
            exact: [1].into(),
            alike: [(7, Evidence::default())].into(),
        };
        let bytes = to_bytes(&known);
        assert_eq!(of_bytes(&bytes), Some(known));
        for len in (0..bytes.len()).filter(|len| *len != 20) {
            assert_eq!(of_bytes(&bytes[..len]), None, "{len}");
        }
        assert_eq!(of_bytes(&[0xff; 64]), None);
    }
}

//! Signs on disk, by which commands go home. A cache only: what it has lost shows again. Knows
//! the database; decides nothing.

use crate::cache;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use termite_core::signs::Sign;
use termite_types::Resource;

/// [`Row`]s by command, in JSON.
const SIGNS: TableDefinition<'static, u128, &'static [u8]> = TableDefinition::new("signs 1");

#[derive(Serialize, Deserialize)]
struct Row {
    reason: String,
    needs: Option<Needed>,
    as_driver: bool,
    since: u64,
    runs: u32,
    command: String,
}

/// What can be asked for again.
#[derive(Serialize, Deserialize)]
enum Needed {
    Service(SocketAddr),
    AbstractSocket(Vec<u8>),
    Socket(PathBuf),
    Name(PathBuf),
}

/// All that are there. What cannot be read is left out.
pub(super) fn load(database: &Database) -> Result<HashMap<u128, Sign>, redb::Error> {
    let read = database.begin_read()?;
    let Some(table) = cache::table(&read, SIGNS)? else {
        return Ok(HashMap::new());
    };
    let mut signs = HashMap::new();
    for row in table.iter()? {
        let (command, row) = row?;
        if let Ok(row) = serde_json::from_slice::<Row>(row.value()) {
            signs.insert(command.value(), row.into());
        }
    }
    Ok(signs)
}

/// Replaces the rows of these commands; `None`: removes it. What cannot be written as text is not
/// kept.
pub(super) fn save(database: &Database, signs: &[(u128, Option<Sign>)]) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(SIGNS)?;
        for (command, sign) in signs {
            let row = sign.as_ref().and_then(|sign| serde_json::to_vec(&Row::from(sign)).ok());
            match row {
                Some(row) => table.insert(command, &row[..])?,
                None => table.remove(command)?,
            };
        }
    }
    Ok(write.commit()?)
}

impl From<&Sign> for Row {
    fn from(sign: &Sign) -> Self {
        let needed = |resource: &Resource| match resource {
            Resource::Service(address) => Some(Needed::Service(*address)),
            Resource::AbstractSocket(name) => Some(Needed::AbstractSocket(name.clone())),
            Resource::Socket(path) => Some(Needed::Socket(path.clone())),
            Resource::Name(path) => Some(Needed::Name(path.clone())),
            Resource::Process(_)
            | Resource::Target(_)
            | Resource::Object(..)
            | Resource::NameServices
            | Resource::Writable(_) => None,
        };
        Self {
            reason: sign.reason.clone(),
            needs: sign.needs.as_ref().and_then(needed),
            as_driver: sign.as_driver,
            since: sign.since,
            runs: sign.runs,
            command: sign.command.clone(),
        }
    }
}

impl From<Row> for Sign {
    fn from(row: Row) -> Self {
        let needs = row.needs.map(|needed| match needed {
            Needed::Service(address) => Resource::Service(address),
            Needed::AbstractSocket(name) => Resource::AbstractSocket(name),
            Needed::Socket(path) => Resource::Socket(path),
            Needed::Name(path) => Resource::Name(path),
        });
        Self {
            reason: row.reason,
            needs,
            as_driver: row.as_driver,
            since: row.since,
            runs: row.runs,
            command: row.command,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_back_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::create(dir.path().join("d")).unwrap();
        assert!(load(&database).unwrap().is_empty());
        let resources = [
            None,
            Some(Resource::Service("[::1]:80".parse().unwrap())),
            Some(Resource::AbstractSocket(vec![0, 0xff])),
            Some(Resource::Socket("/s".into())),
            Some(Resource::Name("/n".into())),
        ];
        let sign = |needs| Sign {
            reason: "it needs this".into(),
            needs,
            as_driver: true,
            since: 1 << 40,
            runs: 3,
            command: "sh -c 'x'".into(),
        };
        let signs: Vec<_> = (1..).zip(resources.map(|needs| Some(sign(needs)))).collect();
        save(&database, &signs).unwrap();
        let expected: HashMap<_, _> = signs.into_iter().filter_map(|(key, sign)| Some((key, sign?))).collect();
        assert_eq!(load(&database).unwrap(), expected);
        save(&database, &[(1, None)]).unwrap();
        assert_eq!(load(&database).unwrap().len(), expected.len() - 1);
    }
}

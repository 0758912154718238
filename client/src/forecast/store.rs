//! Forecasts on disk. A cache only: what it has lost is learnt anew.

use super::needs::{Needs, PathId, Paths};
use super::{MOST_COMMANDS, needs};
use super::{contended, signs};
use crate::cache;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use termite_core::signs::Sign;
use termite_core::writers::Contended;

/// Paths by their numbers, which have no gaps.
const PATHS: TableDefinition<'static, PathId, &'static [u8]> = TableDefinition::new("paths 1");
/// Needs by command, see [`to_bytes`].
const COMMANDS: TableDefinition<'static, u128, &'static [u8]> = TableDefinition::new("commands 1");

/// Microseconds that commands usually run.
const LENGTHS: TableDefinition<'static, u128, u64> = TableDefinition::new("lengths 1");

type Loaded = (Paths, HashMap<u128, Arc<Needs>>, HashMap<u128, Duration>);

/// The database, or none.
pub(super) struct Store(Option<Database>);

impl Store {
    /// The one in `dir`.
    pub(super) fn open(dir: &Path) -> Self {
        Self(cache::open(dir, "forecasts"))
    }

    /// All that it holds. Once it is full, it begins anew.
    pub(super) fn load(&self) -> Loaded {
        let Some(database) = &self.0 else {
            return Loaded::default();
        };
        load(database).unwrap_or_else(|error| {
            tracing::warn!("the forecasts on disk are of no use, they begin anew: {error}");
            if let Err(error) = clear(database) {
                tracing::warn!("the forecasts on disk stay: {error}");
            }
            Loaded::default()
        })
    }

    /// The contended paths that it holds.
    pub(super) fn load_contended(&self) -> HashMap<PathBuf, Contended> {
        self.load_table("contended paths", contended::load)
    }

    fn load_table<T: Default>(&self, what: &str, load: impl FnOnce(&Database) -> Result<T, redb::Error>) -> T {
        let loaded = self.0.as_ref().map_or(Ok(T::default()), load);
        loaded.unwrap_or_else(|error| {
            tracing::warn!("the {what} on disk are of no use: {error}");
            T::default()
        })
    }

    /// Adds contended paths to it.
    pub(super) fn save_contended(&self, contended: &[(PathBuf, Contended)]) {
        let Some(database) = &self.0 else { return };
        if let Err(error) = contended::save(database, contended) {
            tracing::warn!("{} contended paths are not kept: {error}", contended.len());
        }
    }

    /// The signs that it holds.
    pub(super) fn load_signs(&self) -> HashMap<u128, Sign> {
        self.load_table("signs", signs::load)
    }

    /// Adds signs to it, and removes others.
    pub(super) fn save_signs(&self, signs: &[(u128, Option<Sign>)]) {
        let Some(database) = &self.0 else { return };
        if let Err(error) = signs::save(database, signs) {
            tracing::warn!("{} signs are not kept: {error}", signs.len());
        }
    }

    /// Adds to it.
    pub(super) fn save(
        &self,
        paths: &[(PathId, Arc<OsStr>)],
        commands: &[(u128, Arc<Needs>)],
        lengths: &[(u128, Duration)],
    ) {
        let Some(database) = &self.0 else { return };
        if let Err(error) = save(database, paths, commands, lengths) {
            tracing::warn!("{} forecasts are not kept: {error}", commands.len());
        }
    }
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Database(#[from] redb::Error),
    #[error("they are damaged")]
    Damaged,
    #[error("they are too many")]
    Full,
}

/// Reads all that is kept. An error says that the store is to begin anew.
fn load(database: &Database) -> Result<Loaded, Unusable> {
    let read = database.begin_read().map_err(redb::Error::from)?;
    let (table, commands) = match (read.open_table(PATHS), read.open_table(COMMANDS)) {
        (Err(redb::TableError::TableDoesNotExist(_)), _) | (_, Err(redb::TableError::TableDoesNotExist(_))) => {
            return Ok(Loaded::default());
        }
        (paths, commands) => (paths.map_err(redb::Error::from)?, commands.map_err(redb::Error::from)?),
    };
    let count = table.len().map_err(redb::Error::from)?;
    let is_full =
        count >= needs::MOST_PATHS as u64 || commands.len().map_err(redb::Error::from)? >= MOST_COMMANDS as u64;
    if is_full {
        return Err(Unusable::Full);
    }
    let mut paths = Vec::with_capacity(count as usize);
    for row in table.iter().map_err(redb::Error::from)? {
        let (id, path) = row.map_err(redb::Error::from)?;
        if id.value() as usize != paths.len() {
            return Err(Unusable::Damaged);
        }
        paths.push(PathBuf::from(OsStr::from_bytes(path.value())));
    }
    let mut by_command = HashMap::new();
    for row in commands.iter().map_err(redb::Error::from)? {
        let (key, needs) = row.map_err(redb::Error::from)?;
        let needs = of_bytes(needs.value(), paths.len()).ok_or(Unusable::Damaged)?;
        by_command.insert(key.value(), Arc::new(needs));
    }
    Ok((Paths::saved(paths), by_command, lengths(&read)?))
}

/// A store of an earlier version has none.
fn lengths(read: &ReadTransaction) -> Result<HashMap<u128, Duration>, Unusable> {
    let Some(table) = cache::table(read, LENGTHS)? else {
        return Ok(HashMap::new());
    };
    let mut lengths = HashMap::new();
    for row in table.iter().map_err(redb::Error::from)? {
        let (key, micros) = row.map_err(redb::Error::from)?;
        lengths.insert(key.value(), Duration::from_micros(micros.value()));
    }
    Ok(lengths)
}

fn clear(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.delete_table(PATHS)?;
    write.delete_table(COMMANDS)?;
    write.delete_table(LENGTHS)?;
    Ok(write.commit()?)
}

fn save(
    database: &Database,
    paths: &[(PathId, Arc<OsStr>)],
    commands: &[(u128, Arc<Needs>)],
    lengths: &[(u128, Duration)],
) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(PATHS)?;
        for (id, path) in paths {
            table.insert(id, path.as_bytes())?;
        }
        let mut table = write.open_table(COMMANDS)?;
        for (key, needs) in commands {
            table.insert(key, &to_bytes(needs)[..])?;
        }
        let mut table = write.open_table(LENGTHS)?;
        for (key, length) in lengths {
            table.insert(key, length.as_micros() as u64)?;
        }
    }
    Ok(write.commit()?)
}

/// Numbers in little-endian order: how many directories, then those, then the files.
fn to_bytes(needs: &Needs) -> Vec<u8> {
    let count = needs.dirs.len() as u32;
    let numbers = std::iter::once(&count).chain(&needs.dirs).chain(&needs.files);
    numbers.flat_map(|number| number.to_le_bytes()).collect()
}

fn of_bytes(bytes: &[u8], paths: usize) -> Option<Needs> {
    let (numbers, []) = bytes.as_chunks::<4>() else {
        return None;
    };
    let numbers: Vec<u32> = numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let (count, ids) = numbers.split_first()?;
    let (dirs, files) = ids.split_at_checked(*count as usize)?;
    let needs = Needs {
        dirs: dirs.to_vec(),
        files: files.to_vec(),
    };
    ids.iter().all(|id| (*id as usize) < paths).then_some(needs)
}

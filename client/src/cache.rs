//! The embedded databases of the cache directory. What they hold can be made anew, so one
//! that cannot be used is given up. Knows no table by its name.

use redb::{Database, DatabaseError, Key, ReadOnlyTable, ReadTransaction, TableDefinition, TableError, Value};
use std::path::Path;

/// The database `name` in `dir`, which is made if it is missing. `None`, with one warning
/// in the log: what belongs there is not kept between runs.
pub(crate) fn open(dir: &Path, name: &str) -> Option<Database> {
    open_or_make(dir, name).unwrap_or_else(|why| {
        tracing::warn!("{name} are not kept between runs: {}: {why}", dir.display());
        None
    })
}

/// A table of it. `None`: nothing was ever kept there.
pub(crate) fn table<K: Key, V: Value>(
    read: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>, redb::Error> {
    match read.open_table(definition) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => Ok(Some(table?)),
    }
}

/// `Ok(None)`: another daemon has it.
fn open_or_make(dir: &Path, name: &str) -> Result<Option<Database>, Box<dyn std::error::Error>> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(format!("{name}.redb"));
    // A file that ends the process as it is opened must not do so again and again.
    let opening = dir.join(format!("{name}.opening"));
    if opening.exists() {
        std::fs::remove_file(&path).or_else(not_found_is_fine)?;
    }
    std::fs::write(&opening, b"")?;
    let database = match Database::create(&path) {
        Err(DatabaseError::DatabaseAlreadyOpen) => {
            tracing::warn!("{}: used by another daemon; {name} are not kept", path.display());
            Ok(None)
        }
        Err(error) => {
            tracing::warn!("{}: made anew: {error}", path.display());
            std::fs::remove_file(&path).or_else(not_found_is_fine)?;
            Database::create(&path).map(Some)
        }
        Ok(database) => Ok(Some(database)),
    };
    std::fs::remove_file(&opening).or_else(not_found_is_fine)?;
    Ok(database?)
}

fn not_found_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

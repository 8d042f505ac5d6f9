//! The last table on the disk: what applications are told when the daemon starts while etcd is away. It is never
//! written back to etcd.

use std::path::Path;

use super::super::embedded::OnDisk;
use super::Table;

/// The table that was kept, when there is one that can be read.
pub(super) fn read(path: &Path) -> Option<Table> {
    let bytes = std::fs::read(path).ok()?;
    let table = serde_json::from_slice::<OnDisk>(&bytes).map_err(std::io::Error::from).and_then(OnDisk::into_table);
    if let Err(error) = &table {
        tracing::warn!(path = %path.display(), %error, "the copy of the shared store is damaged; it is left aside");
    }
    table.ok()
}

/// Keeps a table: whole or not at all, and without waiting for the disk, as losing it costs only the next start.
///
/// # Errors
/// When the disk does not take it.
pub(super) fn write(path: &Path, table: &Table) -> std::io::Result<()> {
    let new_path = path.with_extension("new");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&new_path, serde_json::to_vec(&OnDisk::of(table))?)?;
    std::fs::rename(&new_path, path)
}

#[cfg(test)]
mod tests {
    use super::super::super::contract::write as a_write;
    use super::*;
    use crate::switches::Place;

    #[test]
    fn a_table_comes_back_and_a_damaged_one_is_none() {
        let folder = std::env::temp_dir().join(format!("brownout-store-cache-{}", std::process::id()));
        let path = folder.join("etcd.json");
        assert_eq!(read(&path), None);
        let mut table = Table { revision: 7, ..Table::default() };
        let entry = a_write("a", 1, "off");
        table.put(&Place::Zone("eu".into()), entry.name.clone(), entry.record.clone());
        table.put(&Place::Fleet, entry.name, entry.record);
        write(&path, &table).expect("written");
        assert_eq!(read(&path), Some(table));
        std::fs::write(&path, "{\"format\":1,").expect("writes");
        assert_eq!(read(&path), None);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

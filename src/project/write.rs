//! Putting contents on the disk, atomically. Everything here blocks.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::Projection;
use super::render::Content;

/// The link of a folder that is swapped.
const CURRENT: &str = "current";

/// Brings the disk to this content; gives whether anything was different.
///
/// # Errors
/// When a file cannot be written; what stood there before is then still there.
pub(super) fn bring(projection: &Projection, content: &Content) -> io::Result<bool> {
    match content {
        Content::File(text) => {
            let parent = projection.path.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(parent)?;
            replace(projection, &projection.path, text)
        }
        Content::Folder(files) => folder(projection, files),
        Content::Swapped(files) => swap(projection, files),
    }
}

/// A name for what is being written, in the same folder: a rename does not leave its file system.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.brownout-new"))
}

fn replace(projection: &Projection, path: &Path, text: &str) -> io::Result<bool> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) && has_mode(path, projection.mode) {
        return Ok(false);
    }
    let new = beside(path);
    create(projection, &new, text)?;
    fs::rename(&new, path)?;
    Ok(true)
}

fn has_mode(path: &Path, mode: u32) -> bool {
    fs::metadata(path).is_ok_and(|about| about.permissions().mode() & 0o7777 == mode)
}

fn create(projection: &Projection, path: &Path, text: &str) -> io::Result<()> {
    drop(fs::remove_file(path));
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(projection.mode))?;
    if let Some(owner) = &projection.owner {
        let (user, group) = ids(owner)?;
        std::os::unix::fs::fchown(&file, user, group)?;
    }
    file.sync_all()
}

/// Files of a folder; those of switches that are no longer there are removed. Only names that are a switch's, and files that
/// hold one short line, are ever removed: what else lies in the folder is not ours.
fn folder(projection: &Projection, files: &BTreeMap<String, String>) -> io::Result<bool> {
    fs::create_dir_all(&projection.path)?;
    let mut changed = false;
    for (name, text) in files {
        changed |= replace(projection, &projection.path.join(name), text)?;
    }
    let manifest = projection.path.join(".brownout");
    let before = fs::read_to_string(&manifest).unwrap_or_default();
    let ours = |name: &&str| crate::model::SwitchName::new(name).is_ok() && !files.contains_key(*name);
    for name in before.lines().filter(ours) {
        changed |= fs::remove_file(projection.path.join(name)).is_ok();
    }
    let names: String = files.keys().map(|name| format!("{name}\n")).collect();
    replace(projection, &manifest, &names)?;
    Ok(changed)
}

fn swap(projection: &Projection, files: &BTreeMap<String, String>) -> io::Result<bool> {
    fs::create_dir_all(&projection.path)?;
    let link = projection.path.join(CURRENT);
    if same(&link, files) {
        return Ok(false);
    }
    // One of two folders is not in use: the one that the link does not lead to.
    let used = fs::read_link(&link).unwrap_or_default();
    let name = if used == Path::new(".a") { ".b" } else { ".a" };
    let new = projection.path.join(name);
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(&new)?;
    for (key, text) in files {
        create(projection, &new.join(key), text)?;
    }
    let next = beside(&link);
    drop(fs::remove_file(&next));
    symlink(name, &next)?;
    fs::rename(&next, &link)?;
    Ok(true)
}

fn same(folder: &Path, files: &BTreeMap<String, String>) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let count = entries.count();
    let equal = |(name, text): (&String, &String)| fs::read(folder.join(name)).is_ok_and(|it| it == text.as_bytes());
    count == files.len() && files.iter().all(equal)
}

/// The numbers of `user`, `user:group` or `:group`.
fn ids(owner: &str) -> io::Result<(Option<u32>, Option<u32>)> {
    let (user, group) = owner.split_once(':').unwrap_or((owner, ""));
    let find = |name: &str, file: &str| -> io::Result<Option<u32>> {
        if name.is_empty() {
            return Ok(None);
        }
        let table = || fs::read_to_string(file).unwrap_or_default();
        let id = name.parse().ok().or_else(|| id_in(&table(), name));
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{file} has no `{name}`"));
        id.map(Some).ok_or_else(missing)
    };
    Ok((find(user, "/etc/passwd")?, find(group, "/etc/group")?))
}

fn id_in(table: &str, name: &str) -> Option<u32> {
    table.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|parts| parts[0] == name)?.get(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("brownout-project-{name}-{}", std::process::id()));
            drop(fs::remove_dir_all(&path));
            fs::create_dir_all(&path).expect("a folder");
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn projection(path: PathBuf) -> Projection {
        Projection { path, format: Format::Json, mode: 0o640, owner: None, reload: Vec::new() }
    }

    fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_file_is_replaced_whole_and_only_when_it_is_different() {
        let folder = Folder::new("file");
        let path = folder.0.join("below/x.json");
        let projection = projection(path.clone());
        let bring = |text: &str| bring(&projection, &Content::File(text.into())).expect("written");
        assert!(bring("1\n"));
        let held = File::open(&path).expect("open");
        assert!(!bring("1\n"), "nothing changed");
        assert!(bring("2\n"));
        assert_eq!(io::read_to_string(held).expect("readable"), "1\n", "a reader keeps the whole old file");
        assert_eq!(fs::read_to_string(&path).expect("there"), "2\n");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
        fs::write(&path, "edited").expect("written");
        assert!(bring("2\n"), "somebody else's change is taken back");
        assert_eq!(fs::read_dir(folder.0.join("below")).expect("a folder").count(), 1, "nothing is left beside");
    }

    #[test]
    fn a_folder_loses_only_files_that_were_ours() {
        let folder = Folder::new("folder");
        fs::write(folder.0.join("notes"), "mine").expect("written");
        let projection = projection(folder.0.clone());
        let bring = |pairs: &[(&str, &str)]| bring(&projection, &Content::Folder(files(pairs))).expect("written");
        assert!(bring(&[("a", "full\n"), ("b", "off\n")]));
        assert!(!bring(&[("a", "full\n"), ("b", "off\n")]));
        assert!(bring(&[("a", "full\n")]));
        assert!(folder.0.join("a").exists() && !folder.0.join("b").exists() && folder.0.join("notes").exists());
    }

    #[test]
    fn a_runtime_folder_is_swapped_by_its_link() {
        let folder = Folder::new("swap");
        let projection = projection(folder.0.clone());
        let bring = |pairs: &[(&str, &str)]| bring(&projection, &Content::Swapped(files(pairs))).expect("written");
        let link = folder.0.join("current");
        assert!(bring(&[("k", "1\n")]));
        let first = fs::read_link(&link).expect("a link");
        assert!(!bring(&[("k", "1\n")]));
        assert!(bring(&[("k", "2\n"), ("l", "3\n")]));
        assert_ne!(fs::read_link(&link).expect("a link"), first);
        assert_eq!(fs::read_to_string(link.join("k")).expect("there"), "2\n");
        assert!(bring(&[("k", "2\n")]), "a key that is gone is a change");
        assert_eq!(fs::read_dir(&link).expect("a folder").count(), 1);
    }

    #[test]
    fn owners_are_names_or_numbers() {
        assert_eq!(id_in("root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:\n", "www-data"), Some(33));
        assert_eq!(ids("7:8").expect("numbers"), (Some(7), Some(8)));
        assert_eq!(ids(":8").expect("a group"), (None, Some(8)));
        assert!(ids("nobody-of-this-name").is_err());
    }
}

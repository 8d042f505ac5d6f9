//! The key that signs links in messages: 32 random bytes in the data directory, made at the first start.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::alerts::LinkKey;

const NAME: &str = "links.key";

/// Reads the key, or makes it. A key that cannot be kept holds until the next start: links of before are refused then.
pub(super) fn link_key(folder: &Path) -> LinkKey {
    let path = folder.join(NAME);
    if let Ok(bytes) = std::fs::read(&path)
        && let Ok(key) = <[u8; 32]>::try_from(bytes)
    {
        return LinkKey(key);
    }
    let mut key = [0; 32];
    if SystemRandom::new().fill(&mut key).is_err() {
        tracing::error!("the system gives no random numbers: links in messages cannot be used");
    }
    let new = path.with_extension("new");
    let written = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).and_then(
        |mut file| {
            file.write_all(&key)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)
        },
    );
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "the key for links is not kept: a restart makes another one");
    }
    LinkKey(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stays_the_same_and_is_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("brownout-link-key-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let key = link_key(&folder);
        assert_eq!(link_key(&folder), key);
        let mode = std::fs::metadata(folder.join(NAME)).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(folder.join(NAME), b"short").expect("written");
        assert_ne!(link_key(&folder), key, "a broken file is replaced");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

//! What holds for the bundles of a fleet's configuration in every store: how large one may be, and which are kept.

use super::StoreError;
use crate::limits;
use crate::switches::{Bundle, Stage};

/// A bundle is one value of the store.
///
/// # Errors
/// When it is too large for that.
pub(super) fn fits(bundle: Option<&Bundle>) -> Result<(), StoreError> {
    let bytes = bundle.map_or(0, |bundle| bundle.files.iter().map(|file| file.name.len() + file.text.len()).sum());
    let most = limits::FLEET_CONFIG_BYTES;
    if bytes > most { Err(StoreError::TooLarge { bytes, most }) } else { Ok(()) }
}

/// The revisions that nobody is to run and that are older than the last few.
pub(super) fn old_bundles(stage: &Stage, there: impl Iterator<Item = u64>) -> Vec<u64> {
    let candidate = stage.candidate.as_ref().map(|candidate| candidate.revision);
    let mut there: Vec<u64> =
        there.filter(|revision| *revision != stage.stable && Some(*revision) != candidate).collect();
    there.sort_unstable();
    there.truncate(there.len().saturating_sub(limits::FLEET_CONFIG_KEPT));
    there
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switches::BundleFile;

    #[test]
    fn what_is_in_use_is_never_old() {
        let stage = Stage { last: 40, stable: 3, ..Stage::default() };
        let old = old_bundles(&stage, 1..=40);
        assert_eq!(old, (1..=20).filter(|revision| *revision != 3).collect::<Vec<_>>());
        assert_eq!(old_bundles(&stage, 1..=20), [] as [u64; 0]);
    }

    #[test]
    fn a_bundle_that_fits_no_request_is_refused_with_its_size() {
        let bundle =
            |bytes| Bundle { revision: 1, files: vec![BundleFile { name: "r".into(), text: "x".repeat(bytes) }] };
        assert!(fits(Some(&bundle(limits::FLEET_CONFIG_BYTES - 1))).is_ok() && fits(None).is_ok());
        let error = fits(Some(&bundle(limits::FLEET_CONFIG_BYTES))).expect_err("too large").to_string();
        assert!(error.contains("1048577 bytes"), "{error}");
    }
}

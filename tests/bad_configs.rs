//! Configurations with mistakes, and what a person is told of each: the texts are kept in `snapshots/`.
//!
//! After a change of a message, run the tests with `INSTA_UPDATE=always`, read the differences, and commit them.

use std::path::{Path, PathBuf};

use brownout::config::{Files, load};
use brownout::model::Glob;
use brownout::yaml::render_problems;

/// The folder of the configurations, as if it were the working directory.
struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(self.0.join(path)).map_err(|_| "no such file or directory".to_owned())
    }

    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        let folder = self.0.join(pattern);
        let glob = Glob::new(&folder.to_string_lossy()).expect("pattern");
        let parent = folder.parent().expect("parent");
        let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("entry").path()).filter(|path| glob.matches(path));
        paths.map(|path| path.strip_prefix(&self.0).expect("below").to_owned()).collect()
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }
}

#[test]
fn every_mistake_is_told_in_plain_words() {
    let folder = Folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_configs"));
    let mut names: Vec<String> = std::fs::read_dir(&folder.0)
        .expect("folder")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("name"))
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    assert!(names.len() >= 30, "{}", names.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for name in &names {
            let loaded = load(Some(Path::new(name)), &folder);
            let text = render_problems(&loaded.problems);
            assert!(loaded.checked.is_none() && loaded.errors() > 0, "{name} is good:\n{text}");
            assert!(!text.contains("hunter"), "{name} shows a secret:\n{text}");
            insta::assert_snapshot!(name.trim_end_matches(".yaml"), text);
        }
    });
}

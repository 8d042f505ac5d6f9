//! The rules that come with Brownout: the files of `rules/`, built into the program.

/// Name and text of each file.
pub const SHIPPED: [(&str, &str); 4] = [
    ("shipped/host.yaml", include_str!("../../rules/host.yaml")),
    ("shipped/links.yaml", include_str!("../../rules/links.yaml")),
    ("shipped/logs.yaml", include_str!("../../rules/logs.yaml")),
    ("shipped/self.yaml", include_str!("../../rules/self.yaml")),
];

#[cfg(test)]
mod tests {
    use super::SHIPPED;
    use crate::rules::parse_file;
    use crate::yaml::SourceFile;

    #[test]
    fn the_shipped_rules_have_no_problems() {
        for (name, text) in SHIPPED {
            let (groups, problems) = parse_file(&SourceFile::new(name, text));
            assert!(groups.is_some() && problems.is_empty(), "{name}: {problems:?}");
        }
    }
}

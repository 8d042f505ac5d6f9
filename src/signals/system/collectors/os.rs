//! The distribution, from `/etc/os-release` or `/usr/lib/os-release` (os-release(5)).

use std::collections::HashMap;
use std::path::PathBuf;

use super::prelude::*;

const INFO: Family = Family::gauge(
    "node_os_info",
    concat!(
        "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, ",
        "pretty_name, variant, variant_id, version, version_codename, version_id.",
    ),
);
const VERSION: Family = Family::gauge("node_os_version", "Metric containing the major.minor part of the OS version.");
const LABELS: [(&str, &str); 12] = [
    ("build_id", "BUILD_ID"),
    ("id", "ID"),
    ("id_like", "ID_LIKE"),
    ("image_id", "IMAGE_ID"),
    ("image_version", "IMAGE_VERSION"),
    ("name", "NAME"),
    ("pretty_name", "PRETTY_NAME"),
    ("variant", "VARIANT"),
    ("variant_id", "VARIANT_ID"),
    ("version", "VERSION"),
    ("version_codename", "VERSION_CODENAME"),
    ("version_id", "VERSION_ID"),
];

pub(crate) struct Os {
    files: [PathBuf; 2],
    small: Small,
}

impl Os {
    pub(crate) fn new(checked: &Checked) -> Os {
        let files = ["etc/os-release", "usr/lib/os-release"].map(|path| checked.root(path));
        Os { files, small: Small::default() }
    }
}

impl Collector for Os {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let found = self.files.iter().find_map(|path| self.small.text(path));
        parse(&found.ok_or(Failure::NoData)?, sink);
        Ok(())
    }
}

fn parse(release: &str, sink: &mut Sink) {
    let values: HashMap<&str, String> = release.lines().filter_map(assignment).collect();
    let value = |name| values.get(name).map_or("", String::as_str);
    sink.put(&INFO, &LABELS.map(|(label, name)| (label, value(name))), 1.0);
    if let Some(version) = major_minor(value("VERSION_ID")) {
        let labels = [("id", value("ID")), ("id_like", value("ID_LIKE")), ("name", value("NAME"))];
        sink.put(&VERSION, &labels, version);
    }
}

/// `NAME=value`, the value possibly quoted as in a shell.
fn assignment(line: &str) -> Option<(&str, String)> {
    let (name, value) = line.trim().split_once('=')?;
    if name.starts_with('#') {
        return None;
    }
    let quoted = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
    let mut plain = String::new();
    let mut rest = quoted.unwrap_or(value).chars();
    while let Some(c) = rest.next() {
        plain.extend(if c == '\\' { rest.next() } else { Some(c) });
    }
    Some((name, plain))
}

/// `20.04.2` is 20.04.
fn major_minor(version: &str) -> Option<f64> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let major = digits(version);
    let minor = version[major..].strip_prefix('.').map_or(0, digits);
    let end = if minor > 0 { major + 1 + minor } else { major };
    version[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_version_come_from_the_assignments() {
        let release =
            "# comment=1\nNAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"20.04\"\nVARIANT='a \\$'\n";
        let expected = [
            r#"node_os_info{id="ubuntu", id_like="debian", name="Ubuntu", variant="a $", version_id="20.04"} 1"#,
            r#"node_os_version{id="ubuntu", id_like="debian", name="Ubuntu"} 20.04"#,
        ];
        assert_eq!(lines_of(|sink| parse(release, sink)), expected);
    }

    #[test]
    fn a_version_is_its_first_two_numbers() {
        let check = |text: &str, expected: Option<f64>| assert_eq!(major_minor(text), expected, "{text}");
        check("12", Some(12.0));
        check("20.04.2", Some(20.04));
        check("3.", Some(3.0));
        check("rolling", None);
        check("", None);
    }
}

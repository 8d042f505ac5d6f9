//! `store`.

use std::time::Duration;

use super::client;
use crate::config::checker::Checker;
use crate::config::store::{Etcd, Store};
use crate::model::Labels;
use crate::net::SecretSource;
use crate::store::EtcdSettings;

/// A shorter lease ends by an election of etcd alone.
const LEAST_LEASE: Duration = Duration::from_secs(2);
/// A host that is gone for so long has long been missed.
const LONGEST_LEASE: Duration = Duration::from_secs(3600);

/// A fleet's store, and which part of the fleet this host is in.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetStore {
    /// `host` is empty for the system's name.
    pub etcd: EtcdSettings,
    pub zone: String,
}

/// `None`: on this host.
pub fn settings(check: &mut Checker<'_>, external_labels: &Labels, store: &Store) -> Option<FleetStore> {
    store.etcd.as_ref().map(|etcd| fleet(check, external_labels, etcd))
}

fn fleet(check: &mut Checker<'_>, external_labels: &Labels, etcd: &Etcd) -> FleetStore {
    let endpoints: Vec<String> = etcd.endpoints.value.iter().map(|url| url.value.0.clone()).collect();
    if endpoints.is_empty() {
        let help = "name every member, for example [http://10.0.0.1:2379, http://10.0.0.2:2379]";
        check.error(&etcd.endpoints.place, "a store needs an endpoint", help);
    }
    for (url, plain) in etcd.endpoints.value.iter().zip(&endpoints) {
        // A path would be taken for a part of each call.
        let rest = plain.split_once("://").map_or("", |(_, rest)| rest.trim_end_matches('/'));
        if rest.contains(['/', '?', '#', '@']) {
            let help = "write `https://host:2379`, and a user as `username` and `password_file`";
            check.error(&url.place, "an endpoint has a host and a port, and nothing else", help);
        }
        if etcd.tls.is_some() && plain.starts_with("http://") {
            check.error(&url.place, "this endpoint is not asked by TLS, although there is `tls`", "write `https://`");
        }
    }
    if etcd.prefix.value.trim_matches('/').is_empty() {
        check.error(&etcd.prefix.place, "an empty prefix would be all of etcd", "write for example /brownout");
    }
    for name in [&etcd.host, &etcd.zone].into_iter().flatten().filter(|name| name.value.trim().is_empty()) {
        check.error(&name.place, "this name is empty", "write a name, or remove the field");
    }
    let lease = etcd.lease.value.0;
    if !(LEAST_LEASE..=LONGEST_LEASE).contains(&lease) {
        let help = "10s suits most fleets: shorter notices a lost host sooner, and writes more";
        check.error(&etcd.lease.place, "a lease is between 2s and 1h", help);
    }
    if let Some(tls) = etcd.tls.as_ref().filter(|tls| tls.value.insecure_skip_verify) {
        let help = "give the authority of etcd's certificates as `ca_file`";
        check.error(&tls.place, "the store speaks for the whole fleet: its certificate is always checked", help);
    }
    let tls = etcd.tls.as_ref().map(|tls| client::tls(check, &tls.value)).unwrap_or_default();
    let password = etcd.password_file.as_ref().map(|file| SecretSource::File(check.file("the password file", file)));
    let user = etcd.username.as_ref().map(|user| user.value.clone()).zip(password);
    let named = |name: &Option<crate::yaml::Spanned<String>>| name.as_ref().map(|name| name.value.clone());
    let zone = named(&etcd.zone).or_else(|| external_labels.get("zone").map(str::to_owned));
    let settings = EtcdSettings {
        endpoints: endpoints.iter().map(|url| url.trim_end_matches('/').to_owned()).collect(),
        prefix: etcd.prefix.value.clone(),
        host: named(&etcd.host).unwrap_or_default(),
        instance: String::new(),
        address: String::new(),
        lease,
        tls,
        user,
    };
    FleetStore { etcd: settings, zone: zone.unwrap_or_else(|| "default".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Checked, FilesInMemory, load};

    fn read(yaml: &str) -> Result<Checked, Vec<String>> {
        let files = FilesInMemory::new([("/etc/b.yaml", yaml), ("/etc/pw", "secret"), ("/etc/ca", "")]);
        let loaded = load(Some("/etc/b.yaml".as_ref()), &files);
        loaded.checked.map(|checked| *checked).ok_or(loaded.problems.iter().map(|p| p.message.clone()).collect())
    }

    #[test]
    fn a_fleets_store_has_good_defaults() {
        let store = read("store: {etcd: {endpoints: [\"http://a:2379/\", \"http://b:2379\"]}}").expect("good").store;
        let store = store.expect("a fleet's store");
        assert_eq!(store.etcd.endpoints, ["http://a:2379", "http://b:2379"]);
        assert_eq!(
            (store.etcd.prefix.as_str(), store.etcd.host.as_str(), store.zone.as_str()),
            ("/brownout", "", "default")
        );
        assert_eq!((store.etcd.lease, store.etcd.user), (Duration::from_secs(10), None));
        let yaml = "global: {external_labels: {zone: eu}}\nstore: {etcd: {endpoints: [\"https://a:2379\"], host: h1, \
                    prefix: /shop, lease: 5s, username: u, password_file: pw, tls: {ca_file: ca, server_name: etcd}}}";
        let store = read(yaml).expect("good").store.expect("a fleet's store");
        assert_eq!((store.zone.as_str(), store.etcd.host.as_str()), ("eu", "h1"));
        assert_eq!(store.etcd.tls.ca_file, Some("/etc/ca".into()));
        assert_eq!(store.etcd.user, Some(("u".to_owned(), SecretSource::File("/etc/pw".into()))));
        assert_eq!(read("store: {embedded: {}}").expect("good").store, None);
    }

    #[test]
    fn what_cannot_work_is_said_at_once() {
        let check = |etcd: &str, expected: &str| {
            let problems = read(&format!("store: {{etcd: {{{etcd}}}}}")).expect_err("a problem");
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{etcd}: {problems:?}");
        };
        let good = "endpoints: [\"https://a:2379\"]";
        check("", "endpoints");
        check("endpoints: []", "needs an endpoint");
        check("endpoints: [\"a:2379\"]", "not an HTTP address");
        check("endpoints: [\"https://a:2379/v3\"]", "and nothing else");
        check("endpoints: [\"http://a:2379\"], tls: {}", "not asked by TLS");
        check(&format!("{good}, lease: 1s"), "between 2s and 1h");
        check(&format!("{good}, prefix: /"), "all of etcd");
        check(&format!("{good}, host: \" \""), "is empty");
        check(&format!("{good}, username: u"), "`username` without `password_file`");
        check(&format!("{good}, tls: {{insecure_skip_verify: true}}"), "always checked");
        check(&format!("{good}, tls: {{ca_file: missing}}"), "cannot read the CA file");
        let both = read(&format!("store: {{embedded: {{}}, etcd: {{{good}}}}}")).expect_err("a problem");
        assert_eq!(both.len(), 1, "{both:?}");
    }
}

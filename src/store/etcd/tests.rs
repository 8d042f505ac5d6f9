//! The session against real etcd: one member on loopback, when the binary is there.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::super::contract::{config_contract, contract, fleet_contract, same_name, until, vote, write};
use super::*;
use crate::limits;
use crate::model::SwitchName;
use crate::net::Secret;
use crate::store::Mine;
use crate::time::Timestamp;

/// A member of its own cluster; ended with the test.
struct Server {
    child: Child,
    folder: PathBuf,
    peer: u16,
    client: u16,
    /// etcd's flags for TLS; none for plain connections.
    tls: Vec<String>,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Server {
    /// `None` when there is no etcd here.
    fn start(name: &str) -> Option<Server> {
        Server::start_with(name, Vec::new())
    }

    fn start_with(name: &str, tls: Vec<String>) -> Option<Server> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            println!("skipped: there is no etcd on the path");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("brownout-etcd-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        let (peer, client) = (free_port(), free_port());
        let child = Server::spawn(&folder, peer, client, &tls);
        Some(Server { child, folder, peer, client, tls })
    }

    fn spawn(folder: &Path, peer: u16, client: u16, tls: &[String]) -> Child {
        let scheme = if tls.is_empty() { "http" } else { "https" };
        let (peer, client) = (format!("http://127.0.0.1:{peer}"), format!("{scheme}://127.0.0.1:{client}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(folder).arg("--name").arg("m1");
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--initial-cluster", &format!("m1={peer}")]).args(["--unsafe-no-fsync"]);
        command.args(tls);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("etcd starts")
    }

    fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.child.id() as i32).expect("a process");
        kill_process(process, signal).expect("it is there");
        if signal == Signal::STOP {
            // Until its last thread has stopped it may still answer.
            waitpid(Some(process), WaitOptions::UNTRACED).expect("it stops");
        }
    }

    fn again(&mut self) {
        self.child = Server::spawn(&self.folder, self.peer, self.client, &self.tls);
    }

    fn wipe(&self) {
        std::fs::remove_dir_all(&self.folder).expect("removed");
    }

    fn open(&self, host: &str, cache: Option<PathBuf>) -> Etcd {
        self.open_as(host, "first", cache)
    }

    fn open_as(&self, host: &str, instance: &str, cache: Option<PathBuf>) -> Etcd {
        let settings = EtcdSettings {
            // The first endpoint is nobody's: every call has to find the other one.
            endpoints: vec!["http://127.0.0.1:1".to_owned(), format!("http://127.0.0.1:{}", self.client)],
            prefix: "/brownout/test".to_owned(),
            host: host.to_owned(),
            instance: instance.to_owned(),
            address: "10.0.0.1:9797".to_owned(),
            // Longer than a busy machine keeps a session waiting.
            lease: Duration::from_secs(4),
            tls: TlsSettings::default(),
            user: None,
        };
        Etcd::open(settings, cache, Clock::start_at(Timestamp::ZERO), Telemetry::new())
    }

    async fn session(&self, host: &str) -> Etcd {
        let etcd = self.open(host, None);
        until(&mut etcd.reach(), "etcd", |reach| reach.is_connected()).await;
        etcd
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[tokio::test]
async fn a_session_with_real_etcd_keeps_the_contract() {
    let Some(server) = Server::start("contract") else { return };
    let first = server.session("h1").await;
    contract(&first).await;
    first.leave().await;
    // The clean goodbye left nothing of the host, and the switches stay.
    let one = server.session("h1").await;
    assert_eq!(one.watch().borrow().switches.len(), 2);
    until(&mut one.term(), "the office", Option::is_some).await;
    let two = server.session("h2").await;
    config_contract(&one, &two).await;
    fleet_contract(&one, &two, async || one.end()).await;
    two.leave().await;
}

#[tokio::test]
async fn two_hosts_of_one_name_are_told_apart_on_real_etcd() {
    let Some(server) = Server::start("name") else { return };
    let first = server.session("h1").await;
    let second = server.open_as("h1", "second", None);
    same_name(&first, &second, async || first.end()).await;
    // A restart is the same one: it does not wait for its own lease.
    second.end();
    let again = server.open_as("h1", "second", None);
    again.put_mine(Mine::Vote("g/r".to_owned(), Some(vote("g/r", "cached"))));
    until(&mut again.census(), "its vote", |census| {
        census.votes.get("h1").is_some_and(|votes| votes["g/r"].level == "cached")
    })
    .await;
    assert!(again.rival().borrow().is_none());
    again.leave().await;
}

#[tokio::test]
async fn what_was_said_is_said_again_and_nothing_flips_when_etcd_comes_back() {
    let Some(mut server) = Server::start("return") else { return };
    let cache = server.folder.with_extension("cache");
    let etcd = server.open("h1", Some(cache.clone()));
    let (mut reach, mut census, mut table) = (etcd.reach(), etcd.census(), etcd.watch());
    until(&mut reach, "etcd", |reach| reach.is_connected()).await;
    let name = SwitchName::new("a").expect("a name");
    etcd.compare_and_put(write("a", 1, "off")).await.expect("taken");
    etcd.put_mine(Mine::Vote("g/r".to_owned(), Some(vote("g/r", "off"))));
    until(&mut census, "the vote", |census| census.votes.len() == 1).await;
    server.kill();
    until(&mut reach, "the loss", |reach| !reach.is_connected()).await;
    assert_eq!(table.borrow_and_update().switches[&name].level, "off");
    let error = etcd.compare_and_put(write("a", 2, "full")).await.expect_err("etcd is away");
    assert!(matches!(&error, StoreError::Unreachable(why) if why.contains("127.0.0.1")), "{error}");
    // A session that begins meanwhile has the last values from the disk.
    let begun = server.open("h2", Some(cache.clone()));
    assert_eq!(begun.watch().borrow().switches[&name].level, "off");
    assert!(!begun.reach().borrow().is_connected());
    begun.end();
    // A member without its data: the switch is not changed, and is put there again.
    server.wipe();
    server.again();
    until(&mut reach, "the return", |reach| reach.is_connected()).await;
    until(&mut census, "the vote again", |census| census.votes.len() == 1).await;
    assert!(!table.has_changed().expect("open"), "nothing flips because of the return");
    etcd.compare_and_put(write("a", 2, "full")).await.expect("taken");
    let other = server.session("h3").await;
    assert_eq!(other.watch().borrow().switches[&name].level, "full");
    other.leave().await;
    etcd.leave().await;
    drop(std::fs::remove_file(cache));
}

#[tokio::test]
async fn a_write_that_nobody_answered_may_have_been_taken_and_one_that_came_too_early_was_not() {
    let Some(server) = Server::start("doubt") else { return };
    let etcd = server.open("h1", None);
    let error = etcd.compare_and_put(write("a", 1, "off")).await.expect_err("nothing was heard of etcd yet");
    assert_eq!(error.to_string(), "the store is out of reach: its first answer is not there yet");
    until(&mut etcd.reach(), "etcd", |reach| reach.is_connected()).await;
    server.signal(Signal::STOP);
    let error = etcd.compare_and_put(write("a", 1, "off")).await.expect_err("nobody answers");
    server.signal(Signal::CONT);
    let text = error.to_string();
    assert!(matches!(error, StoreError::InDoubt(_)), "{text}");
    assert!(text.contains("may have: look before you say it again") && text.contains("no answer in time"), "{text}");
    etcd.end();
}

#[tokio::test]
async fn a_key_for_others_is_kept_by_the_host_that_counts_alone() {
    let Some(server) = Server::start("key") else { return };
    let (one, key) = (server.session("h1").await, "/sentinel/shop/flow");
    until(&mut one.term(), "the office", Option::is_some).await;
    let two = server.session("h2").await;
    assert!(!two.keep_key(key, b"[]").await.expect("taken"), "another host counts");
    assert!(one.keep_key(key, b"[1]").await.expect("taken"), "there was none");
    assert!(!one.keep_key(key, b"[1]").await.expect("taken"), "it is as it should be");
    two.inner.client.call(api::TXN, &api::txn(&[], &[api::Op::Delete(key.to_owned())], &[])).await.expect("gone");
    assert!(one.keep_key(key, b"[1]").await.expect("taken"), "somebody took it away");
    one.leave().await;
    until(&mut two.term(), "the office", Option::is_some).await;
    assert!(!two.keep_key(key, b"[1]").await.expect("taken"), "the key outlived who wrote it");
    assert!(two.keep_key(key, b"[2]").await.expect("taken"));
    two.leave().await;
}

#[tokio::test]
async fn a_host_among_thousands_has_a_long_lease_and_takes_a_short_one_when_it_stands() {
    let Some(server) = Server::start("thousands") else { return };
    let seed = server.session("seed").await;
    // From now on it only asks.
    seed.end();
    let keys = &seed.inner.keys;
    let put = |key: String, value: &str| api::Op::Put { key, value: value.as_bytes().to_vec(), lease: 0 };
    let member = serde_json::to_string(&crate::switches::Member::default()).expect("JSON");
    let members: Vec<api::Op> = (0..3_000).map(|host| put(keys.member(&format!("m{host}")), &member)).collect();
    // Nobody stands.
    let gone = [api::Op::DeleteAll(keys.all("counter"))];
    for ops in members.chunks(limits::STORE_TXN).chain([gone.as_slice()]) {
        seed.inner.client.call(api::TXN, &api::txn(&[], ops, &[])).await.expect("taken");
    }
    let host = server.open("h1", None);
    host.put_mine(Mine::Vote("g/r".to_owned(), Some(vote("g/r", "off"))));
    let under = async || {
        let vote = api::Op::Range(api::Range::prefix(&keys.votes("h1")));
        let answer = seed.inner.client.call(api::TXN, &api::txn(&[], &[vote], &[])).await.expect("read");
        let read = api::read_txn(&answer).expect("an answer").answers.remove(0);
        read.kvs.first().map(|kv| kv.lease)
    };
    let held = |host: &Etcd| {
        let hold = host.inner.hold();
        (hold.lease, hold.lasts)
    };
    let first = loop {
        if let Some(lease) = under().await {
            break lease;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(held(&host), (first, 3 * host.inner.settings.lease));
    until(&mut host.term(), "the office", Option::is_some).await;
    let second = under().await.expect("the vote was never gone");
    assert_ne!(second, first);
    assert_eq!(held(&host), (second, host.inner.settings.lease));
    // It says how many there are, and says it anew; another host takes its word and counts nobody.
    let other = server.session("h2").await;
    let key = keys.counter("h1");
    let told = async |more: &'static str| loop {
        let answer = seed.inner.client.call(api::RANGE, &api::Range::key(&key).message()).await.expect("read");
        let there = api::read_range(&answer).expect("an answer").kvs.remove(0);
        let sees = serde_json::from_slice::<serde_json::Value>(&there.value).ok();
        if let Some(hosts) = sees.and_then(|sees| sees["hosts"].as_u64()).filter(|hosts| *hosts > 3_900 || more == "3")
        {
            break hosts;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(told("3").await.abs_diff(3_000) < 10);
    let more: Vec<api::Op> = (0..1_000).map(|host| put(keys.member(&format!("n{host}")), &member)).collect();
    for ops in more.chunks(limits::STORE_TXN) {
        seed.inner.client.call(api::TXN, &api::txn(&[], ops, &[])).await.expect("taken");
    }
    let hosts = told("4").await;
    other.inner.relist("minute", false).await.expect("listed");
    assert_eq!(other.inner.crowd(), hosts);
    host.leave().await;
}

/// An authority, a certificate of etcd and one of a client by it, and what is not by it.
struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    fn make(name: &str) -> Certificates {
        use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
        let folder = std::env::temp_dir().join(format!("brownout-etcd-certs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for authority in ["ca", "other"] {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, authority);
            let made = params.self_signed(&key).expect("a certificate");
            std::fs::write(folder.join(format!("{authority}.pem")), made.pem()).expect("written");
            let issuer = Issuer::new(params, key);
            for (whose, names) in [("server", vec!["etcd.test".to_owned(), "127.0.0.1".to_owned()]), ("client", vec![])]
            {
                let key = KeyPair::generate().expect("a key");
                let mut params = CertificateParams::new(names).expect("names");
                params.distinguished_name.push(DnType::CommonName, whose);
                params.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
                let made = params.signed_by(&key, &issuer).expect("a certificate");
                let path = |kind: &str| folder.join(format!("{authority}-{whose}{kind}"));
                std::fs::write(path(".pem"), made.pem()).expect("written");
                std::fs::write(path(".key"), key.serialize_pem()).expect("written");
            }
        }
        Certificates { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// etcd's flags: its certificate, and that it wants one of each client.
    fn flags(&self) -> Vec<String> {
        let flags = [("cert-file", "ca-server.pem"), ("key-file", "ca-server.key"), ("trusted-ca-file", "ca.pem")];
        let flags = flags.iter().map(|(flag, file)| format!("--{flag}={}", self.text(file)));
        flags.chain(["--client-cert-auth".to_owned()]).collect()
    }

    fn tls(&self, ca: &str, client: Option<&str>, name: Option<&str>) -> TlsSettings {
        TlsSettings {
            ca_file: Some(self.path(ca)),
            cert_file: client.map(|client| self.path(&format!("{client}.pem"))),
            key_file: client.map(|client| self.path(&format!("{client}.key"))),
            server_name: name.map(str::to_owned),
            ..TlsSettings::default()
        }
    }
}

impl Server {
    fn open_tls(&self, tls: TlsSettings, user: Option<(&str, &str)>) -> Etcd {
        let settings = EtcdSettings {
            endpoints: vec![format!("https://127.0.0.1:{}", self.client)],
            prefix: "/brownout/test".to_owned(),
            host: "h1".to_owned(),
            instance: String::new(),
            address: String::new(),
            lease: Duration::from_secs(2),
            tls,
            user: user.map(|(name, word)| (name.to_owned(), SecretSource::Inline(Secret::new(word)))),
        };
        Etcd::open(settings, None, Clock::start_at(Timestamp::ZERO), Telemetry::new())
    }

    fn ctl(&self, certificates: &Certificates, arguments: &[&str]) {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints=https://127.0.0.1:{}", self.client));
        command.arg(format!("--cacert={}", certificates.text("ca.pem")));
        command.arg(format!("--cert={}", certificates.text("ca-client.pem")));
        command.arg(format!("--key={}", certificates.text("ca-client.key")));
        let done = command.args(arguments).output().expect("etcdctl runs");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// Waits until a session says this of why it cannot work.
async fn trouble(etcd: &Etcd, expected: &str) {
    until(&mut etcd.inner.trouble.subscribe(), expected, |told| told.contains(expected)).await;
    assert!(!etcd.reach().borrow().is_connected());
}

#[tokio::test]
async fn a_wrong_certificate_or_password_is_named() {
    crate::net::install_crypto();
    let certificates = Certificates::make("tls");
    let Some(server) = Server::start_with("tls", certificates.flags()) else { return };
    let good = || certificates.tls("ca.pem", Some("ca-client"), None);
    let etcd = server.open_tls(good(), None);
    until(&mut etcd.reach(), "etcd", |reach| reach.is_connected()).await;
    etcd.compare_and_put(write("a", 1, "off")).await.expect("taken");
    etcd.leave().await;
    let named = server.open_tls(certificates.tls("ca.pem", Some("ca-client"), Some("etcd.test")), None);
    until(&mut named.reach(), "etcd by its name", |reach| reach.is_connected()).await;
    named.leave().await;
    let wrong = [
        (
            certificates.tls("other.pem", Some("ca-client"), None),
            "not from an authority that is trusted here (`ca_file`)",
        ),
        (certificates.tls("ca.pem", Some("ca-client"), Some("db.test")), "for another name (`server_name`)"),
        (certificates.tls("ca.pem", None, None), "does not take our certificate (`cert_file`, `key_file`)"),
        (
            certificates.tls("ca.pem", Some("other-client"), None),
            "does not take our certificate (`cert_file`, `key_file`)",
        ),
        (certificates.tls("missing.pem", Some("ca-client"), None), "missing.pem"),
    ];
    for (tls, expected) in wrong {
        let etcd = server.open_tls(tls, None);
        trouble(&etcd, expected).await;
        etcd.end();
    }
    // Users: root turns them on; ours may touch its own prefix and no other.
    for arguments in [
        &["user", "add", "root:top"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "fleet"],
        &["role", "grant-permission", "fleet", "readwrite", "/brownout/test/", "--prefix"],
        &["user", "add", "agent:word"],
        &["user", "grant-role", "agent", "fleet"],
        &["user", "add", "guest:word"],
        &["auth", "enable"],
    ] {
        server.ctl(&certificates, arguments);
    }
    let etcd = server.open_tls(good(), Some(("agent", "word")));
    until(&mut etcd.reach(), "etcd with a user", |reach| reach.is_connected()).await;
    etcd.compare_and_put(write("a", 2, "full")).await.expect("taken");
    until(&mut etcd.term(), "an office", Option::is_some).await;
    for (user, expected) in [
        (("agent", "guess"), "the password of user `agent` is wrong"),
        (("guest", "word"), "user `guest` has no right to read and write keys under `/brownout/test`"),
    ] {
        let wrong = server.open_tls(good(), Some(user));
        trouble(&wrong, expected).await;
        wrong.end();
    }
    // Tokens that were forgotten are asked for again.
    server.ctl(&certificates, &["--user=root:top", "auth", "disable"]);
    server.ctl(&certificates, &["auth", "enable"]);
    etcd.compare_and_put(write("a", 3, "off")).await.expect("taken");
    etcd.leave().await;
    std::fs::remove_dir_all(&certificates.folder).expect("removed");
}

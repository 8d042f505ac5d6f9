//! The session against real etcd: one member on loopback, when the binary is there.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::contract::{contract, fleet_contract, until, vote, write};
use super::*;
use crate::model::SwitchName;
use crate::store::Mine;
use crate::time::Timestamp;

/// A member of its own cluster; ended with the test.
struct Server {
    child: Child,
    folder: PathBuf,
    peer: u16,
    client: u16,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Server {
    /// `None` when there is no etcd here.
    fn start(name: &str) -> Option<Server> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            println!("skipped: there is no etcd on the path");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("brownout-etcd-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        let (peer, client) = (free_port(), free_port());
        let child = Server::spawn(&folder, peer, client);
        Some(Server { child, folder, peer, client })
    }

    fn spawn(folder: &std::path::Path, peer: u16, client: u16) -> Child {
        let (peer, client) = (format!("http://127.0.0.1:{peer}"), format!("http://127.0.0.1:{client}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(folder).arg("--name").arg("m1");
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--initial-cluster", &format!("m1={peer}")]).args(["--unsafe-no-fsync"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("etcd starts")
    }

    fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    fn again(&mut self) {
        self.child = Server::spawn(&self.folder, self.peer, self.client);
    }

    fn wipe(&self) {
        std::fs::remove_dir_all(&self.folder).expect("removed");
    }

    fn open(&self, host: &str, cache: Option<PathBuf>) -> Etcd {
        let settings = EtcdSettings {
            // The first endpoint is nobody's: every call has to find the other one.
            endpoints: vec!["http://127.0.0.1:1".to_owned(), format!("http://127.0.0.1:{}", self.client)],
            prefix: "/brownout/test".to_owned(),
            host: host.to_owned(),
            lease: Duration::from_secs(2),
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
    fleet_contract(&one, &two, async || one.end()).await;
    two.leave().await;
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

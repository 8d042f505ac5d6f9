//! Many hosts of a fleet in one process, on a real etcd: each has the daemon's own session with its connections, lease, presence
//! and votes. `tests/e2e/crowd.py` runs it, starts etcd beside it, and measures.
//!
//! `crowd --endpoints URL,URL --prefix PREFIX [--lease SECONDS] [--engines all] [--rules FILE] [--names PREFIX]`
//!
//! By default a host has an engine only while it is elected to count, and says what it is told to say; with `--engines all` each
//! host judges its own signals. Orders come one a line on the standard input, and each is answered with one line of JSON:
//! `open N MILLISECONDS` (N more hosts, over that time), `sick FROM TO TROUBLE MILLISECONDS` (those hosts, over that time; 0 is
//! well), `status`, `seen LEVEL SINCE` (when each host first had that level after that time), `push FILE` (other rules), `leave`.
//! What happens by itself is told in lines with `event`: `elected`, `written`, `refused`.

#![expect(clippy::print_stdout, reason = "what it measured is printed for the script that runs it")]

mod desk;
mod host;

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::sync::Arc;
use std::time::Duration;

use brownout::rng::Rng;
use brownout::telemetry::Telemetry;
use brownout::time::Clock;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use host::{Host, Plan};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const RULES: &str = include_str!("rules.yaml");

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run())
}

fn arguments() -> Result<BTreeMap<String, String>, Failure> {
    let mut words = std::env::args().skip(1);
    let mut pairs = BTreeMap::new();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").ok_or_else(|| format!("`{word}` is no --name"))?;
        pairs.insert(name.to_owned(), words.next().ok_or_else(|| format!("--{name} has no value"))?);
    }
    Ok(pairs)
}

async fn run() -> Result<(), Failure> {
    let arguments = arguments()?;
    let text = |name: &str, default: &str| arguments.get(name).map_or(default, String::as_str).to_owned();
    let rules = arguments.get("rules").map_or(Ok(RULES.to_owned()), std::fs::read_to_string)?;
    let plan = Plan {
        endpoints: text("endpoints", "http://127.0.0.1:2379").split(',').map(str::to_owned).collect(),
        prefix: text("prefix", "/crowd"),
        lease: Duration::from_secs(text("lease", "10").parse()?),
        names: text("names", "h"),
        all_engines: text("engines", "elected") == "all",
        rules: watch::Sender::new(rules),
        clock: Clock::start(),
        telemetry: Telemetry::new(),
    };
    let mut crowd = Crowd { plan: Arc::new(plan), hosts: Vec::new() };
    let mut orders = orders();
    while let Some(order) = orders.recv().await {
        let words: Vec<&str> = order.split_whitespace().collect();
        let answer = crowd.obey(&words).await.unwrap_or_else(|error| json!({"error": error.to_string()}));
        println!("{answer}");
        if words.first() == Some(&"leave") {
            break;
        }
    }
    Ok(())
}

/// The lines of the standard input.
fn orders() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Crowd {
    plan: Arc<Plan>,
    hosts: Vec<Arc<Host>>,
}

impl Crowd {
    async fn obey(&mut self, words: &[&str]) -> Result<Value, Failure> {
        match words {
            ["open", count, over] => {
                let (count, over) = (count.parse::<usize>()?, over.parse::<u64>()?);
                for index in 0..count {
                    self.hosts.push(Host::open(Arc::clone(&self.plan), self.hosts.len()));
                    // In portions: a timer does not fire more often than once a millisecond.
                    if index % 20 == 19 {
                        tokio::time::sleep(Duration::from_micros(over * 20_000 / count as u64)).await;
                    }
                }
                Ok(json!({"hosts": self.hosts.len()}))
            }
            ["sick", from, to, trouble, over] => {
                let trouble: f64 = trouble.parse()?;
                let hosts = self.hosts.get(from.parse()?..to.parse()?).ok_or("there are not so many hosts")?;
                let begun = self.plan.clock.now();
                let said = trouble_comes(hosts, trouble, over.parse()?, &self.plan.clock).await;
                Ok(json!({"begun": begun.as_millis(), "said": said}))
            }
            ["status"] => Ok(self.status()),
            ["seen", level, since] => {
                let since: i64 = since.parse()?;
                let seen: Vec<i64> = self.hosts.iter().filter_map(|host| host.saw(level, since)).collect();
                Ok(json!({"seen": seen}))
            }
            ["push", file] => {
                self.plan.rules.send_replace(std::fs::read_to_string(file)?);
                Ok(json!({}))
            }
            ["leave"] => {
                let leaving = self.hosts.drain(..).map(|host| tokio::spawn(async move { host.etcd.leave().await }));
                for host in leaving.collect::<Vec<_>>() {
                    host.await?;
                }
                Ok(json!({}))
            }
            _ => Err(format!("no such order: {}", words.join(" ")).into()),
        }
    }

    fn status(&self) -> Value {
        let mut levels: BTreeMap<String, usize> = BTreeMap::new();
        for host in &self.hosts {
            *levels.entry(host.level()).or_default() += 1;
        }
        let connected = self.hosts.iter().filter(|host| host.is_connected()).count();
        let present = self.hosts.iter().filter_map(|host| host.known()).max();
        let elected: Vec<&str> =
            self.hosts.iter().filter(|host| host.is_elected()).map(|host| host.name.as_str()).collect();
        let wanted =
            ["brownout_store_retries_total", "brownout_store_relists_total", "brownout_store_leases_lost_total"];
        let mut counted: BTreeMap<&str, f64> = BTreeMap::new();
        for (labels, value) in self.plan.telemetry.samples() {
            if let Some(name) = wanted.iter().find(|name| labels.get(brownout::model::NAME) == Some(**name)) {
                *counted.entry(name).or_default() += value;
            }
        }
        json!({"now": self.plan.clock.now().as_millis(), "hosts": self.hosts.len(), "connected": connected,
               "present": present, "elected": elected, "levels": levels, "counted": counted})
    }
}

/// Gives when each host said so, in the order in which they did; evenly over the time, in a random order.
async fn trouble_comes(hosts: &[Arc<Host>], trouble: f64, over: u64, clock: &Clock) -> Vec<i64> {
    let mut rng = Rng::seeded(hosts.len() as u64);
    let mut order: Vec<usize> = (0..hosts.len()).collect();
    for place in (1..order.len()).rev() {
        order.swap(place, rng.below(place as u64 + 1) as usize);
    }
    let begun = clock.now();
    let mut said = Vec::new();
    for (place, index) in order.iter().enumerate() {
        let due = begun + Duration::from_micros(over * 1_000 * place as u64 / hosts.len() as u64);
        // Who is due is not kept waiting by what the others have to do.
        if due > clock.now() {
            tokio::time::sleep(due.since(clock.now())).await;
        }
        hosts[*index].feels(trouble);
        said.push(clock.now().as_millis());
    }
    said
}

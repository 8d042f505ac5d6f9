//! The engine of a host, with what the shell does for it: the store's words go in, what it asks of the store is carried there.

use std::sync::Arc;
use std::time::Duration;

use brownout::engine::{ActionSettings, Effects, Engine, Event, Restored, Settings};
use brownout::model::{Batch, Labels, NAME, Source};
use brownout::store::{Mine, Store as _, StoreError};
use brownout::switches::{Declaration, FleetSettings, HandOver, Mode, OnSilence, SwitchKind, Write};
use brownout::time::{Stopwatch, Timestamp};
use brownout::yaml::SourceFile;
use brownout::{alerts, rules, series};
use serde_json::json;
use tokio::sync::mpsc;

use super::host::{Host, LADDER, switch};

struct Errand {
    writes: Vec<Write>,
    hand_over: Vec<HandOver>,
}

fn settings(host: &Host) -> Settings {
    let text = host.plan.rules.borrow().clone();
    let (groups, problems) = rules::parse_file(&SourceFile::new("rules.yaml", &text));
    let name = switch();
    Settings {
        series: series::Settings::default(),
        rules: rules::Settings { groups: groups.unwrap_or_else(|| panic!("{problems:?}")), ..Default::default() },
        alerts: alerts::Settings::default(),
        actions: ActionSettings {
            declarations: vec![Declaration {
                name,
                description: String::new(),
                kind: SwitchKind::Feature,
                ladder: LADDER.map(str::to_owned).to_vec(),
                on_silence: OnSilence::Hold,
            }],
            mode: Mode::Enforce,
            ..ActionSettings::default()
        },
        fleet: Some(FleetSettings { host: host.name.clone(), zone: host.zone.clone(), version: "1".into() }),
        record: false,
    }
}

fn samples(at: Timestamp, trouble: f64) -> Event {
    let labels = Labels::from_pairs([(NAME, "trouble")]);
    Event::Samples(Batch { samples: vec![(labels, trouble)], ..Batch::ended(Source::new("crowd", "x"), at) })
}

/// Runs until the session ends. `speaks`: its votes and its presence go to the store; otherwise it only counts.
pub async fn run(host: Arc<Host>, speaks: bool) {
    let clock = host.plan.clock;
    let mut out = Effects::default();
    let seed = host.name.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(byte));
    let mut engine = Engine::restore(clock.now(), settings(&host), Restored::default(), seed, &mut out);
    let (inbox_in, mut inbox) = mpsc::channel(64);
    let (errands, waiting) = mpsc::channel(256);
    tokio::spawn(carry(Arc::clone(&host), waiting, inbox_in.clone()));
    let (mut table, mut census) = (host.etcd.watch(), host.etcd.census());
    let (mut term, mut reach) = (host.etcd.term(), host.etcd.reach());
    let (mut trouble, mut pushed) = (host.trouble.subscribe(), host.plan.rules.subscribe());
    table.mark_changed();
    census.mark_changed();
    term.mark_changed();
    reach.mark_changed();
    let mut sample = tokio::time::interval(Duration::from_secs(1));
    let mut slowest = Duration::ZERO;
    loop {
        let due = engine.next_deadline().map_or(Duration::from_secs(1), |due| due.since(clock.now()));
        let event = tokio::select! {
            biased;
            Some(event) = inbox.recv() => event,
            Ok(()) = reach.changed() => Event::StoreReach(reach.borrow_and_update().is_connected()),
            Ok(()) = term.changed() => {
                let elected = term.borrow_and_update().clone();
                if let Some(office) = &elected {
                    println!("{}", json!({"event": "elected", "host": host.name, "office": office.number, "at": clock.now().as_millis()}));
                    tokio::spawn(tell_outbox(Arc::clone(&host), inbox_in.clone()));
                }
                Event::Elected(elected)
            }
            Ok(()) = table.changed() => Event::StoreChanged(table.borrow_and_update().tables()),
            Ok(()) = census.changed() => Event::Census(Arc::clone(&census.borrow_and_update())),
            Ok(()) = pushed.changed() => { pushed.borrow_and_update(); Event::Reloaded(Box::new(settings(&host))) }
            Ok(()) = trouble.changed() => samples(clock.now(), *trouble.borrow_and_update()),
            _ = sample.tick() => samples(clock.now(), *host.trouble.borrow()),
            () = tokio::time::sleep(due) => Event::Tick,
        };
        let took = Stopwatch::start();
        engine.handle(clock.now(), event, &mut out);
        if took.elapsed() > slowest {
            slowest = took.elapsed();
            if slowest > Duration::from_millis(5) {
                println!("{}", json!({"event": "slow", "host": host.name, "milliseconds": slowest.as_millis() as u64}));
            }
        }
        perform(&host, speaks, &mut out, &errands);
        if speaks && let Some(told) = engine.fleet().and_then(|fleet| fleet.told().switches.get(&switch())) {
            host.now_reads(&told.level);
        }
    }
}

fn perform(host: &Host, speaks: bool, out: &mut Effects, errands: &mpsc::Sender<Errand>) {
    let out = std::mem::take(out);
    if speaks {
        for (rule, vote) in out.votes {
            host.etcd.put_mine(Mine::Vote(rule, vote));
        }
        if let Some(member) = out.presence {
            host.etcd.put_mine(Mine::Presence(member));
        }
    }
    if !(out.writes.is_empty() && out.hand_over.is_empty()) {
        let sent = errands.try_send(Errand { writes: out.writes, hand_over: out.hand_over });
        sent.unwrap_or_else(|error| panic!("{}: too much waits for the store: {error}", host.name));
    }
}

async fn carry(host: Arc<Host>, mut errands: mpsc::Receiver<Errand>, inbox: mpsc::Sender<Event>) {
    while let Some(errand) = errands.recv().await {
        for write in errand.writes {
            let (name, place, record) = (write.name.clone(), write.place.clone(), write.record.clone());
            let asked = host.plan.clock.now().as_millis();
            let result = host.etcd.compare_and_put(write).await;
            let (event, why) = match &result {
                Ok(_) => ("written", String::new()),
                Err(error) => ("refused", error.to_string()),
            };
            println!(
                "{}",
                json!({"event": event, "host": host.name, "level": record.level, "revision": record.revision, "place": format!("{place:?}"),
                                  "votes": record.decision.as_ref().and_then(|d| d.votes.as_ref()).map(|v| (v.agreed, v.of)), "why": why,
                                  "asked": asked, "at": host.plan.clock.now().as_millis()})
            );
            if let Err(error) = &result {
                let moved = matches!(error, StoreError::Conflict { .. });
                drop(inbox.send(Event::StoreRefused { place, name, moved }).await);
            }
        }
        if !errand.hand_over.is_empty()
            && let Err(error) = host.etcd.hand_over(errand.hand_over).await
        {
            println!("{}", json!({"event": "not handed over", "host": host.name, "why": error.to_string()}));
        }
    }
}

async fn tell_outbox(host: Arc<Host>, inbox: mpsc::Sender<Event>) {
    for _ in 0..20 {
        if let Ok(outbox) = host.etcd.outbox().await {
            return drop(inbox.send(Event::Outbox(outbox)).await);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

//! What every store must do: one suite, run by each implementation.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use super::{Mine, Store, StoreError, Table};
use crate::model::SwitchName;
use crate::switches::{
    Actor, Bundle, BundleFile, Decision, HandOver, Member, Mode, Place, Record, Shares, Shelf, Stage, StageWrite,
    Staged, Term, Vote, Write,
};
use crate::time::Timestamp;

/// Longer than any store may take in a test.
const PATIENCE: Duration = Duration::from_secs(30);

/// The write that brings a fleet's switch to a revision.
pub(super) fn write(name: &str, revision: u64, level: &str) -> Write {
    let at = Timestamp::from_millis(revision as i64);
    let decision = Decision {
        switch: name.into(),
        at,
        from: "full".into(),
        to: level.into(),
        by: Actor::System,
        reason: "test".into(),
        mode: Mode::Enforce,
        revision,
        scope: "fleet".into(),
        votes: None,
    };
    let asks = Default::default();
    let (level, decision) = (level.into(), Some(decision));
    let record = Record { level, value: None, since: at, revision, asks, pin: None, decision, expires_at: None };
    Write::here(SwitchName::new(name).expect("a name"), record, revision - 1)
}

/// A vote of a rule.
pub(super) fn vote(rule: &str, level: &str) -> Vote {
    Vote {
        rule: rule.into(),
        switch: SwitchName::new("recs").expect("a name"),
        level: level.into(),
        value: None,
        since: Timestamp::ZERO,
        expression: "up == 0".into(),
        measured: Some(1.5),
        expires_at: Timestamp::from_millis(60_000),
    }
}

/// Waits until a channel holds what is expected.
pub(super) async fn until<T>(seen: &mut watch::Receiver<T>, expected: &str, is: impl FnMut(&T) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, seen.wait_for(is)).await;
    assert!(matches!(waited, Ok(Ok(_))), "never seen: {expected}");
}

/// What a store does for one host; it is empty at the beginning.
pub(super) async fn contract(store: &impl Store) {
    let mut seen = store.watch();
    until(&mut store.reach(), "the store", |reach| reach.is_connected()).await;
    assert_eq!(seen.borrow_and_update().switches, Table::default().switches);
    let table = store.compare_and_put(write("a", 1, "off")).await.expect("taken");
    assert_eq!(table.switches.len(), 1);
    until(&mut seen, "the write", |seen| seen.switches == table.switches).await;
    let before = seen.borrow_and_update().revision;
    // The same once more, as after a lost answer, is no conflict and no write.
    store.compare_and_put(write("a", 1, "off")).await.expect("taken");
    let stale = store.compare_and_put(write("a", 1, "full")).await;
    assert!(matches!(stale, Err(StoreError::Conflict { found: 1, expected: 0, .. })), "{stale:?}");
    assert_eq!(seen.borrow_and_update().revision, before);
    let table = store.compare_and_put(write("a", 2, "full")).await.expect("taken");
    assert!(table.revision > before);
    store.compare_and_put(write("b", 1, "off")).await.expect("taken");
    let decisions = store.decisions(2).await.expect("decisions");
    assert_eq!(decisions.iter().map(|d| d.switch.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    // A zone's switch is another one than the fleet's.
    let mut zoned = write("a", 1, "off");
    zoned.place = Place::Zone("eu/1 west".to_owned());
    let table = store.compare_and_put(zoned.clone()).await.expect("taken");
    assert_eq!(table.zones["eu/1 west"][&zoned.name], zoned.record);
    assert_eq!(table.switches[&zoned.name].revision, 2);
    store.put_mine(Mine::Vote("g/r 1".to_owned(), Some(vote("g/r 1", "off"))));
    let is_said = |votes: usize| move |census: &std::sync::Arc<_>| said(census) == votes;
    until(&mut store.census(), "the vote", is_said(1)).await;
    store.put_mine(Mine::Vote("g/r 1".to_owned(), None));
    until(&mut store.census(), "the end of the vote", is_said(0)).await;
    until(&mut store.term(), "the office", Option::is_some).await;
    let mut elected = write("b", 2, "full");
    elected.term = store.term().borrow().clone();
    let term = elected.term.clone().expect("an office");
    store.compare_and_put(elected).await.expect("taken");
    let call = |state: Option<i32>| {
        let (id, state, term) = ("call/1".into(), state.map(Into::into), term.clone());
        vec![HandOver { shelf: Shelf::Outbox, id, state, term }]
    };
    store.hand_over(call(Some(1))).await.expect("taken");
    store.hand_over(call(Some(2))).await.expect("taken");
    assert_eq!(store.outbox().await.expect("the outbox"), BTreeMap::from([("call/1".to_owned(), 2.into())]));
    store.hand_over(call(None)).await.expect("taken");
    assert_eq!(store.outbox().await.expect("the outbox").len(), 0);
    // A host's alerts, and what became of them.
    let report = |text: &str| std::sync::Arc::new(serde_json::Value::from(text));
    store.put_mine(Mine::Alerts(report("one")));
    store.put_mine(Mine::Alerts(report("two")));
    until(&mut store.census(), "the report", |census| census.alerts.get("h1") == Some(&report("two"))).await;
    let told = |shelf, state: Option<&str>| {
        vec![HandOver { shelf, id: "h1".into(), state: state.map(Into::into), term: term.clone() }]
    };
    store.hand_over(told(Shelf::Told, Some("told"))).await.expect("taken");
    until(&mut store.census(), "what was told", |census| census.told.get("h1") == Some(&report("told"))).await;
    let both = [told(Shelf::Told, None), told(Shelf::Alerts, None)].concat();
    store.hand_over(both).await.expect("taken");
    store.hand_over(told(Shelf::Queries, Some("2"))).await.expect("taken");
    until(&mut store.census(), "an answer", |census| census.queries.get("h1") == Some(&report("2"))).await;
    until(&mut store.census(), "nothing", |census| census.told.is_empty() && census.alerts.is_empty()).await;
}

/// A stage with its last revision on its way, and the bundle.
fn pushed(expected: u64, last: u64) -> StageWrite {
    let files = vec![BundleFile { name: "r.yaml".into(), text: "groups: []".into() }];
    let stage = Stage { last, stable: last, ..Stage::default() };
    StageWrite { expected, stage, bundle: Some(Bundle { revision: last, files }), term: None }
}

/// What a store that is one host's own says of a fleet's configuration.
pub(super) async fn no_fleet_contract(store: &impl Store) {
    assert_eq!(**store.staged().borrow(), Staged::default());
    assert!(matches!(store.put_stage(pushed(0, 1)).await, Err(StoreError::NoFleet)));
    assert!(matches!(store.bundle(1).await, Err(StoreError::NoFleet)));
    let again = pushed(0, 1).bundle.expect("a bundle");
    assert!(matches!(store.put_bundle_again(again).await, Err(StoreError::NoFleet)));
    let term = store.term().borrow().clone().expect("an office");
    assert!(matches!(store.put_shares(Shares::default(), term).await, Err(StoreError::NoFleet)));
}

/// What a shared store does with the fleet's configuration, for a host that counts and another.
pub(super) async fn config_contract(one: &impl Store, two: &impl Store) {
    until(&mut one.term(), "the office of the first", Option::is_some).await;
    let office = one.term().borrow().clone().expect("an office");
    assert_eq!(one.bundle(1).await.expect("an answer"), None);
    let staged = one.put_stage(pushed(0, 1)).await.expect("taken");
    assert_eq!(staged.stage.last, 1);
    let seen = |last: u64| move |staged: &std::sync::Arc<Staged>| staged.stage.last == last;
    until(&mut two.staged(), "the stage", seen(1)).await;
    assert_eq!(two.bundle(1).await.expect("an answer"), pushed(0, 1).bundle);
    // Of two who saw the same, one wins; a lost answer is no other write.
    let again = two.put_stage(pushed(0, 9)).await;
    assert!(matches!(again, Err(StoreError::StageMoved)), "{again:?}");
    assert_eq!(two.bundle(9).await.expect("an answer"), None, "all or nothing");
    let mut late = pushed(staged.revision, 2);
    late.term = Some(Term { number: office.number + 1_000, ..office.clone() });
    let refused = one.put_stage(late.clone()).await;
    assert!(matches!(refused, Err(StoreError::Deposed { .. })), "{refused:?}");
    late.term = Some(office.clone());
    let mut staged = one.put_stage(late).await.expect("taken");
    for last in 3..30 {
        staged = one.put_stage(pushed(staged.revision, last)).await.expect("taken");
    }
    assert_eq!(two.bundle(2).await.expect("an answer"), None, "the oldest are removed");
    assert!(two.bundle(20).await.expect("an answer").is_some());
    let mut large = pushed(staged.revision, 30);
    large.bundle.as_mut().expect("a bundle").files[0].text = "x".repeat(crate::limits::FLEET_CONFIG_BYTES);
    assert!(matches!(one.put_stage(large).await, Err(StoreError::TooLarge { .. })));
    let lost = pushed(0, 2).bundle.expect("a bundle");
    two.put_bundle_again(lost.clone()).await.expect("taken");
    assert_eq!(one.bundle(2).await.expect("an answer"), Some(lost));
    let shares = Shares { hosts: 2, ..Shares::default() };
    one.put_shares(shares.clone(), office.clone()).await.expect("taken");
    until(&mut two.shares(), "the shares", |seen| **seen == shares).await;
    let refused = two.put_shares(shares, Term { number: office.number + 1_000, ..office }).await;
    assert!(matches!(refused, Err(StoreError::Deposed { .. })), "{refused:?}");
}

fn said(census: &crate::switches::Census) -> usize {
    census.votes.values().map(|votes| votes.len()).sum()
}

fn presence(zone: &str) -> Member {
    Member {
        zone: zone.into(),
        since: Timestamp::ZERO,
        rules: Default::default(),
        version: "1".into(),
        ..Member::default()
    }
}

/// What a shared store does for two hosts of one name; `end_one` ends the first one without a word, lease and all.
pub(super) async fn same_name(one: &impl Store, two: &impl Store, end_one: impl AsyncFnOnce()) {
    one.put_mine(Mine::Presence(presence("eu")));
    one.put_mine(Mine::Vote("g/r".to_owned(), Some(vote("g/r", "off"))));
    until(&mut one.census(), "the first", |census| census.members.len() == 1 && said(census) == 1).await;
    two.put_mine(Mine::Presence(presence("us")));
    two.put_mine(Mine::Vote("g/r".to_owned(), Some(vote("g/r", "full"))));
    until(&mut two.rival(), "the one before", Option::is_some).await;
    // Its first list may come later than the word of who has the name.
    until(&mut two.reach(), "the store", |reach| reach.is_connected()).await;
    let rival = two.rival().borrow().clone().expect("the first");
    assert_eq!((rival.zone.as_str(), rival.address.is_empty()), ("eu", false));
    let refused = two.compare_and_put(write("a", 1, "off")).await;
    assert!(matches!(refused, Err(StoreError::SameName(_))), "{refused:?}");
    one.compare_and_put(write("a", 1, "off")).await.expect("taken");
    // It reads what the others do, and has taken nothing away.
    let name = SwitchName::new("a").expect("a name");
    until(&mut two.watch(), "the write of the other", |table| table.switches.contains_key(&name)).await;
    let census = one.census().borrow().clone();
    assert_eq!((census.members["h1"].zone.as_str(), census.votes["h1"]["g/r"].level.as_str()), ("eu", "off"));
    assert!(one.rival().borrow().is_none() && two.term().borrow().is_none());
    end_one().await;
    until(&mut two.rival(), "the name", Option::is_none).await;
    until(&mut two.census(), "the second", |census| {
        census.members.get("h1").is_some_and(|member| member.zone == "us") && said(census) == 1
    })
    .await;
    until(&mut two.term(), "the office", Option::is_some).await;
    two.compare_and_put(write("a", 2, "full")).await.expect("taken");
}

/// What a shared store does for two hosts, `h1` and `h2`; `end_one` ends the first one without a word, lease and all.
pub(super) async fn fleet_contract(one: &impl Store, two: &impl Store, end_one: impl AsyncFnOnce()) {
    let member = presence;
    until(&mut one.term(), "the office of the first", Option::is_some).await;
    one.put_mine(Mine::Presence(member("eu")));
    two.put_mine(Mine::Presence(member("us")));
    two.put_mine(Mine::Vote("g/r".to_owned(), Some(vote("g/r", "off"))));
    let all = |census: &std::sync::Arc<crate::switches::Census>| census.members.len() == 2 && said(census) == 1;
    until(&mut one.census(), "both hosts", all).await;
    until(&mut two.census(), "both hosts", all).await;
    assert_eq!(one.census().borrow().counter.as_deref(), Some("h1"));
    assert!(two.term().borrow().is_none());
    let mut hosts_own = write("c", 1, "off");
    hosts_own.place = Place::Host;
    assert!(matches!(one.compare_and_put(hosts_own).await, Err(StoreError::NotShared(_))));
    // Of two who saw the same, one wins.
    one.compare_and_put(write("c", 1, "off")).await.expect("taken");
    let second = two.compare_and_put(write("c", 1, "full")).await;
    assert!(matches!(second, Err(StoreError::Conflict { found: 1, .. })), "{second:?}");
    let name = SwitchName::new("c").expect("a name");
    until(&mut two.watch(), "the write of the other", |table| table.switches.contains_key(&name)).await;
    let office = one.term().borrow().clone();
    let left = |term: &Option<_>| {
        let (id, state) = ("call-2".into(), Some("half done".into()));
        vec![HandOver { shelf: Shelf::Outbox, id, state, term: Option::clone(term).expect("an office") }]
    };
    one.hand_over(left(&office)).await.expect("taken");
    let mut said = left(&office);
    (said[0].shelf, said[0].id) = (Shelf::Told, "h2".into());
    one.hand_over(said).await.expect("taken");
    until(&mut two.census(), "what is said of the second", |census| census.told.contains_key("h2")).await;
    let report = std::sync::Arc::new(serde_json::Value::from("fires"));
    one.put_mine(Mine::Alerts(report.clone()));
    until(&mut two.census(), "the report of the first", |census| census.alerts.contains_key("h1")).await;
    end_one().await;
    until(&mut two.term(), "the office of the second", Option::is_some).await;
    until(&mut two.census(), "the first gone", |census| census.members.keys().eq(["h2"])).await;
    assert_eq!(two.census().borrow().alerts.get("h1"), Some(&report), "a host that vanished has ended nothing");
    assert_eq!(two.outbox().await.expect("the outbox").len(), 1, "what the first left undone");
    let refused = two.hand_over(left(&office)).await;
    assert!(matches!(refused, Err(StoreError::Deposed { .. })), "{refused:?}");
    let mut late = write("c", 2, "full");
    late.term = office;
    let refused = two.compare_and_put(late.clone()).await;
    assert!(matches!(refused, Err(StoreError::Deposed { .. })), "{refused:?}");
    late.term = two.term().borrow().clone();
    two.compare_and_put(late).await.expect("taken");
}

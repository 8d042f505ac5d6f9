//! The demo's story: what load comes when, and what is worth telling. Pure: it is given what was seen and the time.
//!
//! | chapter | requests a second | ends |
//! | --- | --- | --- |
//! | calm | 25, of 66 that the service can do | after 4 s |
//! | crowd | 110 | when the switch is one rung down and the service fast again, or after 14 s |
//! | bigger crowd | 300 | when the switch is two rungs down and the service fast again, or after 14 s |
//! | leaving | 25 | when the switch is healthy and the alert is resolved, or after 25 s |
//!
//! All together at most 58 s.

use std::time::Duration;

use super::config::{ALERT, SLOW, SWITCH};
use super::service::Told;

/// Requests a second on an ordinary day.
const USUAL: u32 = 25;
/// More than full answers allow, less than cached ones do.
const CROWD: u32 = 110;
/// More than cached answers allow.
const BIGGER_CROWD: u32 = 300;
/// A chapter goes on so long after what it waits for, for people to see it.
const LOOK: Duration = Duration::from_secs(2);
const WHOLE: Duration = Duration::from_secs(58);

/// What was seen of the daemon and the service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// The 99th percentile, in seconds; `None` while there is none.
    pub(super) latency: Option<f64>,
    /// `pending` or `firing`; empty when there is no alert.
    pub(super) alert: String,
    /// The level that the service obeys.
    pub(super) level: String,
    /// Why, as the daemon says.
    pub(super) why: String,
    /// What the webhook said, oldest first.
    pub(super) told: Vec<Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chapter {
    Calm,
    Crowd,
    BiggerCrowd,
    Leaving,
    Over,
}

impl Chapter {
    fn next(self) -> Chapter {
        match self {
            Chapter::Calm => Chapter::Crowd,
            Chapter::Crowd => Chapter::BiggerCrowd,
            Chapter::BiggerCrowd => Chapter::Leaving,
            Chapter::Leaving | Chapter::Over => Chapter::Over,
        }
    }

    fn longest(self) -> Duration {
        Duration::from_secs(match self {
            Chapter::Calm => 4,
            Chapter::Crowd | Chapter::BiggerCrowd => 14,
            Chapter::Leaving => 25,
            Chapter::Over => 0,
        })
    }

    fn load(self) -> u32 {
        match self {
            Chapter::Crowd => CROWD,
            Chapter::BiggerCrowd => BIGGER_CROWD,
            Chapter::Calm | Chapter::Leaving | Chapter::Over => USUAL,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Chapter::Calm => "an ordinary day: 25 requests a second, the service can do 66",
            Chapter::Crowd => "a crowd comes: 110 requests a second, the service can do 66",
            Chapter::BiggerCrowd => "a bigger crowd: 300 requests a second, with cached answers it can do 200",
            Chapter::Leaving => "the crowd leaves: 25 requests a second",
            Chapter::Over => "",
        }
    }
}

/// How an event is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Neutral,
    Good,
    Warn,
    Bad,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    /// Since the story began.
    pub(super) at: Duration,
    pub(super) mood: Mood,
    pub(super) text: String,
}

/// When the turns of the story came; `None` for those that did not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Turns {
    pub(super) crowd: Option<Duration>,
    pub(super) slow: Option<Duration>,
    pub(super) firing: Option<Duration>,
    pub(super) told: Option<Duration>,
    pub(super) first_rung: Option<Duration>,
    pub(super) fast_again: Option<Duration>,
    pub(super) second_rung: Option<Duration>,
    pub(super) left: Option<Duration>,
    pub(super) back: Option<Duration>,
    pub(super) resolved: Option<Duration>,
}

/// The story so far.
#[derive(Clone, Debug)]
pub(super) struct Story {
    chapter: Chapter,
    begun: Duration,
    /// Since when what the chapter waits for has been so.
    settled: Option<Duration>,
    before: Seen,
    pub(super) turns: Turns,
}

impl Story {
    /// The beginning, and what there is to tell about it.
    pub(super) fn begin(seen: Seen) -> (Story, Event) {
        let story = Story {
            chapter: Chapter::Calm,
            begun: Duration::ZERO,
            settled: None,
            before: seen,
            turns: Turns::default(),
        };
        (story, Event { at: Duration::ZERO, mood: Mood::Neutral, text: Chapter::Calm.title().to_owned() })
    }

    /// Requests a second that are to be sent now.
    pub(super) fn load(&self) -> u32 {
        self.chapter.load()
    }

    pub(super) fn is_over(&self) -> bool {
        self.chapter == Chapter::Over
    }

    /// Goes on with what is seen now; gives what is to be told.
    pub(super) fn go_on(&mut self, at: Duration, seen: &Seen) -> Vec<Event> {
        let mut events = self.changes(at, seen);
        self.before = seen.clone();
        self.settled = if self.reached(seen) { self.settled.or(Some(at)) } else { None };
        let looked = self.settled.is_some_and(|since| at.saturating_sub(since) >= LOOK);
        if at >= WHOLE {
            self.chapter = Chapter::Over;
        } else if looked || at.saturating_sub(self.begun) >= self.chapter.longest() {
            self.chapter = self.chapter.next();
            (self.begun, self.settled) = (at, None);
            match self.chapter {
                Chapter::Crowd => self.turns.crowd = Some(at),
                Chapter::Leaving => self.turns.left = Some(at),
                _ => {}
            }
            if self.chapter != Chapter::Over {
                events.push(Event { at, mood: Mood::Neutral, text: self.chapter.title().to_owned() });
            }
        }
        events
    }

    /// Whether what the chapter waits for is so.
    fn reached(&self, seen: &Seen) -> bool {
        let fast = seen.latency.is_some_and(|latency| latency < SLOW);
        match self.chapter {
            Chapter::Calm | Chapter::Over => false,
            Chapter::Crowd => seen.level == "cached" && fast,
            Chapter::BiggerCrowd => seen.level == "off" && fast,
            Chapter::Leaving => seen.level == "full" && seen.alert.is_empty() && self.turns.resolved.is_some(),
        }
    }

    fn changes(&mut self, at: Duration, seen: &Seen) -> Vec<Event> {
        let (before, turns) = (&self.before, &mut self.turns);
        let mut events = Vec::new();
        let mut tell = |mood, text: String| events.push(Event { at, mood, text });
        let slow = |seen: &Seen| seen.latency.is_some_and(|latency| latency > SLOW);
        let millis = seen.latency.map_or(0.0, |latency| latency * 1_000.0);
        if slow(seen) && !slow(before) {
            turns.slow.get_or_insert(at);
            tell(Mood::Warn, format!("the service is slow: 99 % of answers take up to {millis:.0} ms"));
        } else if slow(before) && seen.latency.is_some() && !slow(seen) {
            turns.fast_again.get_or_insert(at);
            tell(Mood::Good, format!("the service is fast again: {millis:.0} ms"));
        }
        if seen.alert != before.alert {
            match seen.alert.as_str() {
                "firing" => {
                    turns.firing.get_or_insert(at);
                    tell(Mood::Bad, format!("alert {ALERT} fires"));
                }
                "pending" => tell(Mood::Warn, format!("alert {ALERT} is pending, for 2 s")),
                _ if before.alert == "firing" => tell(Mood::Good, format!("alert {ALERT} is over")),
                _ => {}
            }
        }
        for told in seen.told.iter().skip(before.told.len()) {
            let mood = match told.status.as_str() {
                "resolved" => {
                    turns.resolved = Some(at);
                    Mood::Good
                }
                _ => {
                    turns.told.get_or_insert(at);
                    // What was resolved before does not count any more.
                    turns.resolved = None;
                    Mood::Bad
                }
            };
            tell(mood, format!("webhook received: {} is {} ({})", told.alert, told.status, told.summary));
        }
        if seen.level != before.level {
            let (mood, turn) = match seen.level.as_str() {
                "full" => (Mood::Good, &mut turns.back),
                "cached" if before.level == "full" => (Mood::Bad, &mut turns.first_rung),
                "off" => (Mood::Bad, &mut turns.second_rung),
                _ => (Mood::Good, &mut None),
            };
            *turn = Some(at);
            let why = if seen.why.is_empty() { String::new() } else { format!(": {}", seen.why) };
            tell(mood, format!("switch {SWITCH}: {} -> {}{why}", before.level, seen.level));
        }
        events
    }
}

impl Turns {
    /// True when everything that the demo wants to show has been seen.
    pub(super) fn complete(&self) -> bool {
        [self.firing, self.told, self.first_rung, self.fast_again, self.second_rung, self.back, self.resolved]
            .iter()
            .all(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service and a daemon as they should be: the story is played against them, four looks a second.
    fn play(seen: impl Fn(&Story, u64) -> Seen) -> (Story, Vec<Event>) {
        let (mut story, first) = Story::begin(Seen { level: "full".into(), latency: Some(0.06), ..Seen::default() });
        let mut events = vec![first];
        for quarter in 1..1_000 {
            if story.is_over() {
                break;
            }
            let seen = seen(&story, quarter);
            events.extend(story.go_on(Duration::from_millis(quarter * 250), &seen));
        }
        (story, events)
    }

    fn told(status: &str) -> Told {
        Told { status: status.into(), alert: ALERT.into(), summary: "slow".into() }
    }

    #[test]
    fn the_whole_story_is_told_in_order_and_within_a_minute() {
        let (story, events) = play(|story, quarter| {
            let at = |secs: f64| (secs * 4.0) as u64;
            let mut seen = Seen { level: "full".into(), latency: Some(0.06), ..Seen::default() };
            if quarter >= at(5.0) && quarter < at(10.0) || quarter >= at(14.0) && quarter < at(20.0) {
                seen.latency = Some(0.9);
            }
            if quarter >= at(6.0) && quarter < at(20.0) {
                seen.alert = if quarter < at(8.0) { "pending".into() } else { "firing".into() };
            }
            if quarter >= at(8.0) {
                (seen.level, seen.why) = ("cached".into(), "it was slow".into());
                seen.told.push(told("firing"));
            }
            if quarter >= at(17.0) {
                seen.level = "off".into();
            }
            if quarter >= at(21.0) {
                seen.told.push(told("resolved"));
            }
            if let Some(left) = story.turns.left {
                let gone = Duration::from_millis(quarter * 250).saturating_sub(left);
                if gone > Duration::from_secs(8) {
                    seen.level = "cached".into();
                }
                if gone > Duration::from_secs(13) {
                    seen.level = "full".into();
                }
            }
            seen
        });
        assert!(story.turns.complete(), "{:?}", story.turns);
        assert!(events.last().is_some_and(|last| last.at < Duration::from_secs(58)));
        let texts: Vec<String> =
            events.iter().map(|event| format!("{:>5.2}  {}", event.at.as_secs_f64(), event.text)).collect();
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn a_daemon_that_does_nothing_ends_the_story_in_time_and_is_noticed() {
        let (story, events) = play(|_, _| Seen { level: "full".into(), latency: Some(2.0), ..Seen::default() });
        assert!(!story.turns.complete());
        assert!(events.iter().all(|event| event.at <= Duration::from_secs(58)));
    }
}

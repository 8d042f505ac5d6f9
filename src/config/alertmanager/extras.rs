//! What `alertmanager` has beyond Alertmanager's grammar: flapping, links in messages, reminders of silences, a digest.

use std::time::Duration;

use crate::yaml::{At, Decode, Spanned};

/// `flapping`.
#[derive(Clone, Debug)]
pub struct Flapping {
    pub count: Spanned<u64>,
    pub window: Spanned<Duration>,
    pub repeat: Spanned<Duration>,
    pub longest: Spanned<Duration>,
}

impl Decode for Flapping {
    fn decode(at: &mut At<'_>) -> Option<Flapping> {
        let doc = "Not in Alertmanager. An alert that begins to fire again and again is told once, then at growing intervals, and its \
                   end once.";
        let mut fields = at.record("flapping", doc)?;
        let count: Spanned<u64> =
            fields.or("count", "4", "how often it must begin to fire within `window`; at least 2");
        let window: Spanned<Duration> = fields.or("window", "30m", "and it is calm after so long without a start");
        let repeat: Spanned<Duration> =
            fields.or("repeat", "1h", "when it is told again; each further time twice as long after");
        let longest: Spanned<Duration> = fields.or("longest", "24h", "the longest time between two messages about it");
        if !(2..=100).contains(&count.value) {
            fields.push(count.place.error("`count` is from 2 to 100", None));
        }
        for (key, span) in [("window", &window), ("repeat", &repeat), ("longest", &longest)] {
            if span.value.is_zero() {
                fields.push(span.place.error(format!("`{key}` must be longer than zero"), None));
            }
        }
        fields.finish();
        Some(Flapping { count, window, repeat, longest })
    }
}

/// `links`.
#[derive(Clone, Debug)]
pub struct Links {
    pub valid_for: Duration,
    pub silence_for: Spanned<Duration>,
    pub acknowledge_for: Spanned<Duration>,
}

impl Decode for Links {
    fn decode(at: &mut At<'_>) -> Option<Links> {
        let doc = "Not in Alertmanager. Messages carry links that silence or acknowledge: signed, expiring, good for one use. Whoever \
                   reads a message can use its links; `serve.external_url` must lead here.";
        let mut fields = at.record("links", doc)?;
        let valid_for = fields.or("valid_for", "24h", "how long a link can be used");
        let silence_for: Spanned<Duration> = fields.or("silence_for", "4h", "how long the silence of a link lasts");
        let acknowledge_for: Spanned<Duration> = fields.or(
            "acknowledge_for",
            "24h",
            "how long repeats are held back when somebody acknowledged, if nothing changes",
        );
        for (key, span) in [("silence_for", &silence_for), ("acknowledge_for", &acknowledge_for)] {
            if span.value.is_zero() {
                fields.push(span.place.error(format!("`{key}` must be longer than zero"), None));
            }
        }
        fields.finish();
        Some(Links { valid_for, silence_for, acknowledge_for })
    }
}

/// `silence_reminders`.
#[derive(Clone, Debug)]
pub struct Reminders {
    pub before_end: Duration,
    pub muted_for: Duration,
}

impl Decode for Reminders {
    fn decode(at: &mut At<'_>) -> Option<Reminders> {
        let doc = "Not in Alertmanager. Alerts of our own about silences that mute something: `SilenceEndsSoon` and \
                   `SilenceForgotten`, with `severity: info`.";
        let mut fields = at.record("silence reminders", doc)?;
        let before_end = fields.or("before_end", "1h", "how long before its end `SilenceEndsSoon` fires");
        let muted_for =
            fields.or("muted_for", "7d", "after how long of muting the same alert `SilenceForgotten` fires");
        fields.finish();
        Some(Reminders { before_end, muted_for })
    }
}

/// `digest`.
#[derive(Clone, Debug)]
pub struct Digest {
    pub receiver: Spanned<String>,
    pub every: Spanned<Duration>,
}

impl Decode for Digest {
    fn decode(at: &mut At<'_>) -> Option<Digest> {
        let doc = "Not in Alertmanager. A message about the rules that made the most noise in the last seven days.";
        let mut fields = at.record("digest", doc)?;
        let receiver: Option<Spanned<String>> = fields.required("receiver", "whom to tell");
        let every: Spanned<Duration> = fields.or("every", "7d", "time between two of them");
        if every.value < Duration::from_secs(60) {
            fields.push(every.place.error("`every` is a minute or longer", None));
        }
        fields.finish();
        Some(Digest { receiver: receiver?, every })
    }
}

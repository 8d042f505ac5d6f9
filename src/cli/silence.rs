//! `brownout silence`: what is not to be told for a while, by whom and why; once, or again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Daemon, ServerArgs};
use super::env;
use super::failure::Failure;
use super::human::Zone;
use super::out::Out;
use super::table::Table;
use super::text::{Style, Text};
use crate::alerts::{RECURRING, SCOPE, parse_matchers};
use crate::model::{MatchOp, Matcher};
use crate::time::{Clock, Timestamp, format_duration, parse_duration};

/// Silence alerts, see what is silenced, end a silence
#[derive(Clone, Debug, clap::Args)]
pub struct SilenceArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Silence the alerts that match all of these; the first may be a bare alert name
    Add(AddArgs),
    /// Show the silences
    List(ListArgs),
    /// End silences now
    Expire(ExpireArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct AddArgs {
    /// For example alertname=DiskFull 'instance=~"web-.*"'
    #[arg(required = true, value_name = "MATCHER")]
    matchers: Vec<String>,
    /// How long
    #[arg(long, short, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    duration: Duration,
    /// When it begins, by default now: RFC 3339
    #[arg(long, value_name = "TIME", value_parser = moment)]
    start: Option<Timestamp>,
    /// Why: whoever finds the silence later will want to know
    #[arg(long, short, value_name = "TEXT")]
    comment: String,
    /// Mute only at these times, within its duration: 'saturday:sunday', '22:00-06:00 Europe/Berlin', 'day=1:7', or the name of
    /// one of time_intervals
    #[arg(long, value_name = "TIMES")]
    recurring: Option<String>,
    /// For all hosts of the fleet: it holds for what they tell together, whoever counts
    #[arg(long)]
    fleet: bool,
    /// Who silences; by default $USER
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Debug, clap::Args)]
struct ListArgs {
    /// Only silences with such matchers
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
    /// Also those that are over
    #[arg(long)]
    expired: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Debug, clap::Args)]
struct ExpireArgs {
    /// Ids, as `brownout silence list` shows them; a beginning will do
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::from_rfc3339(text).ok_or_else(|| "write it as 2026-01-31T12:00:00Z".to_owned())
}

/// `gettableSilence`, as far as it is shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Silence {
    id: String,
    status: Status,
    matchers: Vec<ShownMatcher>,
    starts_at: String,
    ends_at: String,
    created_by: String,
    comment: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Status {
    state: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownMatcher {
    name: String,
    value: String,
    is_regex: bool,
    is_equal: bool,
}

impl ShownMatcher {
    fn text(&self) -> String {
        let op = match (self.is_regex, self.is_equal) {
            (false, true) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (true, false) => "!~",
        };
        format!("{}{op}{:?}", self.name, self.value)
    }
}

/// Matchers as people type them: one an argument, the first perhaps a bare alert name.
fn matchers(texts: &[String]) -> Result<Vec<Matcher>, Failure> {
    let mut all = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        if index == 0 && !text.contains(['=', '~', '{', '!']) {
            all.push(Matcher::equal("alertname", text));
            continue;
        }
        let found = parse_matchers(text).map_err(|error| Failure::Usage(format!("{text:?} is no matcher: {error}")))?;
        all.extend(found);
    }
    Ok(all)
}

fn posted(matcher: &Matcher) -> Value {
    json!({
        "name": matcher.name,
        "value": matcher.value,
        "isRegex": matches!(matcher.op, MatchOp::Matches | MatchOp::NotMatches),
        "isEqual": matches!(matcher.op, MatchOp::Equal | MatchOp::Matches),
    })
}

pub(super) async fn silence(args: &SilenceArgs, out: &mut Out) -> Result<(), Failure> {
    match &args.what {
        What::Add(args) => add(args, out).await,
        What::List(args) => list(args, out).await,
        What::Expire(args) => expire(args, out).await,
    }
}

async fn add(args: &AddArgs, out: &mut Out) -> Result<(), Failure> {
    let matchers = matchers(&args.matchers)?;
    let daemon = Daemon::of(&args.server)?;
    let now = Clock::start().now();
    let (start, by) = (args.start.unwrap_or(now), args.by.clone().or_else(env::user));
    let mut annotations: BTreeMap<&str, &str> =
        args.recurring.iter().map(|times| (RECURRING, times.as_str())).collect();
    annotations.extend(args.fleet.then_some(SCOPE));
    let body = json!({
        "matchers": matchers.iter().map(posted).collect::<Vec<_>>(),
        "startsAt": start.to_rfc3339(),
        "endsAt": (start + args.duration).to_rfc3339(),
        "createdBy": by.unwrap_or_else(|| "somebody".to_owned()),
        "comment": args.comment,
        "annotations": annotations,
    });
    let answer = daemon.post(&["api", "v2", "silences"], body).await?;
    let id = serde_json::from_str::<Value>(&answer).ok().and_then(|v| Some(v["silenceID"].as_str()?.to_owned()));
    let id = id.unwrap_or_default();
    let until = Zone::system().near(now, start + args.duration);
    let when = args.recurring.as_ref().map(|times| format!(", at {times}")).unwrap_or_default();
    let said = Text::styled(Style::Bold, id.as_str()).then(format!(
        " silences until {until} ({}{when}); `brownout silence expire {id}` ends it earlier",
        format_duration(args.duration)
    ));
    out.line(said)
}

async fn silences(daemon: &Daemon, expired: bool, filter: &[Matcher]) -> Result<Vec<Silence>, Failure> {
    let mut parameters = vec![("expired", expired.to_string())];
    parameters.extend(filter.iter().map(|matcher| ("filter", matcher.to_string())));
    let text = daemon.json(&["api", "v2", "silences"], &parameters).await?;
    serde_json::from_str(&text).map_err(|error| Failure::said(format!("the answer is no list of silences: {error}")))
}

async fn list(args: &ListArgs, out: &mut Out) -> Result<(), Failure> {
    let filter = matchers(&args.matchers)?;
    let found = silences(&Daemon::of(&args.server)?, args.expired, &filter).await?;
    if found.is_empty() {
        return out.line("there is no silence");
    }
    out.lines(&table(&found, Clock::start().now(), &Zone::system(), out.edge()))
}

fn table(silences: &[Silence], now: Timestamp, zone: &Zone, edge: usize) -> Vec<Text> {
    let mut table = Table::new(["STATE", "ID", "MATCHERS", "FROM", "UNTIL", "BY", "COMMENT"]);
    for silence in silences {
        let style = match silence.status.state.as_str() {
            "active" => Style::Warn,
            "expired" => Style::Dim,
            _ => Style::Plain,
        };
        let matchers: Vec<String> = silence.matchers.iter().map(ShownMatcher::text).collect();
        let time = |text: &str| Timestamp::from_rfc3339(text).map_or_else(|| text.to_owned(), |at| zone.near(now, at));
        let fleets = silence.annotations.get(SCOPE.0).is_some_and(|scope| scope == SCOPE.1);
        let recurring = silence.annotations.get(RECURRING).map(|times| format!(" (at {times})")).unwrap_or_default();
        table.row(vec![
            Text::styled(style, silence.status.state.as_str()),
            silence.id.as_str().into(),
            format!("{}{}", matchers.join(" "), if fleets { " (on all hosts)" } else { "" }).into(),
            time(&silence.starts_at).into(),
            format!("{}{recurring}", time(&silence.ends_at)).into(),
            silence.created_by.as_str().into(),
            silence.comment.as_str().into(),
        ]);
    }
    table.render(edge)
}

async fn expire(args: &ExpireArgs, out: &mut Out) -> Result<(), Failure> {
    let daemon = Daemon::of(&args.server)?;
    let known = silences(&daemon, false, &[]).await?;
    for id in &args.ids {
        let found: Vec<&Silence> = known.iter().filter(|silence| silence.id.starts_with(id.as_str())).collect();
        let [silence] = found[..] else {
            let many = if found.is_empty() { "no silence" } else { "more than one silence" };
            return Err(Failure::said(format!("{many} that is not over has an id that begins with {id:?}")));
        };
        daemon.change(Method::DELETE, &["api", "v2", "silence", &silence.id], &[], None).await?;
        out.line(Text::styled(Style::Bold, silence.id.as_str()).then(" is over"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_typed_as_for_amtool() {
        let check = |texts: &[&str], expected: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            let found: Vec<String> = matchers(&texts).expect("matchers").iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{texts:?}");
        };
        check(&["DiskFull"], &["alertname=\"DiskFull\""]);
        check(&["DiskFull", "instance=~web.*"], &["alertname=\"DiskFull\"", "instance=~\"web.*\""]);
        check(&["{a=\"b\",c!=\"d\"}"], &["a=\"b\"", "c!=\"d\""]);
        assert!(matchers(&["a=b".to_owned(), "DiskFull".to_owned()]).is_err());
        assert!(matchers(&["a=~(".to_owned()]).is_err());
    }

    #[test]
    fn silences_are_shown_with_their_times() {
        let text = r#"[{"id":"6719b1a5","status":{"state":"active"},"startsAt":"2023-11-14T22:00:00.000Z",
            "endsAt":"2023-11-15T22:00:00.000Z","createdBy":"ann","comment":"moving","annotations":{"recurring":"22:00-06:00","scope":"fleet"},
            "matchers":[{"name":"a","value":"b","isRegex":true,"isEqual":false}],"updatedAt":"2023-11-14T22:00:00.000Z"}]"#;
        let silences: Vec<Silence> = serde_json::from_str(text).expect("silences");
        let lines = table(&silences, Timestamp::from_millis(1_700_000_000_000), &Zone::utc(), 140);
        let shown = lines.iter().map(|line| line.render(false)).collect::<Vec<_>>().join("\n");
        assert!(shown.contains("active  6719b1a5  a!~\"b\"") && shown.contains("(at 22:00-06:00)"), "{shown}");
        assert!(shown.contains("a!~\"b\" (on all hosts)"), "{shown}");
    }
}

//! The fleet as this host sees it, as plain JSON: `GET /api/v1/fleet`. Of a host that is in none `data` is null.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::control::{closing, done};
use super::{Shared, fleet_config, status};
use crate::engine::Picture;
use crate::rules::Listed;
use crate::switches::{FleetPicture, HostPicture, LimitPicture, Quorum, RulePicture, VotePicture, ZonesNeeded};
use crate::time::Timestamp;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/v1/fleet", get(fleet))
}

async fn fleet(State(shared): State<Shared>) -> Response {
    let Some(picture) = shared.picture(Listed::Nothing).await else { return closing() };
    done(json(&picture))
}

/// Hosts, votes, rules and who counts; null without a fleet.
pub(super) fn json(picture: &Picture) -> Value {
    let Some(fleet) = &picture.fleet else { return Value::Null };
    let FleetPicture { host, zone, counter, counting, term, revision, .. } = fleet;
    json!({
        "host": host,
        "zone": zone,
        "counter": counter,
        "counting": counting,
        "term": term,
        "revision": revision,
        "stale_since": fleet.stale_since.map(Timestamp::to_rfc3339),
        "own_clock_ahead_seconds": fleet.own_clock_ahead.map(status::seconds),
        "hosts": fleet.hosts.iter().map(|(name, host)| self::host(name, host)).collect::<Vec<_>>(),
        "rules": fleet.rules.iter().map(|(key, rule)| self::rule(key, rule)).collect::<Vec<_>>(),
        "config": fleet_config::json(fleet),
        "limits": fleet.limits.iter().map(|(name, limit)| self::limit(name.as_str(), limit)).collect::<Vec<_>>(),
    })
}

fn host(name: &str, host: &HostPicture) -> Value {
    json!({
        "name": name,
        "zone": host.zone,
        "version": host.version,
        "since": host.since.to_rfc3339(),
        "gone_since": host.gone_since.map(Timestamp::to_rfc3339),
        "clock_ahead_seconds": host.clock_ahead.map(status::seconds),
        "votes": host.votes.iter().map(vote).collect::<Vec<_>>(),
        "config": host.config.as_ref().map(fleet_config::runs),
    })
}

/// A limit that is shared out. Parts are in the unit of the limit, null while nothing is limited.
fn limit(name: &str, limit: &LimitPicture) -> Value {
    let part = |share: f64| limit.total.map(|total| total * share);
    let hosts = limit
        .hosts
        .iter()
        .map(|(host, (demand, share))| json!({ "name": host, "demand": demand, "share": share, "part": part(*share) }));
    json!({
        "switch": name,
        "total": limit.total,
        "share": limit.share,
        "part": part(limit.share),
        "demand": limit.demand,
        "hosts": hosts.collect::<Vec<_>>(),
    })
}

fn vote(picture: &VotePicture) -> Value {
    let vote = &picture.vote;
    json!({
        "rule": vote.rule,
        "switch": vote.switch,
        "level": vote.level,
        "since": vote.since.to_rfc3339(),
        "expires_at": vote.expires_at.to_rfc3339(),
        "expression": vote.expression,
        "measured": vote.measured,
        "counts": picture.counts,
    })
}

fn rule(key: &str, rule: &RulePicture) -> Value {
    json!({
        "rule": key,
        "switch": rule.switch,
        "scope": rule.scope,
        "quorum": quorum(&rule.quorum),
        "known": (rule.known * 10.0).round() / 10.0,
        "live": rule.live,
        "votes": rule.votes,
        "needed": rule.needed,
        "asks": rule.asks,
    })
}

fn quorum(quorum: &Quorum) -> Value {
    json!({
        "share": quorum.share,
        "at_least": quorum.at_least,
        "clear": { "share": quorum.clear_share, "for_seconds": quorum.clear_for.as_secs_f64() },
        "zones": quorum.zones.map(|zones| match zones {
            ZonesNeeded::All => json!("all"),
            ZonesNeeded::AtLeast(zones) => json!(zones),
        }),
        "min_members": quorum.min_members,
        "max_degraded_share": quorum.max_degraded_share,
    })
}

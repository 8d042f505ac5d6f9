//! How switches reach their readers beyond what is simply there: `serve.haproxy_agents`, `serve.limits`, `projections`.

use super::values::{Entries, HostPort, Interval, at_most_one};
use crate::project::SentinelKind;
use crate::serve::{AgentWord, Unit};
use crate::yaml::{At, Decode, Spanned};

/// One of `serve.haproxy_agents`.
#[derive(Clone, Debug)]
pub struct Agent {
    pub listen: Option<Spanned<HostPort>>,
    pub switch: Option<Spanned<String>>,
    pub levels: Entries<AgentState>,
}

impl Decode for Agent {
    fn decode(at: &mut At<'_>) -> Option<Agent> {
        let doc = "Answers HAProxy's agent-check for a server by a switch, the whole state each time. Without `levels` a feature \
                   gives weights in even steps, a dimmer its share, a limit in flight `maxconn`.";
        let mut fields = at.record("haproxy agent", doc)?;
        let listen = fields.required("listen", "the address that HAProxy asks (`agent-addr`, `agent-port`), host:port");
        let switch = fields.required("switch", "the switch that decides");
        let levels = fields.or("levels", "{}", "what a level means: a weight such as `50%`, drain, maint or down");
        fields.finish();
        Some(Agent { listen, switch, levels })
    }
}

/// `50%`, `drain`, `maint` or `down`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentState(pub AgentWord);

impl Decode for AgentState {
    fn decode(at: &mut At<'_>) -> Option<AgentState> {
        at.scalar("a weight or a state", |text| {
            let word = match text {
                "drain" => Some(AgentWord::Drain),
                "maint" => Some(AgentWord::Maintenance),
                "down" => Some(AgentWord::Down),
                _ => text
                    .strip_suffix('%')
                    .and_then(|number| number.parse().ok())
                    .filter(|percent| *percent <= 100)
                    .map(AgentWord::Weight),
            };
            word.map(AgentState)
                .ok_or_else(|| format!("`{text}` is neither a weight from 0% to 100% nor drain, maint or down"))
        })
    }
}

/// A number that is not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amount(pub f64);

impl Decode for Amount {
    fn decode(at: &mut At<'_>) -> Option<Amount> {
        at.scalar("a number", |text| match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(Amount(number)),
            _ => Err(format!("`{text}` is no number of zero or more")),
        })
    }
}

/// One of `serve.limits`.
#[derive(Clone, Debug)]
pub struct Limit {
    pub switch: Option<Spanned<String>>,
    pub levels: Entries<Amount>,
    pub unit: Unit,
    pub burst: Interval,
    pub lease: Interval,
    pub keys: Spanned<u32>,
}

impl Decode for Limit {
    fn decode(at: &mut At<'_>) -> Option<Limit> {
        let doc = "A limit that applications (`POST /v1/limits/NAME/acquire`) and Envoy (rate limit service) ask for. A switch of \
                   the kind `limit` has one by its own name without being listed here.";
        let mut fields = at.record("limit", doc)?;
        let switch = fields.required("switch", "the switch that says how much");
        let levels = fields.or("levels", "{}", "for a feature: the limit at each of its levels");
        let unit = fields.or("unit", "requests/s", "of `levels`: requests a second, or requests in flight");
        let burst = fields.or("burst", "1s", "how long a rate may have been saved up, to be used at once");
        let lease = fields.or("lease", "30s", "when a request in flight that nobody released counts as ended");
        let keys = fields.or("keys", "10000", "how many keys are told apart; further ones share one place");
        fields.finish();
        Some(Limit { switch, levels, unit, burst, lease, keys })
    }
}

/// `projections.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatWord {
    Files,
    Json,
    Env,
    NginxMap,
    Flagd,
    EnvoyRuntime,
    Sentinel(SentinelKind),
}

impl Decode for FormatWord {
    fn decode(at: &mut At<'_>) -> Option<FormatWord> {
        at.one_of(&[
            ("files", FormatWord::Files),
            ("json", FormatWord::Json),
            ("env", FormatWord::Env),
            ("nginx_map", FormatWord::NginxMap),
            ("flagd", FormatWord::Flagd),
            ("envoy_runtime", FormatWord::EnvoyRuntime),
            ("sentinel_flow", FormatWord::Sentinel(SentinelKind::Flow)),
            ("sentinel_degrade", FormatWord::Sentinel(SentinelKind::Degrade)),
            ("sentinel_system", FormatWord::Sentinel(SentinelKind::System)),
            ("sentinel_param", FormatWord::Sentinel(SentinelKind::Param)),
        ])
    }
}

/// Permissions in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl Decode for FileMode {
    fn decode(at: &mut At<'_>) -> Option<FileMode> {
        at.scalar("permissions in octal", |text| match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o777 && text.len() >= 3 => Ok(FileMode(mode)),
            _ => Err(format!("`{text}` are no permissions: write them in octal, for example \"0644\"")),
        })
    }
}

/// One of `projections`.
#[derive(Clone, Debug)]
pub struct Projection {
    pub path: Option<Spanned<String>>,
    pub key: Option<Spanned<String>>,
    pub format: Option<Spanned<FormatWord>>,
    pub mode: FileMode,
    pub owner: Option<String>,
    pub reload: Vec<String>,
    pub rules: Vec<SentinelRule>,
}

impl Decode for Projection {
    fn decode(at: &mut At<'_>) -> Option<Projection> {
        let doc =
            "Switches written out as a file, or as a folder of files: replaced whole, and only when something changed.";
        let mut fields = at.record("projection", doc)?;
        let path = fields.optional("path", "the file; for `files` and `envoy_runtime` the folder");
        let key = fields.optional(
            "key",
            "in place of `path`: the whole key in the fleet's etcd; the host that counts writes it, and puts it back",
        );
        let format: Option<Spanned<FormatWord>> = fields.required(
            "format",
            "files (one a switch), json, env, nginx_map, flagd, envoy_runtime (swapped by its link `current`), or one of \
             Sentinel's rule lists",
        );
        let mode = fields.or("mode", "\"0644\"", "the permissions of files");
        let owner = fields.optional("owner", "user, user:group or :group of files; if missing this daemon's own");
        let reload = fields.or("reload", "[]", "a command that is run after a change: its words, without a shell");
        let rules = fields.or("rules", "[]", "for Sentinel: the rules of the list");
        let sentinel = matches!(&format, Some(Spanned { value: FormatWord::Sentinel(_), .. }));
        if fields.has("rules") && !sentinel && format.is_some() {
            let help = Some("remove them, or write `format: sentinel_flow`".to_owned());
            fields.problem("rules", "only Sentinel's lists have rules", help);
        }
        if sentinel && !fields.has("rules") {
            let help = Some("add `rules: [{resource: ..., switch: ...}]`".to_owned());
            fields.problem("format", "a list of Sentinel needs its rules", help);
        }
        at_most_one(&mut fields, &["path", "key"]);
        if !fields.has("path") && !fields.has("key") {
            let help = Some("add `path: /run/brownout/switches.json`, or `key:` in a fleet".to_owned());
            fields.problem("format", "a projection needs a place to be written to", help);
        }
        for only_files in ["mode", "owner", "reload"] {
            if fields.has("key") && fields.has(only_files) {
                let help = Some(format!("remove `{only_files}`"));
                fields.problem(only_files, format!("a key has no `{only_files}`"), help);
            }
        }
        fields.finish();
        Some(Projection { path, key, format, mode, owner, reload, rules })
    }
}

/// One of `projections.rules`.
#[derive(Clone, Debug)]
pub struct SentinelRule {
    pub resource: Option<String>,
    pub switch: Option<Spanned<String>>,
    pub levels: Entries<Amount>,
    pub of: Option<Amount>,
    pub field: Option<Spanned<String>>,
    pub with: Entries<String>,
}

impl Decode for SentinelRule {
    fn decode(at: &mut At<'_>) -> Option<SentinelRule> {
        let doc = "A rule of Sentinel whose number comes from a switch.";
        let mut fields = at.record("sentinel rule", doc)?;
        let resource = fields.optional("resource", "the resource; a system rule has none");
        let switch = fields.required("switch", "the switch that the number comes from");
        let levels = fields.or(
            "levels",
            "{}",
            "for a feature: the number at each level; at a level that is missing there is no rule",
        );
        let of = fields.optional("of", "for a dimmer or rollout: the number of which its share is taken");
        let field = fields.optional("field", "where the number goes; if missing `count`, in a system rule `qps`");
        let with = fields.or("with", "{}", "further fields of Sentinel's rule, by their own names");
        fields.finish();
        Some(SentinelRule { resource, switch, levels, of, field, with })
    }
}

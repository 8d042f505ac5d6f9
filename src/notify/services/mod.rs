//! The services: a file for each protocol. Building a request is pure; [`deliver`] sends it.
//!
//! Every text passes through [`Ctx`]: a template is expanded for the service's markup, so that a label is never more than
//! text in it, and control characters and what turns the reading direction are taken out. What is too long for a service is
//! cut between characters and ends with `…`. A service that answers 200 with an error in the body has it judged here.

mod chat;
mod ctx;
mod dingtalk;
mod discord;
mod feishu;
mod incidentio;
mod jira;
mod mattermost;
mod ntfy;
mod opsgenie;
mod pagerduty;
mod pushover;
mod rocketchat;
mod slack;
mod sns;
mod teams;
mod telegram;
mod victorops;
mod webex;
mod wechat;
mod wecom;

pub(super) use ctx::{Ctx, hex};

use super::exchange::{Answer, Exchange, Request};
use super::outcome::Outcome;
use super::settings::{Service, ServiceSettings};

/// What a service keeps from one delivery to the next, besides its connection. Losing it costs a request.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// WeChat's access token.
    pub token: std::sync::Mutex<Option<wechat::Token>>,
    /// Slack's messages that are updated: by group.
    pub sent: std::sync::Mutex<std::collections::BTreeMap<String, slack::Sent>>,
}

/// A service that can deliver.
#[derive(Debug)]
pub(super) struct Line {
    pub exchange: Exchange,
    pub memory: Memory,
}

impl Line {
    pub fn new(settings: &ServiceSettings) -> Line {
        Line { exchange: Exchange::new(&settings.http, settings.timeout()), memory: Memory::default() }
    }
}

type Build = fn(&Ctx<'_>) -> Result<Request, Outcome>;
type Check = fn(&Answer) -> Result<(), Outcome>;

/// One try.
pub(super) async fn deliver(line: &Line, ctx: &Ctx<'_>) -> Result<(), Outcome> {
    let (build, check): (Build, Option<Check>) = match ctx.settings.service {
        Service::DingTalk => (dingtalk::build, Some(dingtalk::check)),
        Service::Discord => (discord::build, None),
        Service::Feishu => (feishu::build, Some(feishu::check)),
        Service::IncidentIo => (incidentio::build, None),
        Service::Mattermost => (mattermost::build, None),
        Service::MsTeams => (teams::build_card, Some(teams::check)),
        Service::MsTeamsV2 => (teams::build, Some(teams::check)),
        Service::Ntfy => (ntfy::build, None),
        Service::PagerDuty => (pagerduty::build, None),
        Service::Pushover => (pushover::build, Some(pushover::check)),
        Service::RocketChat => (rocketchat::build, Some(rocketchat::check)),
        Service::Sns => (sns::build, None),
        Service::Telegram => (telegram::build, Some(telegram::check)),
        Service::VictorOps => (victorops::build, Some(victorops::check)),
        Service::WebEx => (webex::build, None),
        Service::WeCom => (wecom::build, Some(wecom::check)),
        Service::Slack => return slack::deliver(line, ctx).await,
        Service::OpsGenie => return opsgenie::deliver(line, ctx).await,
        Service::Jira => return jira::deliver(line, ctx).await,
        Service::WeChat => return wechat::deliver(line, ctx).await,
    };
    let request = build(ctx)?;
    match check {
        None => line.exchange.post(request, ctx.now).await,
        Some(check) => check(&line.exchange.ask(request, ctx.now).await?),
    }
}

//! What people and other programs want of the alerts: alerts of theirs, silences.

use super::event::{Command, Reply};
use crate::alerts::{Alerts, FleetAlerts, SilenceError};
use crate::time::Timestamp;

/// Does what is wanted and says what came of it.
/// `counter` tells the alerts of the fleet, while this host counts.
pub(super) fn command(
    alerts: &mut Alerts,
    counter: Option<&mut FleetAlerts>,
    now: Timestamp,
    command: Command,
) -> Reply {
    match command {
        Command::PutAlerts(list) => {
            let refused = list.into_iter().filter_map(|alert| alerts.put(now, alert).err().map(|e| e.to_string()));
            let refused: Vec<String> = refused.collect();
            if refused.is_empty() { Reply::Done } else { Reply::Refused(refused.join("; ")) }
        }
        // Whoever silences on the host that counts means what the fleet tells.
        Command::SetSilence(silence) if counter.is_some() => made(alerts.set_silence(now, silence.for_fleet())),
        Command::SetSilence(silence) => made(alerts.set_silence(now, *silence)),
        Command::ExpireSilence(id) => match alerts.expire_silence(now, &id) {
            Ok(()) => Reply::Said("it is over".to_owned()),
            Err(error) => refused(&error),
        },
        Command::UseLink { token, by } => match alerts.use_link(now, &token, &by, counter) {
            Ok(said) => Reply::Said(said),
            Err(error) => Reply::Refused(error.to_string()),
        },
        Command::Pin(_)
        | Command::Unpin { .. }
        | Command::Freeze(_)
        | Command::Unfreeze { .. }
        | Command::Rollout { .. } => Reply::Refused("alerts know no switches".to_owned()),
    }
}

fn made(result: Result<String, SilenceError>) -> Reply {
    match result {
        Ok(id) => Reply::Made(id),
        Err(error) => refused(&error),
    }
}

fn refused(error: &SilenceError) -> Reply {
    match error {
        SilenceError::NotFound(_) => Reply::NotFound(error.to_string()),
        _ => Reply::Refused(error.to_string()),
    }
}

//! What people and other programs want of the alerts: alerts of theirs, silences.

use super::event::{Command, Reply};
use crate::alerts::{Alerts, SilenceError};
use crate::time::Timestamp;

/// Does what is wanted and says what came of it.
pub(super) fn command(alerts: &mut Alerts, now: Timestamp, command: Command) -> Reply {
    match command {
        Command::PutAlerts(list) => {
            let refused = list.into_iter().filter_map(|alert| alerts.put(now, alert).err().map(|e| e.to_string()));
            let refused: Vec<String> = refused.collect();
            if refused.is_empty() { Reply::Done } else { Reply::Refused(refused.join("; ")) }
        }
        Command::SetSilence(silence) => made(alerts.set_silence(now, *silence)),
        Command::ExpireSilence(id) => match alerts.expire_silence(now, &id) {
            Ok(()) => Reply::Said("it is over".to_owned()),
            Err(error) => refused(&error),
        },
        Command::UseLink { token, by } => match alerts.use_link(now, &token, &by) {
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

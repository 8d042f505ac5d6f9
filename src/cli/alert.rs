//! `brownout alert explain`: the way of an alert through routes, inhibitions, silences, time intervals and timers.

use super::client::{Daemon, ServerArgs};
use super::failure::Failure;
use super::out::Out;

/// Explain what happens to one alert
#[derive(Clone, Debug, clap::Args)]
pub struct AlertArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Say which routes take an alert, what holds it back, and who is told what and when
    Explain(ExplainArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct ExplainArgs {
    /// The alert's labels; the first may be a bare alert name. It need not fire
    #[arg(required = true, value_name = "LABEL=VALUE")]
    labels: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Labels as people type them.
fn labels(texts: &[String]) -> Result<Vec<(&str, String)>, Failure> {
    let pair = |(index, text): (usize, &'_ String)| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let position = texts[index].len() - value.len() - 1;
            Ok((&texts[index][..position], value.trim_matches('"').to_owned()))
        }
        None if index == 0 => Ok(("alertname", text.clone())),
        _ => Err(Failure::Usage(format!("{text:?} is no label: write name=value"))),
    };
    texts.iter().enumerate().map(pair).collect()
}

pub(super) async fn alert(args: &AlertArgs, out: &mut Out) -> Result<(), Failure> {
    let What::Explain(args) = &args.what;
    let labels = labels(&args.labels)?;
    let text = Daemon::of(&args.server)?.json(&["api", "v1", "alerts", "explain"], &labels).await?;
    out.paragraph(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_typed_as_pairs() {
        let texts = ["Down", "instance=a:1", "q=\"x=y\""].map(str::to_owned);
        let expected = [("alertname", "Down"), ("instance", "a:1"), ("q", "x=y")];
        let found = labels(&texts).expect("labels");
        assert_eq!(found.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(), expected);
        assert!(labels(&["a=b".to_owned(), "c".to_owned()]).is_err());
        assert!(labels(&["=b".to_owned()]).is_err());
    }
}

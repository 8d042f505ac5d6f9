use super::*;
use crate::yaml::Severity;

fn problems(text: &str) -> Vec<String> {
    let (value, problems) = decode_alertmanager(&SourceFile::new("t", text));
    let refused = problems.iter().any(|p| p.severity == Severity::Error);
    assert_eq!(value.is_none(), refused, "{problems:?}");
    problems.iter().map(Problem::one_line).collect()
}

/// Upstream's verdicts (`config/config_test.go`, `cli/`): what is not listed here loads.
const BAD: [&str; 19] = [
    "cli-conf.bad.yml",
    "conf.mattermost-both-webhook-url-and-file.yml",
    "conf.mattermost-no-webhook-url.yml",
    "conf.nil-match_re-route.yml",
    "conf.nil-source_match_re-inhibition.yml",
    "conf.opsgenie-both-file-and-apikey.yml",
    "conf.opsgenie-no-apikey.yml",
    "conf.rocketchat-both-tokenid-and-tokenidfile.yml",
    "conf.rocketchat-no-token.yml",
    "conf.slack-both-file-and-token.yml",
    "conf.slack-both-url-and-token.yml",
    "conf.slack-no-api-url-or-token.yml",
    "conf.slack-update-message-and-webhook.yml",
    "conf.telegram-both-bot-token-and-file.yml",
    "conf.telegram-no-bot-token.yml",
    "conf.victorops-both-file-and-apikey.yml",
    "conf.victorops-no-apikey.yml",
    "conf.wechat-both-file-and-secret.yml",
    "conf.wechat-no-api-secret.yml",
];

/// What upstream takes.
const GOOD: [&str; 15] = [
    "cli-conf.good.yml",
    "cli-conf.routing.yml",
    "conf.empty-fields.yml",
    "conf.good.yml",
    "conf.http-config.good.yml",
    "conf.mattermost-default-webhook-url.yml",
    "conf.opsgenie-default-apikey-file.yml",
    "conf.opsgenie-default-apikey.yml",
    "conf.rocketchat-default-token-file.yml",
    "conf.slack-default-api-url-file.yml",
    "conf.smtp-no-username-or-password.yml",
    "conf.smtp-password-global-and-local.yml",
    "conf.sns-topic-arn.yml",
    "conf.telegram-default-bot-token.yml",
    "conf.victorops-default-apikey-file.yml",
];

#[test]
fn upstreams_files_get_upstreams_verdicts() {
    let Some(folder) = std::env::var_os("BROWNOUT_CONFORMANCE") else {
        eprintln!("skipped: BROWNOUT_CONFORMANCE is not set");
        return;
    };
    let folder = std::path::Path::new(&folder).join("alertmanager");
    if !folder.is_dir() {
        eprintln!("skipped: there is no folder {}", folder.display());
        return;
    }
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        if !name.ends_with(".yml") {
            continue;
        }
        seen += 1;
        let found = problems(&std::fs::read_to_string(&path).expect("text"));
        println!("{name}: {}", found.first().map_or("good", |problem| problem.as_str()));
        if let Some(bad) = is_bad(&name) {
            assert_eq!(!found.is_empty(), bad, "{name}: {found:?}");
        }
    }
    assert!(seen > 0, "no files");
}

/// Upstream's verdict of a file: as known, else as its name says; `None` where neither does.
fn is_bad(name: &str) -> Option<bool> {
    let known = [(BAD.contains(&name), true), (GOOD.contains(&name), false)];
    let said = [(name.contains(".bad.") || name.contains("-both-"), true), (name.contains(".good."), false)];
    known.into_iter().chain(said).find(|(is, _)| *is).map(|(_, bad)| bad)
}

//! The dialogue of the `tcp` and `unix` probers: expect, expect bytes, send, start TLS.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::certs;
use super::check::ReadyStep;
use super::dial::{Stream, Tools};
use super::sheet::{Failed, Sheet};
use crate::limits;
use crate::net::TlsSettings;

/// What starting TLS in the middle of a dialogue needs.
pub(super) struct Upgrade<'a> {
    pub tools: &'a Tools,
    pub settings: &'a TlsSettings,
    pub name: &'a str,
}

/// Goes through the steps. One buffer serves lines and bytes, so that nothing read too early is lost.
pub(super) async fn talk(
    stream: Box<dyn Stream>,
    steps: &[ReadyStep],
    upgrade: Upgrade<'_>,
    sheet: &mut Sheet,
) -> Result<(), Failed> {
    sheet.set("probe_failed_due_to_regex", 0.0);
    sheet.set("probe_failed_due_to_bytes", 0.0);
    let mut stream = BufReader::new(stream);
    for ready in steps {
        let mut send = ready.step.send.clone();
        if let Some(expect) = &ready.expect {
            let line = expect_line(&mut stream, expect, sheet).await?;
            let Some(found) = expect.captures(&line) else { continue };
            if !send.is_empty() {
                let template = std::mem::take(&mut send);
                found.expand(&template, &mut send);
            }
            note_labels(&found, &ready.step.labels, sheet);
        }
        if !ready.step.expect_bytes.is_empty() {
            expect_bytes(&mut stream, &ready.step.expect_bytes, sheet).await?;
        }
        if !send.is_empty() {
            send.push(b'\n');
            let sent = stream.write_all(&send).await;
            sent.map_err(|error| sheet.fail(format!("send: {error}")))?;
        }
        if ready.step.starttls {
            if !stream.buffer().is_empty() {
                return Err(sheet.fail("the server sent more before TLS was started"));
            }
            let plain = stream.into_inner();
            let secure = upgrade.tools.start_tls(upgrade.settings, upgrade.name, plain, sheet).await?;
            certs::note(secure.get_ref().1, !upgrade.settings.insecure_skip_verify, false, sheet);
            stream = BufReader::new(Box::new(secure));
        }
    }
    Ok(())
}

/// Reads lines until one matches, and gives that line. The last line need not be ended.
async fn expect_line(
    stream: &mut BufReader<Box<dyn Stream>>,
    expect: &regex::bytes::Regex,
    sheet: &mut Sheet,
) -> Result<Vec<u8>, Failed> {
    let mut line = Vec::new();
    // Until a line matches, a probe that ends (also by its deadline) failed because of this expression.
    sheet.set("probe_failed_due_to_regex", 1.0);
    loop {
        line.clear();
        let read = stream.take(limits::PROBE_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line).await;
        match read {
            Err(error) => {
                sheet.set("probe_failed_due_to_regex", 0.0);
                return Err(sheet.fail(format!("read: {error}")));
            }
            Ok(0) => return Err(sheet.fail(format!("no line matches {expect}, and the connection ended"))),
            Ok(read) if read > limits::PROBE_LINE_BYTES => {
                return Err(sheet.fail(format!("a line is longer than {} bytes", limits::PROBE_LINE_BYTES)));
            }
            Ok(_) => {}
        }
        let ended = line.strip_suffix(b"\n").unwrap_or(&line);
        let ended = ended.strip_suffix(b"\r").unwrap_or(ended).len();
        line.truncate(ended);
        sheet.say(format!("read line {:?}", String::from_utf8_lossy(&line)));
        if expect.is_match(&line) {
            sheet.set("probe_failed_due_to_regex", 0.0);
            return Ok(line);
        }
    }
}

async fn expect_bytes(
    stream: &mut BufReader<Box<dyn Stream>>,
    expected: &[u8],
    sheet: &mut Sheet,
) -> Result<(), Failed> {
    let mut found = vec![0; expected.len()];
    let read = stream.read_exact(&mut found).await;
    read.map_err(|error| sheet.fail(format!("read {} bytes: {error}", expected.len())))?;
    if found != expected {
        sheet.set("probe_failed_due_to_bytes", 1.0);
        return Err(sheet.fail(format!("expected the bytes {expected:02x?}, found {found:02x?}")));
    }
    Ok(())
}

fn note_labels(found: &regex::bytes::Captures<'_>, labels: &[(String, String)], sheet: &mut Sheet) {
    if labels.is_empty() {
        return;
    }
    let expand = |template: &str| {
        let mut value = Vec::new();
        found.expand(template.as_bytes(), &mut value);
        String::from_utf8_lossy(&value).into_owned()
    };
    let filled: Vec<(&str, String)> = labels.iter().map(|(name, value)| (name.as_str(), expand(value))).collect();
    let filled: Vec<(&str, &str)> = filled.iter().map(|(name, value)| (*name, value.as_str())).collect();
    sheet.set_with("probe_expect_info", &filled, 1.0);
}

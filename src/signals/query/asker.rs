//! Asking: one request an expression, one after the other, each with its deadline and a bounded answer.

use super::answer::{Answer, read};
use super::{Rule, Settings};
use crate::limits;
use crate::net::{self, Client, NetError, read_capped};
use crate::telemetry::{Metric, Telemetry};
use crate::time::Timestamp;

/// Asks one API.
#[derive(Debug)]
pub struct Asker {
    settings: Settings,
    client: Client,
    telemetry: Telemetry,
}

impl Asker {
    /// Makes the client; certificates and passwords are read here, which blocks for some milliseconds.
    ///
    /// # Errors
    /// A file that cannot be read, or a setting that cannot be used.
    pub fn new(settings: Settings, telemetry: Telemetry) -> Result<Asker, NetError> {
        let client = net::client(&settings.http)?;
        Ok(Asker { settings, client, telemetry })
    }

    /// Asks every expression at a time. What fails is counted, told in the log, and missing in the answer.
    pub async fn ask(&self, at: Timestamp) -> Answer {
        let mut answer = Answer { at, samples: Vec::new() };
        for rule in &self.settings.rules {
            match self.ask_one(rule, at).await {
                Ok(samples) => answer.samples.extend(samples),
                Err(error) => {
                    let labels = [("api", self.settings.name.as_str()), ("record", rule.record.as_str())];
                    self.telemetry.count(Metric::QueryApiFailures, &labels);
                    tracing::warn!(api = self.settings.name, record = rule.record, error, "a query API gave no data");
                }
            }
        }
        answer
    }

    async fn ask_one(&self, rule: &Rule, at: Timestamp) -> Result<Vec<super::Given>, String> {
        let url = format!("{}/api/v1/query", self.settings.url);
        let time = at.as_secs_f64().to_string();
        let form = [("query", rule.expr.as_str()), ("time", time.as_str())];
        let sent = self.client.send(|client| client.post(url).form(&form)).await;
        let response = sent.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = read_capped(response, limits::QUERY_API_BYTES).await.map_err(|error| error.to_string())?;
        // The API says in its body why it refuses; whatever stands before it does not.
        let said = read(rule, &body);
        if status.is_success() || said.as_ref().is_err_and(|why| why.starts_with("the API says")) {
            return said;
        }
        Err(format!("it answers {status}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::model::{Labels, NAME};
    use crate::net::HttpSettings;

    const GOOD: &str =
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"job":"a"},"value":[9,"2"]}]}}"#;

    /// A strict server that takes one request after the other and answers each with the next of these; an empty answer is
    /// none at all. Gives its address, and what it was asked.
    async fn server(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serve = async move {
            let mut asked = Vec::new();
            let mut held = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = Vec::new();
                let body = loop {
                    let mut piece = [0; 4096];
                    let read = stream.read(&mut piece).await.expect("a request");
                    request.extend_from_slice(&piece[..read]);
                    let text = String::from_utf8(request.clone()).expect("text");
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    assert!(head.starts_with("POST /base/api/v1/query HTTP/1.1"), "{head}");
                    assert!(head.to_lowercase().contains("content-type: application/x-www-form-urlencoded"), "{head}");
                    let length = head.to_lowercase();
                    let length = length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                    if length.and_then(|length| length.parse().ok()) == Some(body.len()) {
                        break body.to_owned();
                    }
                };
                asked.push(body);
                if answer.is_empty() {
                    held.push(stream);
                    continue;
                }
                stream.write_all(answer.as_bytes()).await.expect("answered");
            }
            asked
        };
        (url, tokio::spawn(serve))
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    fn asker(url: &str, rules: usize) -> Asker {
        let rule = |number| Rule { record: format!("r{number}"), expr: "a + b".into(), labels: Vec::new() };
        let http = HttpSettings { timeout: Some(Duration::from_millis(300)), ..HttpSettings::default() };
        let settings = Settings {
            name: "central".into(),
            url: format!("{url}/base"),
            http,
            interval: Duration::from_secs(15),
            rules: (0..rules).map(rule).collect(),
        };
        Asker::new(settings, Telemetry::new()).expect("a client")
    }

    #[tokio::test]
    async fn what_fails_or_is_late_gives_no_data_and_is_counted() {
        let big = format!("{{\"status\":\"{}\"}}", "x".repeat(limits::QUERY_API_BYTES));
        let answers = vec![
            http("200 OK", GOOD),
            http("422 Unprocessable Entity", r#"{"status":"error","error":"too many samples"}"#),
            http("502 Bad Gateway", "<html>no</html>"),
            http("200 OK", &big),
            String::new(),
            http("200 OK", GOOD),
        ];
        let count = answers.len();
        let (url, served) = server(answers).await;
        let asker = asker(&url, count);
        let answer = asker.ask(Timestamp::from_millis(12_500)).await;
        let named = |name: &str| Labels::from_pairs([(NAME, name), ("job", "a")]);
        assert_eq!(answer.samples(), [(named("r0"), 2.0), (named("r5"), 2.0)]);
        let asked = served.await.expect("served");
        assert_eq!(asked.len(), count);
        assert!(asked.iter().all(|body| body == "query=a+%2B+b&time=12.5"), "{asked:?}");
        for number in 0..count {
            let record = format!("r{number}");
            let failures = asker.telemetry.get(Metric::QueryApiFailures, &[("api", "central"), ("record", &record)]);
            assert_eq!(failures, (1..5).contains(&number).then_some(1.0), "{record}");
        }
    }

    #[tokio::test]
    async fn an_api_that_is_away_gives_no_data() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        assert_eq!(asker(&url, 1).ask(Timestamp::ZERO).await.samples, []);
    }
}

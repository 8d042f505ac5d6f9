//! A real Prometheus: started on a free port with a folder of its own, filled by remote write, asked over its API.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use brownout::model::{CounterResetHint, FloatHistogram};
use brownout::net::{self, HttpSettings};
use brownout::remote::{Message, compress};
use serde_json::Value as Json;

use super::data::{INTERVAL, Series, Value};

pub struct Peer {
    process: Child,
    folder: PathBuf,
    base: String,
    http: reqwest::Client,
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Peer {
    /// Starts the program and waits until it is ready.
    pub async fn start(program: &str) -> Peer {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let folder = std::env::temp_dir().join(format!("brownout-differential-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("empty.yml"), "global: {evaluation_interval: 1m}\n").expect("written");
        let process = Command::new(program)
            .arg(format!("--config.file={}", folder.join("empty.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .args(["--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y", "--log.level=error"])
            .arg("--enable-feature=promql-experimental-functions,native-histograms,promql-duration-expr")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a prometheus that starts");
        let http = net::plain_client(&HttpSettings::default()).expect("a client");
        let peer = Peer { process, folder, base: format!("http://{free}"), http };
        for _ in 0..600 {
            if peer.http.get(format!("{}/-/ready", peer.base)).send().await.is_ok_and(|r| r.status().is_success()) {
                return peer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("prometheus is not ready after 30 s");
    }

    /// Writes all samples, one request an interval: within a request the peer takes a series' floats before its
    /// histograms, and refuses what is older.
    pub async fn fill(&self, series: &[Series]) {
        let from = series.iter().filter_map(|s| s.samples.first()).map(|(at, _)| at.as_millis()).min().unwrap_or(0);
        let to = series.iter().filter_map(|s| s.samples.last()).map(|(at, _)| at.as_millis()).max().unwrap_or(0);
        let slice = INTERVAL;
        let mut start = from;
        while start <= to {
            let request = request(series, start, start + slice);
            let body = compress(&request).expect("compressed");
            let answer = self
                .http
                .post(format!("{}/api/v1/write", self.base))
                .header("Content-Type", "application/x-protobuf")
                .header("Content-Encoding", "snappy")
                .header("X-Prometheus-Remote-Write-Version", "0.1.0")
                .body(body)
                .send()
                .await
                .expect("an answer");
            let status = answer.status();
            assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
            start += slice;
        }
    }

    /// The answer of an API call, whatever its code.
    pub async fn ask(&self, call: &str, form: &[(&str, String)]) -> Json {
        let answer = self.http.post(format!("{}/api/v1/{call}", self.base)).form(form).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }
}

fn request(series: &[Series], from: i64, to: i64) -> Message {
    let (mut request, mut part) = (Message::default(), Message::default());
    for one in series {
        let mut message = Message::default();
        for (name, value) in one.labels.iter() {
            part.clear();
            part.text(1, name);
            part.text(2, value);
            message.message(1, &part);
        }
        for (at, value) in one.samples.iter().filter(|(at, _)| (from..to).contains(&at.as_millis())) {
            match value {
                Value::Float(value) => {
                    part.clear();
                    part.double(1, *value);
                    part.int(2, at.as_millis());
                    message.message(2, &part);
                }
                Value::Histogram(value) => message.message(4, &histogram(value, at.as_millis())),
            }
        }
        request.message(1, &message);
    }
    request
}

/// `prompb/types.proto`, the message Histogram with float counts.
fn histogram(value: &FloatHistogram, at: i64) -> Message {
    let mut message = Message::default();
    message.double(2, value.count);
    message.double(3, value.sum);
    message.sint(4, i64::from(value.schema));
    message.double(5, value.zero_threshold);
    message.double(7, value.zero_count);
    let mut span = Message::default();
    for (field, spans) in [(8, &value.negative_spans), (11, &value.positive_spans)] {
        for one in spans {
            span.clear();
            span.sint(1, i64::from(one.offset));
            span.uint(2, u64::from(one.length));
            message.message(field, &span);
        }
    }
    message.doubles(10, &value.negative_buckets);
    message.doubles(13, &value.positive_buckets);
    message.uint(
        14,
        match value.hint {
            CounterResetHint::Unknown => 0,
            CounterResetHint::Reset => 1,
            CounterResetHint::NotReset => 2,
            CounterResetHint::Gauge => 3,
        },
    );
    message.int(15, at);
    message.doubles(16, &value.custom_values);
    message
}

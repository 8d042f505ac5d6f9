//! How many questions of one kind the daemon answers in a second, and how long each takes.
//!
//! Each of `--connections` sends one POST, waits for its answer, and sends the next. With `--rate` all of them together
//! send that many a second, and a latency counts from when its request was due; so a pause of the daemon is seen by every
//! request that it delays, and not by one a connection. Prints one JSON object.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brownout::time::Clock;
use serde_json::json;

use crate::arguments::Arguments;
use crate::http::Connection;

type Failed = Box<dyn std::error::Error + Send + Sync>;

struct Hammer {
    clock: Clock,
    to: String,
    request: Vec<u8>,
    begins: Duration,
    ends: Duration,
    /// The time between two requests of one connection; zero: as fast as it answers.
    pause: Duration,
}

struct Told {
    took: Vec<Duration>,
    other: u64,
}

impl Hammer {
    async fn connection(&self, offset: Duration) -> Result<Told, Failed> {
        let mut connection = Connection::open(&self.to).await?;
        let mut told = Told { took: Vec::new(), other: 0 };
        let mut due = self.begins + offset;
        loop {
            let mut now = self.clock.elapsed();
            while now < due {
                // A timer is too coarse; this program has a processor for itself.
                tokio::task::yield_now().await;
                now = self.clock.elapsed();
            }
            if self.pause.is_zero() {
                due = now;
            }
            if now >= self.ends {
                return Ok(told);
            }
            connection.send(&self.request).await?;
            let answer = connection.message().await?.ok_or("the daemon closed the connection")?;
            if answer.status() == 200 {
                told.took.push(self.clock.elapsed() - due);
            } else {
                told.other += 1;
            }
            due += self.pause;
        }
    }
}

/// Asks for `--seconds`, and prints what came of it.
pub async fn run(arguments: &Arguments) -> Result<(), Failed> {
    let to = arguments.text("to").ok_or("--to HOST:PORT")?.to_owned();
    let path = arguments.text("path").ok_or("--path /...")?;
    let body = arguments.text("body").unwrap_or("{}");
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\n");
    let connections = arguments.number("connections", 16.0)? as u32;
    let (seconds, rate) = (arguments.number("seconds", 10.0)?, arguments.number("rate", 0.0)?);
    let clock = Clock::start();
    let begins = clock.elapsed();
    let pause = if rate > 0.0 { Duration::from_secs_f64(f64::from(connections) / rate) } else { Duration::ZERO };
    let hammer = Arc::new(Hammer {
        to,
        request: format!("{head}content-length: {length}\r\n\r\n{body}").into_bytes(),
        begins,
        ends: begins + Duration::from_secs_f64(seconds),
        pause,
        clock,
    });
    let all = Arc::new(Mutex::new(Told { took: Vec::new(), other: 0 }));
    let mut open = tokio::task::JoinSet::new();
    for number in 0..connections {
        let (hammer, all) = (Arc::clone(&hammer), Arc::clone(&all));
        open.spawn(async move {
            let told = hammer.connection(hammer.pause * number / connections).await?;
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.took.extend(told.took);
            all.other += told.other;
            Ok::<(), Failed>(())
        });
    }
    while let Some(ended) = open.join_next().await {
        ended??;
    }
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.took.sort_unstable();
    let count = all.took.len();
    let millis = |share: f64| {
        let place = ((count as f64 * share).ceil() as usize).clamp(1, count.max(1)) - 1;
        all.took.get(place).map(|took| took.as_secs_f64() * 1000.0)
    };
    let told = json!({
        "answers": count, "others": all.other, "per_second": count as f64 / seconds,
        "p50_ms": millis(0.5), "p99_ms": millis(0.99), "p999_ms": millis(0.999), "max_ms": millis(1.0),
    });
    println!("{told}");
    Ok(())
}

//! Reads an answer's body for the `http` prober: counted whole, kept in part, decompressed where the module says so.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{Compression, Failed, ReadyHttp, Sheet, limits, net};

/// Takes the decompressed body: counts it, keeps its beginning, and refuses to go on past a limit.
struct Sink {
    kept: Vec<u8>,
    counted: u64,
    keep: bool,
    limit: Option<u64>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.counted += bytes.len() as u64;
        if let Some(limit) = self.limit.filter(|limit| self.counted > *limit) {
            self.counted = limit;
            return Err(io::Error::other(format!("the body is larger than {limit} bytes")));
        }
        if self.keep {
            let room = limits::PROBE_BODY_BYTES.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Reader {
    Plain(Sink),
    Gzip(MultiGzDecoder<Sink>),
    Deflate(DeflateDecoder<Sink>),
}

impl Reader {
    fn new(compression: Option<Compression>, sink: Sink) -> Reader {
        match compression {
            Some(Compression::Gzip) => Reader::Gzip(MultiGzDecoder::new(sink)),
            Some(Compression::Deflate) => Reader::Deflate(DeflateDecoder::new(sink)),
            Some(Compression::Identity) | None => Reader::Plain(sink),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Reader::Plain(sink) => sink.write_all(bytes),
            Reader::Gzip(decoder) => decoder.write_all(bytes),
            Reader::Deflate(decoder) => decoder.write_all(bytes),
        }
    }

    /// Ends the stream; one that breaks off in the middle is an error.
    fn end(&mut self) -> io::Result<()> {
        match self {
            Reader::Plain(_) => Ok(()),
            Reader::Gzip(decoder) => decoder.try_finish(),
            Reader::Deflate(decoder) => decoder.try_finish(),
        }
    }

    fn sink(&self) -> &Sink {
        match self {
            Reader::Plain(sink) => sink,
            Reader::Gzip(decoder) => decoder.get_ref(),
            Reader::Deflate(decoder) => decoder.get_ref(),
        }
    }
}

/// Reads the body to its end and, when `check` is true, holds it against the module's expressions. A compressed body has
/// a limit in any case, so that a small answer cannot cost a lot of time.
pub(super) async fn read(mut body: Incoming, http: &ReadyHttp, check: bool, sheet: &mut Sheet) -> Result<(), Failed> {
    let settings = &http.settings;
    let compressed = matches!(settings.compression, Some(Compression::Gzip | Compression::Deflate));
    let keep = check && !(http.body_bad.is_empty() && http.body_good.is_empty());
    let bound = compressed.then_some(limits::PROBE_BODY_BYTES as u64);
    let sink = Sink { kept: Vec::new(), counted: 0, keep, limit: settings.body_size_limit.or(bound) };
    let mut reader = Reader::new(settings.compression, sink);
    let mut outcome = Ok(());
    while let Some(frame) = body.frame().await {
        outcome = match frame {
            Ok(frame) => frame.data_ref().map_or(Ok(()), |data| reader.push(data)).map_err(|error| error.to_string()),
            Err(error) => Err(net::describe(&error)),
        };
        if outcome.is_err() {
            break;
        }
    }
    let outcome = outcome.and_then(|()| reader.end().map_err(|error| error.to_string()));
    sheet.set("probe_http_uncompressed_body_length", reader.sink().counted as f64);
    outcome.map_err(|problem| sheet.fail(format!("read the body: {problem}")))?;
    if keep { matches(&reader.sink().kept, http, sheet) } else { Ok(()) }
}

fn matches(body: &[u8], http: &ReadyHttp, sheet: &mut Sheet) -> Result<(), Failed> {
    if let Some(bad) = http.body_bad.iter().find(|regex| regex.is_match(body)) {
        sheet.set("probe_failed_due_to_regex", 1.0);
        return Err(sheet.fail(format!("the body matches {bad}")));
    }
    if let Some(good) = http.body_good.iter().find(|regex| !regex.is_match(body)) {
        sheet.set("probe_failed_due_to_regex", 1.0);
        return Err(sheet.fail(format!("the body does not match {good}")));
    }
    Ok(())
}

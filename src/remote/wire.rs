//! Samples and metadata as the body of a remote write request.
//!
//! Follows <https://prometheus.io/docs/specs/prw/remote_write_spec/> (version 1.0) and `prompb/remote.proto`: labels are
//! sorted by name, no two series of a request have the same labels, and the samples of a series are in order of time.
//! A staleness marker goes out as the very NaN that it is.

use std::collections::HashMap;

use super::proto::Message;
use crate::model::{Labels, LabelsMap, MetricKind, MetricMeta};
use crate::time::Timestamp;

/// One sample of one series.
pub type Sample = (Labels, Timestamp, f64);

/// The samples as a `WriteRequest`.
pub(super) fn samples(samples: &[Sample]) -> Message {
    let mut order: Vec<&Labels> = Vec::new();
    let mut series: LabelsMap<Vec<(Timestamp, f64)>> = HashMap::default();
    for (labels, at, value) in samples {
        let points = series.entry(labels.clone()).or_insert_with(|| {
            order.push(labels);
            Vec::new()
        });
        points.push((*at, *value));
    }
    let (mut request, mut one, mut part) = (Message::default(), Message::default(), Message::default());
    for labels in order {
        one.clear();
        for (name, value) in labels.iter() {
            part.clear();
            part.text(1, name);
            part.text(2, value);
            one.message(1, &part);
        }
        let points = series.get_mut(labels).map(std::mem::take).unwrap_or_default();
        for (at, value) in points {
            part.clear();
            part.double(1, value);
            part.int(2, at.as_millis());
            one.message(2, &part);
        }
        request.message(1, &one);
    }
    request
}

/// Types and help texts as a `WriteRequest`.
pub(super) fn metadata(families: &[&MetricMeta]) -> Message {
    let (mut request, mut one) = (Message::default(), Message::default());
    for meta in families {
        one.clear();
        one.uint(1, kind(meta.kind));
        one.text(2, &meta.family);
        one.text(4, &meta.help);
        one.text(5, &meta.unit);
        request.message(3, &one);
    }
    request
}

fn kind(kind: MetricKind) -> u64 {
    match kind {
        MetricKind::Unknown => 0,
        MetricKind::Counter => 1,
        MetricKind::Gauge => 2,
        MetricKind::Histogram => 3,
        MetricKind::GaugeHistogram => 4,
        MetricKind::Summary => 5,
        MetricKind::Info => 6,
        MetricKind::StateSet => 7,
    }
}

/// Compresses a body in Snappy's block format.
///
/// # Errors
/// When the body is larger than the format allows, 4 GiB.
pub fn compress(message: &Message) -> Result<Vec<u8>, snap::Error> {
    snap::raw::Encoder::new().compress_vec(message.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stale_nan;

    #[test]
    fn samples_of_a_series_stand_together_with_its_sorted_labels() {
        let up = Labels::from_pairs([("job", "a"), ("__name__", "up")]);
        let down = Labels::from_pairs([("__name__", "d")]);
        let at = Timestamp::from_millis;
        let request = samples(&[(up.clone(), at(1), 1.0), (down, at(1), stale_nan()), (up, at(2), 0.0)]);
        let label = |name: &str, value: &str| {
            let inner = [&[0x0a, name.len() as u8], name.as_bytes(), &[0x12, value.len() as u8], value.as_bytes()];
            let inner = inner.concat();
            [&[0x0a, inner.len() as u8][..], &inner].concat()
        };
        let one = [
            label("__name__", "up"),
            label("job", "a"),
            vec![0x12, 11, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 1],
            vec![0x12, 2, 0x10, 2],
        ]
        .concat();
        let marker = [&[0x12, 11, 0x09][..], &0x7ff0_0000_0000_0002_u64.to_le_bytes(), &[0x10, 1]].concat();
        let two = [label("__name__", "d"), marker].concat();
        let expected = [&[0x0a, one.len() as u8][..], &one, &[0x0a, two.len() as u8], &two].concat();
        assert_eq!(request.as_bytes(), expected);
        let packed = compress(&request).expect("compressed");
        assert_eq!(snap::raw::Decoder::new().decompress_vec(&packed).expect("whole"), expected);
    }

    #[test]
    fn metadata_says_type_name_help_and_unit() {
        let meta =
            MetricMeta { family: "a_total".into(), kind: MetricKind::Counter, help: "H.".into(), unit: "".into() };
        assert_eq!(metadata(&[&meta]).as_bytes(), b"\x1a\x0f\x08\x01\x12\x07a_total\x22\x02H.");
    }
}

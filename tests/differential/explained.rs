//! Differences that are known and right, or a matter of the other side's chance: each with its reason.
//!
//! We follow a newer version than the peer's; where the two differ, the conformance tests of the newer one decide.

use super::answer::{Answer, Said};
use super::expressions::Question;

/// Why two answers may differ, if that is known.
pub fn explained(question: &Question, ours: &Said, theirs: &Said) -> Option<&'static str> {
    let text = question.expr.as_str();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let error = |said: &Said, words: &str| matches!(&said.answer, Answer::Error(message) if message.contains(words));
    if has(&["topk", "bottomk"]) {
        return Some("ties: Prometheus takes elements in the order of a hash map behind functions, we by their labels");
    }
    if has(&["rate(", "increase("]) && has(&["nh", "mixed"]) {
        return Some("newer version: rates of native histograms are not extrapolated below zero");
    }
    if has(&["idelta(", "delta(", "irate("])
        && has(&["-("])
        && ours.infos.len() + ours.warnings.len() != theirs.infos.len() + theirs.warnings.len()
    {
        return Some("newer version: a negated native histogram is a gauge");
    }
    if error(ours, "many-to-one matching must be explicit") {
        return Some("newer version: many-to-one matches are found before a comparison filters them out");
    }
    if question.range.is_some() && error(theirs, "same labelset") && text.contains("-(") && text.contains(" or ") {
        return Some("Prometheus refuses a negation when two series take turns under the same labels; we join them");
    }
    if has(&["timestamp("]) && has(&["offset"]) && has(&[" @ "]) {
        return Some("newer version: timestamp() of a selector with both offset and @");
    }
    if has(&["stddev", "stdvar"]) && has(&["time()", "timestamp(", "ts_of_", "1e300", "exp(", "wild"]) {
        return Some("cancellation: a small deviation of huge numbers keeps few digits, in another order other ones");
    }
    if has(&["%"]) && has(&["time()", "timestamp(", "sin(", "cos(", "tan(", "exp("]) {
        return Some("cancellation: the remainder of a huge number by one whose last digit differs");
    }
    if has(&["histogram_fraction"]) && has(&["Inf"]) {
        return Some("newer version: histogram_fraction of classic buckets up to +Inf");
    }
    None
}

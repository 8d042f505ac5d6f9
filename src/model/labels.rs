//! Label sets: the name of a series.
//!
//! A [`Labels`] is an immutable, sorted set of name/value pairs, packed into one allocation and shared by
//! reference count. It is one pointer wide, as there are several for each of a hundred thousand series; the price is that
//! its hash is computed whenever it is asked for, so who looks one up again and again keeps its place instead. Cloning and
//! comparing for equality are cheap enough for the hot path; building one is not, so collectors build theirs once and keep
//! them.
//!
//! A label with an empty value is the same as no label (as in Prometheus), so none is ever stored.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use arcstr::ArcStr;

/// The label that holds the metric name.
pub const NAME: &str = "__name__";

/// An immutable set of labels, sorted by name in byte order, without duplicates and without empty values.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels {
    /// Name, value, name, value ...; each text is preceded by its length in base 64, one ASCII character a digit; for a
    /// name that many series have there is one character that is not ASCII.
    packed: ArcStr,
}

impl Labels {
    /// The empty set.
    pub fn empty() -> Labels {
        Labels::from_sorted(&[])
    }

    /// Builds a set from pairs in any order. Of several pairs with one name the last wins; empty values are left out.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// The series name alone: `__name__="name"`.
    pub fn named(name: &str) -> Labels {
        Labels::from_pairs([(NAME, name)])
    }

    fn from_sorted(pairs: &[(String, String)]) -> Labels {
        let size = pairs.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
        let mut packed = String::with_capacity(size);
        for (name, value) in pairs {
            match COMMON.iter().zip(SYMBOLS..).find(|(common, _)| **common == name.as_str()) {
                Some((_, symbol)) => packed.push(symbol),
                None => push_text(&mut packed, name),
            }
            push_text(&mut packed, value);
        }
        Labels { packed: packed.into() }
    }

    /// The pairs, sorted by name.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.packed }
    }

    /// The value of a label, or `None` when the set does not have it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The value of a label, or the empty text: Prometheus' reading of a missing label.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// The metric name, or the empty text.
    pub fn name(&self) -> &str {
        self.value(NAME)
    }

    /// How many labels there are, the metric name included.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// True for the set without any label.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// A builder that starts from this set.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// This set with one label set (or removed, when `value` is empty).
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let mut builder = self.to_builder();
        builder.set(name, value);
        builder.build()
    }

    /// This set without the labels for which `drop` says true.
    pub fn filtered(&self, mut keep: impl FnMut(&str) -> bool) -> Labels {
        let pairs: Vec<_> = self.iter().filter(|(n, _)| keep(n)).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        Labels::from_sorted(&pairs)
    }

    /// This set without its metric name.
    pub fn without_name(&self) -> Labels {
        if self.get(NAME).is_none() { self.clone() } else { self.filtered(|n| n != NAME) }
    }

    /// A 64-bit hash of the whole set, the same in every process.
    pub fn hash64(&self) -> u64 {
        hash_bytes(self.packed.as_bytes())
    }

    /// Prometheus' and Alertmanager's fingerprint: FNV-1a over `name 0xff value 0xff`, as in common/model.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for (name, value) in self.iter() {
            add(name.as_bytes());
            add(&[0xff]);
            add(value.as_bytes());
            add(&[0xff]);
        }
        Fingerprint(hash)
    }
}

/// The 64-bit name of a label set that Alertmanager's API shows as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Builds a [`Labels`] in any order.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    /// Sorted by name, unique.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// A builder of the empty set.
    pub fn new() -> LabelsBuilder {
        LabelsBuilder::default()
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut LabelsBuilder {
        match self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(at) if value.is_empty() => drop(self.pairs.remove(at)),
            Ok(at) => value.clone_into(&mut self.pairs[at].1),
            Err(_) if value.is_empty() => {}
            Err(at) => self.pairs.insert(at, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) -> &mut LabelsBuilder {
        self.set(name, "")
    }

    /// The value set so far, or the empty text.
    pub fn value(&self, name: &str) -> &str {
        match self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(at) => &self.pairs[at].1,
            Err(_) => "",
        }
    }

    /// The pairs set so far, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// The finished set.
    pub fn build(&self) -> Labels {
        Labels::from_sorted(&self.pairs)
    }
}

/// Iterates over the pairs of a [`Labels`].
#[derive(Clone)]
pub struct Iter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (name, rest) = take_name(self.rest);
        let (value, rest) = take_text(rest);
        self.rest = rest;
        Some((name, value))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Names that many series have.
const COMMON: [&str; 12] =
    [NAME, "alertname", "alertstate", "code", "cpu", "device", "instance", "job", "le", "mode", "quantile", "severity"];
/// What stands for the first of them; the others follow. Two bytes each.
const SYMBOLS: char = '\u{c0}';

fn take_name(packed: &str) -> (&str, &str) {
    match packed.as_bytes() {
        // Of two bytes, the first is the same for all of them.
        [0xc3, low, ..] => (COMMON[usize::from(low & 0x3f)], &packed[2..]),
        _ => take_text(packed),
    }
}

/// A digit carries six bits; all but the last have bit 6 set, so every digit is ASCII.
fn push_text(packed: &mut String, text: &str) {
    let mut left = text.len();
    while left >= 0x40 {
        packed.push(char::from(0x40 | (left & 0x3f) as u8));
        left >>= 6;
    }
    packed.push(char::from(left as u8));
    packed.push_str(text);
}

fn take_text(packed: &str) -> (&str, &str) {
    let bytes = packed.as_bytes();
    let (mut length, mut shift, mut at) = (0_usize, 0, 0);
    loop {
        let digit = bytes[at];
        length |= usize::from(digit & 0x3f) << shift;
        at += 1;
        if digit & 0x40 == 0 {
            break;
        }
        shift += 6;
    }
    (&packed[at..at + length], &packed[at + length..])
}

/// Eight bytes a step, multiply and fold: fast on short keys, and stable across processes.
fn hash_bytes(bytes: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = K ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        hash = mix(hash ^ word, K);
    }
    let mut tail = [0; 8];
    tail[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    mix(hash ^ u64::from_le_bytes(tail), 0xd6e8_feb8_6659_fd93)
}

fn mix(a: u64, b: u64) -> u64 {
    let wide = u128::from(a ^ 0x2545_f491_4f6c_dd1d) * u128::from(b);
    (wide as u64) ^ ((wide >> 64) as u64)
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash64());
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Labels) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Prometheus' order: pair by pair, name before value; a set that is the beginning of another comes first.
impl Ord for Labels {
    fn cmp(&self, other: &Labels) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl Default for Labels {
    fn default() -> Labels {
        Labels::empty()
    }
}

/// `name{a="b"}` as PromQL writes it; names that are no classic identifier are quoted.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        let bare = is_metric_name(name);
        if bare {
            f.write_str(name)?;
        }
        let mut first = true;
        let mut open = |f: &mut fmt::Formatter<'_>| f.write_str(if std::mem::take(&mut first) { "{" } else { ", " });
        if !bare && !name.is_empty() {
            open(f)?;
            write!(f, "{}", Quoted(name))?;
        }
        for (name, value) in self.iter().filter(|(n, _)| *n != NAME) {
            open(f)?;
            if is_label_name(name) {
                write!(f, "{name}={}", Quoted(value))?;
            } else {
                write!(f, "{}={}", Quoted(name), Quoted(value))?;
            }
        }
        if first && bare { Ok(()) } else { f.write_str(if first { "{}" } else { "}" }) }
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a text as a double-quoted PromQL string.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                '\r' => f.write_str("\\r")?,
                c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// True for a classic metric name: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_metric_name(name: &str) -> bool {
    is_identifier(name, true)
}

/// True for a classic label name: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_label_name(name: &str) -> bool {
    is_identifier(name, false)
}

fn is_identifier(name: &str, colon: bool) -> bool {
    let head = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (colon && b == b':');
    let mut bytes = name.bytes();
    bytes.next().is_some_and(head) && bytes.all(|b| head(b) || b.is_ascii_digit())
}

/// A map keyed by label sets; their hash is good as it is.
pub type LabelsMap<V> = std::collections::HashMap<Labels, V, std::hash::BuildHasherDefault<PassThrough>>;

/// A hasher for keys that carry a good 64-bit hash of their own.
#[derive(Default)]
pub struct PassThrough(u64);

impl Hasher for PassThrough {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.rotate_left(5) ^ hash_bytes(bytes);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_sorted_whatever_their_length() {
        let long = "x".repeat(5000);
        let set = Labels::from_pairs([("z", "é"), ("a", long.as_str()), ("empty", ""), ("z", "last wins")]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [("a", long.as_str()), ("z", "last wins")]);
        assert_eq!(set.value("empty"), "");
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn common_names_come_back() {
        let pairs = || COMMON.iter().map(|name| (*name, "v")).chain([("à", "é"), ("other", "")]);
        let set = Labels::from_pairs(pairs());
        let expected: Vec<(&str, &str)> = COMMON.iter().map(|name| (*name, "v")).chain([("à", "é")]).collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), expected);
        assert!(COMMON.is_sorted());
        assert_eq!(set.value("job"), "v");
    }

    #[test]
    fn equality_and_order_follow_the_pairs() {
        let a = Labels::from_pairs([("a", "1")]);
        let ab = Labels::from_pairs([("a", "1"), ("b", "1")]);
        let b = Labels::from_pairs([("b", "0")]);
        assert!(a < ab && ab < b);
        assert_eq!(ab.filtered(|n| n == "a"), a);
        assert_ne!(a.hash64(), ab.hash64());
    }

    #[test]
    fn a_set_is_one_pointer_wide() {
        // Each series has one, each window over it, each slot of a scrape and each sample of a batch.
        assert_eq!((size_of::<Labels>(), size_of::<Option<Labels>>()), (8, 8));
    }

    #[test]
    fn the_hash_stays_what_it_was_as_it_names_what_is_kept_on_disk() {
        assert_eq!(Labels::empty().hash64(), 0xe065_c952_cd1b_949c);
        assert_eq!(Labels::from_pairs([(NAME, "up"), ("job", "a"), ("zone", "b")]).hash64(), 0xed31_828e_43b7_93a7);
    }

    #[test]
    fn text_form_is_promql() {
        let check = |pairs: &[(&str, &str)], text: &str| {
            assert_eq!(Labels::from_pairs(pairs.iter().copied()).to_string(), text);
        };
        check(&[], "{}");
        check(&[(NAME, "up")], "up");
        check(&[(NAME, "up"), ("job", "a\"b\n")], "up{job=\"a\\\"b\\n\"}");
        check(&[(NAME, "my.metric"), ("a b", "c")], "{\"my.metric\", \"a b\"=\"c\"}");
    }

    #[test]
    fn the_fingerprint_is_that_of_alertmanager() {
        // common/model: LabelSet{}.Fingerprint() is the FNV-1a offset basis.
        assert_eq!(Labels::empty().fingerprint().to_string(), "cbf29ce484222325");
        assert_ne!(Labels::named("a").fingerprint(), Labels::named("b").fingerprint());
    }
}

//! `limit_ratio`: a share of the series by the hash of their labels, the same series as Prometheus picks.

use crate::model::Labels;

/// Where a label set lies between 0 and 1: its xxhash64 over Prometheus' packed form of labels.
pub(super) fn sampling_offset(labels: &Labels) -> f64 {
    let mut packed = Vec::new();
    for (name, value) in labels {
        for text in [name, value] {
            push_length(&mut packed, text.len());
            packed.extend_from_slice(text.as_bytes());
        }
    }
    xxhash64(&packed) as f64 / u64::MAX as f64
}

/// Lengths below 255 take one byte, others 255 and three more.
fn push_length(packed: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < u8::MAX => packed.push(short),
        _ => {
            packed.push(u8::MAX);
            packed.extend_from_slice(&length.to_le_bytes()[..3]);
        }
    }
}

const P1: u64 = 11_400_714_785_074_694_791;
const P2: u64 = 14_029_467_366_897_019_727;
const P3: u64 = 1_609_587_929_392_839_161;
const P4: u64 = 9_650_029_242_287_828_579;
const P5: u64 = 2_870_177_450_012_600_261;

fn round(state: u64, input: u64) -> u64 {
    state.wrapping_add(input.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// xxHash64 with seed 0 (<https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>).
fn xxhash64(bytes: &[u8]) -> u64 {
    let mut stripes = bytes.chunks_exact(32);
    let mut hash = if bytes.len() >= 32 {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0_u64.wrapping_sub(P1)];
        for stripe in &mut stripes {
            for (lane, bytes) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, word(bytes));
            }
        }
        let turned = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, turn)| lane.rotate_left(turn));
        let mixed = turned.fold(0_u64, u64::wrapping_add);
        lanes.iter().fold(mixed, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(P1).wrapping_add(P4))
    } else {
        P5
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    let mut words = stripes.remainder().chunks_exact(8);
    for bytes in &mut words {
        hash = (hash ^ round(0, word(bytes))).rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
    }
    let mut rest = words.remainder();
    if let Some((half, tail)) = rest.split_at_checked(4) {
        hash = (hash ^ word(half).wrapping_mul(P1)).rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
        rest = tail;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_xxhash64() {
        let check = |text: &str, expected: u64| assert_eq!(xxhash64(text.as_bytes()), expected, "{text}");
        check("", 0xef46_db37_51d8_e999);
        check("a", 0xd24e_c4f1_a98c_6e5b);
        check("abc", 0x44bc_2cf5_ad77_0999);
        check("Nobody inspects the spammish repetition", 0xfbce_a83c_8a37_8bf1);
    }
}

//! Parts of a limit that counts requests in flight: whole numbers that make the whole total.
//!
//! > a host's part = its share of the total, rounded down; what is then left goes, one each, to the hosts that lost most
//! > by that, and of those that lost the same to the first by name
//!
//! (the method of the largest remainder), so every host works out the same parts from the same shares.

use std::collections::BTreeMap;

/// Remainders that differ by less are the same: nobody's part hangs on the last digit of a sum.
const SAME: f64 = 1e-6;

/// Each host's share of the total, such that its part is whole. A total that is none or not a number changes nothing.
pub(super) fn whole(total: f64, shares: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    if !(total.is_finite() && total >= 1.0) {
        return shares.clone();
    }
    let mut hosts: Vec<(&String, f64, i64)> = Vec::with_capacity(shares.len());
    for (name, share) in shares {
        // What is a whole number but for the last digit counts as one.
        let part = total * share.max(0.0);
        let down = (part + SAME).floor();
        hosts.push((name, down, ((part - down).max(0.0) / SAME).round() as i64));
    }
    hosts.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(b.0)));
    let mut left = (total + SAME).floor() - hosts.iter().map(|(_, down, _)| down).sum::<f64>();
    let mut parts = BTreeMap::new();
    for (name, down, _) in hosts {
        let more = left.clamp(0.0, 1.0);
        left -= more;
        parts.insert(name.clone(), (down + more) / total);
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(shares: &[f64]) -> BTreeMap<String, f64> {
        shares.iter().enumerate().map(|(index, share)| (format!("h{index:03}"), *share)).collect()
    }

    fn parts(total: f64, shares: &[f64]) -> Vec<f64> {
        whole(total, &named(shares)).values().map(|share| (share * total * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn what_rounding_leaves_goes_to_those_who_lost_most() {
        for (total, shares, expected) in [
            (10.0, &[0.25; 4][..], &[3.0, 3.0, 2.0, 2.0][..]),
            (10.0, &[0.9, 0.1], &[9.0, 1.0]),
            (10.0, &[0.475, 0.025, 0.025, 0.475], &[5.0, 0.0, 0.0, 5.0]),
            (7.0, &[1.0 / 3.0; 3], &[3.0, 2.0, 2.0]),
            (3.0, &[0.1; 10], &[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            (10.9, &[0.5, 0.5], &[5.0, 5.0]),
            (1000.0, &[0.3334, 0.3333, 0.3333], &[334.0, 333.0, 333.0]),
            (0.0, &[0.5, 0.5], &[0.0, 0.0]),
            (f64::INFINITY, &[], &[]),
        ] {
            assert_eq!(parts(total, shares), expected, "{total} over {shares:?}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_are_whole_and_make_the_total(
            total in 1_u32..100_000, weights in prop::collection::vec(0.0..1e3_f64, 1..120)
        ) {
            let sum: f64 = weights.iter().sum::<f64>().max(1e-9);
            let shares: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
            prop_assume!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let total = f64::from(total);
            let parts = parts(total, &shares);
            prop_assert_eq!(parts.iter().sum::<f64>(), total);
            for (part, share) in parts.iter().zip(&shares) {
                prop_assert_eq!(part.fract(), 0.0);
                prop_assert!((part - total * share).abs() < 1.0 + 1e-3, "{} for {}", part, total * share);
            }
        }
    }
}

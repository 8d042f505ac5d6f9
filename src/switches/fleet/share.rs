//! A limit for the whole fleet, shared out over its hosts by demand.

/// The shares of a limit for the whole fleet: everybody gets what it asks for while that fits; when it does not, nobody
/// gets more than an equal part of what those leave that ask for less. What is not asked for is spread evenly, so that a
/// host whose demand grows has room until the next look.
///
/// `demands` are in the unit of the limit; the shares, in the same order, add up to `total`.
pub fn share_out(total: f64, demands: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..demands.len()).collect();
    order.sort_by(|a, b| demands[*a].total_cmp(&demands[*b]));
    let mut shares = vec![0.0; demands.len()];
    let mut left = total.max(0.0);
    for (done, index) in order.iter().enumerate() {
        let equal = left / (demands.len() - done) as f64;
        shares[*index] = demands[*index].max(0.0).min(equal);
        left -= shares[*index];
    }
    let spare = left / demands.len().max(1) as f64;
    shares.iter_mut().for_each(|share| *share += spare);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_what_it_asks_for_while_that_fits_and_an_equal_part_of_the_rest() {
        for (total, demands, expected) in [
            (90.0, vec![10.0, 20.0, 30.0], vec![20.0, 30.0, 40.0]),
            (60.0, vec![10.0, 20.0, 30.0], vec![10.0, 20.0, 30.0]),
            (40.0, vec![10.0, 20.0, 30.0], vec![10.0, 15.0, 15.0]),
            (30.0, vec![100.0, 100.0, 100.0], vec![10.0, 10.0, 10.0]),
            (30.0, vec![0.0, 0.0], vec![15.0, 15.0]),
            (0.0, vec![5.0, 5.0], vec![0.0, 0.0]),
            (30.0, vec![], vec![]),
        ] {
            let shares = share_out(total, &demands);
            assert_eq!(shares, expected, "{total} over {demands:?}");
        }
    }
}

//! `topk` and `bottomk`: a heap of at most k elements, the next to go on top.

use super::evaluator::Element;

/// The best elements so far.
pub(super) struct Top {
    k: usize,
    /// `bottomk`: the smallest are the best.
    smallest: bool,
    heap: Vec<(f64, Element)>,
}

impl Top {
    pub(super) fn new(k: usize, smallest: bool) -> Top {
        Top { k, smallest, heap: Vec::new() }
    }

    /// True when `a` has to go before `b`: NaN first.
    fn worse(&self, a: f64, b: f64) -> bool {
        a.is_nan() || if self.smallest { a > b } else { a < b }
    }

    /// Takes the element in if it is among the best; of equal ones the first stays.
    pub(super) fn offer(&mut self, value: f64, element: Element) {
        if self.heap.len() < self.k {
            self.heap.push((value, element));
            self.sift_up();
            return;
        }
        let worst = self.heap[0].0;
        let better = if self.smallest { worst > value } else { worst < value };
        if better || (worst.is_nan() && !value.is_nan()) {
            self.heap[0] = (value, element);
            self.sift_down();
        }
    }

    fn sift_up(&mut self) {
        let mut at = self.heap.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.worse(self.heap[at].0, self.heap[parent].0) {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    fn sift_down(&mut self) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                break;
            }
            let right = left + 1;
            let child =
                if right < self.heap.len() && self.worse(self.heap[right].0, self.heap[left].0) { right } else { left };
            if !self.worse(self.heap[child].0, self.heap[at].0) {
                break;
            }
            self.heap.swap(at, child);
            at = child;
        }
    }

    /// The elements, best first, NaN last.
    pub(super) fn into_sorted(mut self) -> Vec<Element> {
        let smallest = self.smallest;
        self.heap.sort_by(|(a, _), (b, _)| match (a.is_nan(), b.is_nan()) {
            (false, false) if smallest => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
            (false, false) => b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal),
            (a, b) => a.cmp(&b),
        });
        self.heap.into_iter().map(|(_, element)| element).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn check(k: usize, smallest: bool, values: &[f64], expected: &[f64]) {
        let mut top = Top::new(k, smallest);
        for value in values {
            top.offer(*value, Element::float(Labels::empty(), *value));
        }
        let found: Vec<String> = top.into_sorted().iter().map(|e| format!("{:?}", e.value.float())).collect();
        let expected: Vec<String> = expected.iter().map(|value| format!("{:?}", Some(value))).collect();
        assert_eq!(found, expected, "{values:?}");
    }

    #[test]
    fn the_best_are_kept_and_nan_is_never_among_them_while_there_are_others() {
        check(2, false, &[1.0, 5.0, 3.0, f64::NAN], &[5.0, 3.0]);
        check(2, true, &[1.0, 5.0, 3.0, 0.5], &[0.5, 1.0]);
        check(3, false, &[f64::NAN, 1.0], &[1.0, f64::NAN]);
        check(2, true, &[f64::NAN, f64::NAN, 7.0], &[7.0, f64::NAN]);
    }
}

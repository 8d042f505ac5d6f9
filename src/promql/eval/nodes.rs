//! What is known of some nodes of an expression, by their addresses: for what each prepared expression keeps.
//!
//! Most expressions have a handful of nodes of which anything is known, so it is a sorted list without a spare place.

/// Values by the addresses of nodes.
#[derive(Debug)]
pub(super) struct Nodes<V>(Vec<(usize, V)>);

impl<V> Default for Nodes<V> {
    fn default() -> Nodes<V> {
        Nodes(Vec::new())
    }
}

impl<V> Nodes<V> {
    fn place(&self, node: usize) -> Result<usize, usize> {
        self.0.binary_search_by_key(&node, |(known, _)| *known)
    }

    pub(super) fn get(&self, node: usize) -> Option<&V> {
        self.place(node).ok().map(|at| &self.0[at].1)
    }

    pub(super) fn get_mut(&mut self, node: usize) -> Option<&mut V> {
        self.place(node).ok().map(|at| &mut self.0[at].1)
    }

    pub(super) fn contains(&self, node: usize) -> bool {
        self.place(node).is_ok()
    }

    /// Sets the value of a node.
    pub(super) fn insert(&mut self, node: usize, value: V) {
        match self.place(node) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (node, value));
            }
        }
    }

    pub(super) fn remove(&mut self, node: usize) -> Option<V> {
        let at = self.place(node).ok()?;
        Some(self.0.remove(at).1)
    }

    /// The value of a node, which it is given first if it has none.
    pub(super) fn or_default(&mut self, node: usize) -> &mut V
    where
        V: Default,
    {
        let at = match self.place(node) {
            Ok(at) => at,
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (node, V::default()));
                at
            }
        };
        &mut self.0[at].1
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_one_value() {
        let mut nodes = Nodes::default();
        for node in [7, 3, 9, 3] {
            nodes.insert(node, node * 10);
        }
        *nodes.or_default(5) += 1;
        *nodes.or_default(9) += 1;
        let known = |nodes: &Nodes<usize>| [3, 5, 7, 9].map(|node| nodes.get(node).copied());
        assert_eq!(known(&nodes), [Some(30), Some(1), Some(70), Some(91)]);
        assert_eq!((nodes.remove(7), nodes.remove(8)), (Some(70), None));
        assert_eq!((nodes.contains(7), nodes.contains(3)), (false, true));
        nodes.clear();
        assert_eq!(known(&nodes), [None; 4]);
    }
}

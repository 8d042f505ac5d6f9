//! Aligned columns.

use super::text::{Style, Text};

/// Blanks between two columns.
const GAP: usize = 2;

/// A table as rows of cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    heads: Vec<(String, bool)>,
    rows: Vec<Vec<Text>>,
}

impl Table {
    /// A table with these heads; one that ends with `>` has its column aligned to the right.
    pub(super) fn new<S: AsRef<str>>(heads: impl IntoIterator<Item = S>) -> Table {
        let head = |text: S| match text.as_ref().strip_suffix('>') {
            Some(right) => (right.to_owned(), true),
            None => (text.as_ref().to_owned(), false),
        };
        Table { heads: heads.into_iter().map(head).collect(), rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as there are heads.
    pub(super) fn row(&mut self, cells: Vec<Text>) {
        debug_assert_eq!(cells.len(), self.heads.len());
        self.rows.push(cells);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, heads first, none wider than `edge`: what is too wide is cut at its end.
    pub(super) fn render(&self, edge: usize) -> Vec<Text> {
        let widths: Vec<usize> = self
            .heads
            .iter()
            .enumerate()
            .map(|(index, (head, _))| {
                let cells = self.rows.iter().filter_map(|row| Some(row.get(index)?.width()));
                cells.chain([head.chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let heads = self.heads.iter().map(|(head, _)| Text::styled(Style::Dim, head.as_str())).collect();
        let all = std::iter::once(&heads).chain(&self.rows);
        all.map(|row: &Vec<Text>| self.line(row, &widths).cut(edge)).collect()
    }

    fn line(&self, row: &[Text], widths: &[usize]) -> Text {
        let mut line = Text::new();
        let mut owed = 0;
        for ((cell, width), (_, right)) in row.iter().zip(widths).zip(&self.heads) {
            let blanks = width - cell.width();
            let (before, after) = if *right { (blanks, 0) } else { (0, blanks) };
            if cell.width() > 0 {
                line.push(Style::Plain, " ".repeat(owed + before));
                line.append(cell.clone());
                owed = after + GAP;
            } else {
                owed += width + GAP;
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_end() {
        let mut table = Table::new(["NAME", "VALUE>", "WHY"]);
        table.row(vec!["a".into(), "1".into(), "because".into()]);
        table.row(vec!["longer".into(), "1234567".into(), "".into()]);
        table.row(vec!["é".into(), "".into(), "x".into()]);
        let lines = |edge| table.render(edge).iter().map(|line| line.render(false)).collect::<Vec<_>>();
        let expected = ["NAME      VALUE  WHY", "a             1  because", "longer  1234567", "é                x"];
        assert_eq!(lines(usize::MAX), expected);
        assert_eq!(lines(20)[1], "a             1  be…");
    }
}

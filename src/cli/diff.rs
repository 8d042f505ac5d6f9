//! What differs between two texts, line by line, as `diff -u` writes it.

use super::text::{Style, Text};

/// Lines around a change that are shown.
const AROUND: usize = 3;
/// Texts with more lines than this that differ are shown as all old and all new lines.
const MOST: usize = 4_000;

#[derive(Clone, Copy, PartialEq)]
enum Line<'a> {
    Same(&'a str),
    Old(&'a str),
    New(&'a str),
}

/// The differences under the names of both; empty when there are none.
pub(super) fn diff(old_name: &str, old: &str, new_name: &str, new: &str) -> Vec<Text> {
    if old == new {
        return Vec::new();
    }
    let lines = compared(&old.lines().collect::<Vec<_>>(), &new.lines().collect::<Vec<_>>());
    let mut shown = vec![
        Text::styled(Style::Bold, format!("--- {old_name}")),
        Text::styled(Style::Bold, format!("+++ {new_name}")),
    ];
    let changed = |line: &Line<'_>| !matches!(line, Line::Same(_));
    let near = |at: usize| lines[at.saturating_sub(AROUND)..(at + AROUND + 1).min(lines.len())].iter().any(changed);
    let (mut old_at, mut new_at, mut open) = (0, 0, false);
    for (at, line) in lines.iter().enumerate() {
        let show = near(at);
        if show && !open {
            shown.push(Text::styled(Style::Dim, format!("@@ -{} +{} @@", old_at + 1, new_at + 1)));
        }
        open = show;
        let (style, sign, text) = match line {
            Line::Same(text) => (Style::Plain, ' ', text),
            Line::Old(text) => (Style::Bad, '-', text),
            Line::New(text) => (Style::Good, '+', text),
        };
        if show {
            shown.push(Text::styled(style, format!("{sign}{text}")));
        }
        old_at += usize::from(!matches!(line, Line::New(_)));
        new_at += usize::from(!matches!(line, Line::Old(_)));
    }
    shown
}

/// The longest common lines stay, everything else is old or new.
fn compared<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let before = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - before;
    let after = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let (middle_old, middle_new) = (&old[before..old.len() - after], &new[before..new.len() - after]);
    let same = old[..before].iter().map(|line| Line::Same(line));
    let end = old[old.len() - after..].iter().map(|line| Line::Same(line));
    same.chain(middle(middle_old, middle_new)).chain(end).collect()
}

fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    if old.len().saturating_mul(new.len()) > MOST * MOST {
        return old.iter().map(|line| Line::Old(line)).chain(new.iter().map(|line| Line::New(line))).collect();
    }
    // common[i][j]: how many lines old[i..] and new[j..] have in common.
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = match old[i] == new[j] {
                true => common[(i + 1) * width + j + 1] + 1,
                false => common[(i + 1) * width + j].max(common[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1] {
            lines.push(Line::Old(old[i]));
            i += 1;
        } else {
            lines.push(Line::New(new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: &str, new: &str, expected: &[&str]) {
        let shown: Vec<String> = diff("a", old, "b", new).iter().map(|line| line.render(false)).collect();
        assert_eq!(shown, expected, "{old:?} {new:?}");
    }

    #[test]
    fn only_what_differs_is_shown_with_a_little_around_it() {
        check("x\n", "x\n", &[]);
        check("", "x\n", &["--- a", "+++ b", "@@ -1 +1 @@", "+x"]);
        check("x\ny\n", "y\n", &["--- a", "+++ b", "@@ -1 +1 @@", "-x", " y"]);
        check(
            "1\n2\n3\n4\n5\n6\n",
            "1\n2\n3\n4\n5\nsix\n",
            &["--- a", "+++ b", "@@ -3 +3 @@", " 3", " 4", " 5", "-6", "+six"],
        );
        let long = |middle: &str| format!("{}{middle}\n{}", "a\n".repeat(9), "b\n".repeat(9));
        check(
            &long("x"),
            &long("y"),
            &["--- a", "+++ b", "@@ -7 +7 @@", " a", " a", " a", "-x", "+y", " b", " b", " b"],
        );
    }

    #[test]
    fn lines_in_common_stay() {
        check("a\nb\nc\n", "b\nx\nc\n", &["--- a", "+++ b", "@@ -1 +1 @@", "-a", " b", "+x", " c"]);
    }
}

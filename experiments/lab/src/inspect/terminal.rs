//! Heat-maps on a terminal: numbers always, colours behind them where there are any.

use super::matrix::Matrix;
use figures::terminal::{Colour, lines};
use std::fmt::Write;

/// Width of an entry with the blank before it.
const CELL: usize = 5;

/// A matrix as text of at most `width` columns: columns that find no room follow below. Entries have
/// two digits or three; colours go from blue (negative) over white (0) to red, and are deepest
/// at the largest magnitude of the matrix, so that nothing is cut off.
pub fn heat_map(matrix: &Matrix, width: usize, colour: Colour) -> String {
    let mut text = lines(&matrix.title, width, "").join("\n");
    text.push('\n');
    let label = label_width(matrix);
    let fitting = (width.saturating_sub(label) / CELL).max(1);
    for from in (0..matrix.columns.len()).step_by(fitting) {
        let to = (from + fitting).min(matrix.columns.len());
        for line in block(matrix, from..to, label, colour) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// Matrices beside each other, as many as fit into `limit` columns.
pub fn side_by_side(matrices: &[Matrix], limit: usize, colour: Colour) -> String {
    const GAP: usize = 4;
    let width = |m: &Matrix| {
        let wide = label_width(m) + CELL * m.columns.len();
        wide.max(m.title.chars().count())
    };
    let mut text = String::new();
    let mut rest = matrices;
    while !rest.is_empty() {
        let mut used = 0;
        let fitting = rest.iter().take_while(|m| {
            used += width(m) + GAP;
            used <= limit + GAP
        });
        let fitting = fitting.count();
        let (row, after) = rest.split_at(fitting.max(1));
        rest = after;
        if fitting == 0 {
            text.push_str(&heat_map(&row[0], limit, colour));
            continue;
        }
        let blocks: Vec<Vec<String>> = row
            .iter()
            .map(|m| {
                let lines = block(m, 0..m.columns.len(), label_width(m), colour);
                let inner = label_width(m) + CELL * m.columns.len();
                let pad = " ".repeat(width(m) - inner);
                let title = format!("{:<1$}", m.title, width(m));
                let padded = lines.into_iter().map(|line| line + &pad);
                [title].into_iter().chain(padded).collect()
            })
            .collect();
        let height = blocks.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let parts: Vec<&str> = blocks
                .iter()
                .map(|block| block.get(line).map_or("", String::as_str))
                .collect();
            text.push_str(parts.join(&" ".repeat(GAP)).trim_end());
            text.push('\n');
        }
    }
    text
}

fn label_width(matrix: &Matrix) -> usize {
    let widths = matrix.rows.iter().map(|row| row.chars().count());
    widths.max().unwrap_or(0) + 1
}

/// Lines of equal width.
fn block(
    matrix: &Matrix,
    columns: std::ops::Range<usize>,
    label: usize,
    colour: Colour,
) -> Vec<String> {
    let mut head = " ".repeat(label);
    for name in &matrix.columns[columns.clone()] {
        let short: String = name.chars().take(CELL - 1).collect();
        write!(head, "{short:>CELL$}").expect("a string");
    }
    let limit = matrix.largest();
    let lines = matrix
        .rows
        .iter()
        .zip(&matrix.values)
        .map(|(name, values)| {
            let mut line = format!("{name:<label$}");
            for value in &values[columns.clone()] {
                let text = value.map(compact).unwrap_or_default();
                match (colour, value) {
                    (Colour::On, Some(value)) => {
                        let (back, front) = shade(*value, limit);
                        write!(line, "\x1b[48;5;{back};38;5;{front}m{text:>CELL$}\x1b[0m")
                    }
                    _ => write!(line, "{text:>CELL$}"),
                }
                .expect("a string");
            }
            line
        });
    [head].into_iter().chain(lines).collect()
}

/// A number in at most four characters, with as many digits as they hold: `.07`, `-.4`, `1.25`,
/// `-12`; beyond, its power of ten.
fn compact(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    for digits in [2, 1, 0] {
        let text = format!("{value:.digits$}");
        let text = match text.strip_prefix("-0.") {
            Some(rest) if rest.chars().any(|c| c != '0') => format!("-.{rest}"),
            Some(rest) => format!(".{rest}"),
            None => text
                .strip_prefix("0.")
                .map_or(text.clone(), |r| format!(".{r}")),
        };
        if text.len() <= 4 {
            return text;
        }
    }
    format!("{value:.0e}")
}

/// Background and foreground among the 256 colours.
fn shade(value: f64, limit: f64) -> (u8, u8) {
    let share = if limit > 0.0 {
        value.abs() / limit
    } else {
        0.0
    };
    let level = if share.is_finite() {
        (share * 4.0).round() as u8
    } else {
        4
    };
    let rest = 5 - level;
    let [red, green, blue] = match value < 0.0 {
        true => [rest, rest, 5],
        false => [5, rest, rest],
    };
    let front = if level == 4 { 231 } else { 16 };
    (16 + 36 * red + 6 * green + blue, front)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(columns: usize) -> Matrix {
        let value = |r: usize, c: usize| (c <= r + 8).then_some(r as f64 - 2.04 * c as f64);
        Matrix {
            name: "m".into(),
            title: "a matrix".into(),
            rows: (0..4).map(|r| r.to_string()).collect(),
            columns: (0..columns).map(|c| c.to_string()).collect(),
            values: (0..4)
                .map(|r| (0..columns).map(|c| value(r, c)).collect())
                .collect(),
        }
    }

    #[test]
    fn numbers_fit_four_characters_and_are_never_cut() {
        for (value, text) in [
            (0.0, ".00"),
            (-0.001, ".00"),
            (0.074, ".07"),
            (-0.44, "-.44"),
            (1.254, "1.25"),
            (-1.26, "-1.3"),
            (-12.3, "-12"),
            (123.0, "123"),
            (9999.0, "9999"),
            (2_512_345.0, "3e6"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(compact(value), text, "{value}");
        }
    }

    #[test]
    fn wide_matrices_are_broken_and_no_line_is_wider_than_the_terminal() {
        for width in [20, 40, 80] {
            for text in [
                heat_map(&matrix(40), width, Colour::Off),
                side_by_side(&vec![matrix(5); 5], width, Colour::Off),
            ] {
                assert!(
                    text.lines().all(|line| line.chars().count() <= width),
                    "{text}"
                );
                assert!(!text.contains('\x1b'));
            }
        }
        let broken = heat_map(&matrix(40), 80, Colour::Off);
        assert_eq!(broken.lines().count(), 1 + 3 * 5);
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let coloured = heat_map(&matrix(5), 80, Colour::On);
        let mut plain = String::new();
        let mut inside = false;
        for c in coloured.chars() {
            match (inside, c) {
                (false, '\x1b') => inside = true,
                (true, 'm') => inside = false,
                (false, c) => plain.push(c),
                _ => {}
            }
        }
        assert_eq!(plain, heat_map(&matrix(5), 80, Colour::Off));
        assert_eq!(shade(0.0, 1.0).0, 231);
        assert_ne!(shade(1.0, 1.0), shade(-1.0, 1.0));
    }
}

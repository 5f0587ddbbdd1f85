//! Numbers drawn as columns of characters, four lines high, each with a label that is written downwards under it.

/// The most columns beside each other; further ones begin again below.
pub(super) const WIDTH: usize = 80;
/// Lines of the drawing.
const LINES: usize = 4;
/// The top of a column, by thirds of a line.
const TOPS: [char; 3] = ['_', 'o', '#'];

/// Draws numbers with labels. The highest reaches the top, the lowest the foot.
pub(super) fn draw(columns: &[(u64, String)]) -> String {
    let values = || columns.iter().map(|(value, _)| *value);
    let low = values().min().unwrap_or(0);
    let span = (values().max().unwrap_or(0) - low).max(1);
    let mut text = String::new();
    for part in columns.chunks(WIDTH) {
        for line in (0..LINES).rev() {
            text.extend(part.iter().map(|(value, _)| at(line, height(value - low, span))));
            text.push('\n');
        }
        text.push_str(&" ".repeat(part.len()));
        text.push('\n');
        let longest = part.iter().map(|(_, label)| label.len()).max().unwrap_or(0);
        for line in 0..longest {
            text.extend(
                part.iter()
                    .map(|(_, label)| label.chars().nth(line).unwrap_or(' ')),
            );
            text.push('\n');
        }
    }
    text
}

/// The height of a column, in thirds of lines, from 0.
fn height(value: u64, span: u64) -> usize {
    let all = LINES * TOPS.len();
    let share = u128::from(value) * all as u128 / u128::from(span);
    (share as usize).min(all - 1)
}

/// What a column of this height has in this line, counted from below.
fn at(line: usize, height: usize) -> char {
    match height.checked_sub(line * TOPS.len()) {
        None => ' ',
        Some(above) => TOPS.get(above).copied().unwrap_or('|'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(values: &[u64]) -> Vec<(u64, String)> {
        values.iter().map(|value| (*value, "7s".to_owned())).collect()
    }

    #[test]
    fn a_drawing_is_that_of_redis() {
        // What redis-server 7.0.15 drew of these.
        let drawn = draw(&columns(&[50, 300, 10, 50, 150, 230, 260]));
        assert_eq!(
            drawn,
            " #   _o\n |   ||\n |  #||\no|_o|||\n       \n7777777\nsssssss\n"
        );
        assert_eq!(draw(&columns(&[50])), " \n \n \n_\n \n7\ns\n");
    }

    #[test]
    fn columns_beyond_the_width_begin_again() {
        let drawn = draw(&columns(&[3; WIDTH + 2]));
        let widths: Vec<usize> = drawn.lines().map(str::len).collect();
        assert_eq!(widths, [[WIDTH; 7], [2; 7]].concat());
        assert_eq!(draw(&[]), "");
        assert!(draw(&columns(&[0, u64::MAX])).contains('#'));
    }
}

//! Shows where in a statement a parser's complaint points: the line, and a caret below the column.
//!
//! In: the statement and a message that ends in ` at Line: 2, Column: 7`, as the parser writes them. Out: the message,
//! with two lines more if it has such an end and the place is in the text.

use std::iter::repeat_n;

/// Characters of the line that are shown before and after the place.
const BEFORE_MAX: usize = 60;
const AFTER_MAX: usize = 40;

/// The message with the line that it means, and a caret.
pub(super) fn shown(sql: &str, message: String) -> String {
    match place(&message).and_then(|(line, column)| excerpt(sql, line, column)) {
        Some(excerpt) => format!("{message}\n{excerpt}"),
        None => message,
    }
}

/// Line and column at the end of a message, both from 1.
fn place(message: &str) -> Option<(usize, usize)> {
    let (_, place) = message.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
    Some((line.parse().ok()?, column[..digits].parse().ok()?))
}

/// The line, cut around the column if it is long, and below it a caret.
fn excerpt(sql: &str, line: usize, column: usize) -> Option<String> {
    let characters: Vec<char> = sql.split('\n').nth(line.checked_sub(1)?)?.trim_end().chars().collect();
    let at = column.checked_sub(1)?.min(characters.len());
    let from = at.saturating_sub(BEFORE_MAX);
    let to = characters.len().min(at + AFTER_MAX);
    // Control characters, tabs among them, would move the caret away from its place.
    let plain = |c: &char| if c.is_control() { ' ' } else { *c };
    let (head, tail) = (if from > 0 { "… " } else { "" }, if to < characters.len() { " …" } else { "" });
    let text: String = characters[from..to].iter().map(plain).collect();
    let indent: String = repeat_n(' ', head.chars().count() + at - from).collect();
    Some(format!("  {head}{text}{tail}\n  {indent}^"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_place() {
        let message = shown("SELECT 1\n\tFORM t", "Expected: x, found: t at Line: 2, Column: 7".to_owned());
        assert_eq!(message, "Expected: x, found: t at Line: 2, Column: 7\n   FORM t\n        ^");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let sql = format!("{}!{}", "é".repeat(500), "b".repeat(500));
        let message = shown(&sql, "wrong at Line: 1, Column: 501".to_owned());
        let lines: Vec<&str> = message.lines().collect();
        assert!(lines[1].starts_with("  … é") && lines[1].ends_with("b …"), "{message}");
        let caret = lines[2].chars().count() - 1;
        assert_eq!(lines[1].chars().nth(caret), Some('!'), "{message}");
    }

    #[test]
    fn the_end_of_the_text_can_be_pointed_at() {
        let message = shown("SELECT (1", "found: EOF at Line: 1, Column: 10".to_owned());
        assert!(message.ends_with("  SELECT (1\n           ^"), "{message}");
    }

    #[test]
    fn messages_without_a_place_stay_as_they_are() {
        for message in
            ["no place", "odd at Line: x, Column: 1", "beyond at Line: 9, Column: 1", "zero at Line: 0, Column: 0"]
        {
            assert_eq!(shown("SELECT 1", message.to_owned()), message);
        }
    }
}

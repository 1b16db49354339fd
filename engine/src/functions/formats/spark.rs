//! Patterns of Spark's `date_format`.
//!
//! In: `EEEE, d MMM yyyy 'at' HH:mm`. Out: its pieces. Letters that mean nothing there, or something that is not known here, are refused by
//! name, as Spark does.

use datafusion::common::{Result, not_impl_err};

use super::fields::{Letters, Number, OffsetMinutes, Piece, Word};

/// The pieces of a pattern.
///
/// # Errors
/// If it has letters that are no pattern, or one that is not known.
pub(super) fn pieces(pattern: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        let same = rest.len() - rest.trim_start_matches(letter).len();
        let (piece, length) = match letter {
            '\'' => quoted(rest),
            letter if letter.is_ascii_alphabetic() => (named(letter, same)?, same),
            '[' | ']' | '{' | '}' | '#' => return refused(letter, 1),
            other => (Piece::Text(other.to_string()), other.len_utf8()),
        };
        pieces.push(piece);
        rest = &rest[length..];
    }
    Ok(pieces)
}

fn refused<T>(letter: char, times: usize) -> Result<T> {
    not_impl_err!(
        "the pattern {} in date_format: put letters that mean themselves between single quotes",
        letter.to_string().repeat(times)
    )
}

/// A text between quotes, in which two of them are one, and the length of both.
fn quoted(rest: &str) -> (Piece, usize) {
    if rest.starts_with("''") {
        return (Piece::Text("'".to_owned()), 2);
    }
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((place, letter)) = letters.next() {
        if letter != '\'' {
            text.push(letter);
        } else if letters.next_if(|(_, next)| *next == '\'').is_some() {
            text.push('\'');
        } else {
            return (Piece::Text(text), place + 1);
        }
    }
    (Piece::Text(text), rest.len())
}

fn named(letter: char, times: usize) -> Result<Piece> {
    let last_two = |number| Piece::Number { number, places: 2, last: Some(2), ordinal: None };
    let word = |word, first| Piece::Word { word, letters: Letters::Title, first, places: 0, pointed: false };
    Ok(match (letter, times) {
        ('y', 2) => last_two(Number::Year),
        ('y', 1..=6) => Piece::number(Number::Year, times),
        ('Q' | 'q', 1..=2) => Piece::number(Number::Quarter, times),
        ('M' | 'L', 1..=2) => Piece::number(Number::Month, times),
        ('M' | 'L', 3) => word(Word::Month, Some(3)),
        ('M' | 'L', 4) => word(Word::Month, None),
        ('d', 1..=2) => Piece::number(Number::Day, times),
        ('D', 1..=3) => Piece::number(Number::DayOfYear, times),
        ('F', 1) => Piece::number(Number::WeekOfMonth, 1),
        ('E', 1..=3) => word(Word::Weekday, Some(3)),
        ('E', 4) => word(Word::Weekday, None),
        ('a', 1) => Piece::word(Word::Half, Letters::Upper),
        ('G', 1..=3) => Piece::word(Word::Era, Letters::Upper),
        ('H', 1..=2) => Piece::number(Number::Hour, times),
        ('h', 1..=2) => Piece::number(Number::Hour12, times),
        ('K', 1..=2) => Piece::number(Number::Hour11, times),
        ('k', 1..=2) => Piece::number(Number::Hour24, times),
        ('m', 1..=2) => Piece::number(Number::Minute, times),
        ('s', 1..=2) => Piece::number(Number::Second, times),
        ('S', digits @ 1..=9) => Piece::number(Number::Fraction(digits as u32), digits),
        ('X', 1) => Piece::Offset { minutes: OffsetMinutes::IfAny(""), zero: Some("Z") },
        ('X', 2) => Piece::Offset { minutes: OffsetMinutes::Always(""), zero: Some("Z") },
        ('X', 3) => Piece::Offset { minutes: OffsetMinutes::Always(":"), zero: Some("Z") },
        ('x', 1) => Piece::Offset { minutes: OffsetMinutes::IfAny(""), zero: None },
        ('x', 2) | ('Z', 1..=3) => Piece::Offset { minutes: OffsetMinutes::Always(""), zero: None },
        ('x', 3) => Piece::Offset { minutes: OffsetMinutes::Always(":"), zero: None },
        ('Z', 5) => Piece::Offset { minutes: OffsetMinutes::Always(":"), zero: Some("Z") },
        _ => return refused(letter, times),
    })
}

#[cfg(test)]
mod tests {
    use super::super::fields::{Moment, written};
    use super::pieces;

    #[test]
    fn patterns_give_what_spark_gives() {
        let moment = Moment::new(1_709_211_909, 250_000_000, 19_800, true).unwrap();
        for (pattern, expected) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2024-02-29 13:05:09.250"),
            ("EEEE, d MMM yy 'at' h:mm a", "Thursday, 29 Feb 24 at 1:05 PM"),
            ("yyyy-MM-dd'T'HH:mm:ssXXX", "2024-02-29T13:05:09+05:30"),
            ("''y D Q E MMMM k K G Z", "'2024 60 1 Thu February 13 1 AD +0530"),
        ] {
            assert_eq!(written(&pieces(pattern).unwrap(), &moment).unwrap(), expected, "{pattern}");
        }
        for pattern in ["YYYY-MM-dd", "yyyy-MM-ddTHH", "MMMMM", "w", "VV", "[yyyy]"] {
            assert!(pieces(pattern).is_err(), "{pattern}");
        }
    }
}

//! Patterns of PostgreSQL's `to_char`.
//!
//! In: `FMDay, DD Mon YYYY "at" HH24:MI`. Out: its pieces. As there, what is no pattern is copied, in quotes all is; `TH` behind a number
//! makes it an ordinal, `FM` before one leaves out zeros and blanks.

use datafusion::common::{Result, not_impl_err};

use super::fields::{Letters, Number, OffsetMinutes, Piece, Word};

/// The pieces of a pattern.
///
/// # Errors
/// If it asks for a time zone's name.
pub(super) fn pieces(pattern: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted_text(quoted, &mut pieces);
            continue;
        }
        if let Some(escaped) = rest.strip_prefix("\\\"") {
            pieces.push(Piece::Text("\"".to_owned()));
            rest = escaped;
            continue;
        }
        let (modified, fills) = without_modifiers(rest);
        let Some((length, piece)) = longest(modified, fills)? else {
            // Copied, with the modifiers, which then are none.
            let mut letters = rest.chars();
            pieces.extend(letters.next().map(|letter| Piece::Text(letter.to_string())));
            rest = letters.as_str();
            continue;
        };
        rest = &modified[length..];
        let ordinal = [("TH", Letters::Upper), ("th", Letters::Lower)];
        let ordinal = ordinal.into_iter().find(|(suffix, _)| rest.starts_with(suffix));
        pieces.push(match (piece, ordinal) {
            (Piece::Number { number, places, last, .. }, Some((suffix, letters))) => {
                rest = &rest[suffix.len()..];
                Piece::Number { number, places, last, ordinal: Some(letters) }
            }
            (piece, _) => piece,
        });
        rest = rest.strip_prefix("SP").unwrap_or(rest);
    }
    Ok(pieces)
}

/// All up to the next quote, in which a backslash takes the next letter as it is. Returns what follows.
fn quoted_text<'a>(quoted: &'a str, pieces: &mut Vec<Piece>) -> &'a str {
    let mut text = String::new();
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => text.extend(letters.next()),
            other => text.push(other),
        }
    }
    pieces.push(Piece::Text(text));
    letters.as_str()
}

/// What is behind `FM`, `FX` and `TM`, and whether zeros and blanks fill the places.
fn without_modifiers(mut rest: &str) -> (&str, bool) {
    let mut fills = true;
    loop {
        if let Some(behind) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            (rest, fills) = (behind, false);
        } else if let Some(behind) = rest.strip_prefix("TM").or_else(|| rest.strip_prefix("tm")) {
            (rest, fills) = (behind, false);
        } else if let Some(behind) = rest.strip_prefix("FX").or_else(|| rest.strip_prefix("fx")) {
            rest = behind;
        } else {
            return (rest, fills);
        }
    }
}

/// The longest pattern that a text begins with, and its length.
fn longest(text: &str, fills: bool) -> Result<Option<(usize, Piece)>> {
    for length in (1..=5).rev() {
        if let Some(name) = text.get(..length)
            && let Some(piece) = named(name, fills)?
        {
            return Ok(Some((length, piece)));
        }
    }
    Ok(None)
}

/// The piece of just this name. Numbers have theirs in capitals and in small letters, but not in both.
fn named(name: &str, fills: bool) -> Result<Option<Piece>> {
    if let Some(word) = word(name, fills) {
        return Ok(Some(word));
    }
    let upper = name.to_ascii_uppercase();
    if upper != name && name.to_ascii_lowercase() != name {
        return Ok(None);
    }
    let filled = |number: Number, places: usize| Piece::number(number, if fills { places } else { 0 });
    let last = |number: Number, digits: u32| Piece::Number {
        number,
        places: if fills { digits as usize } else { 0 },
        last: Some(digits),
        ordinal: None,
    };
    let piece = match upper.as_str() {
        "YYYY" => filled(Number::Year, 4),
        "Y,YYY" => Piece::YearWithComma,
        "YYY" => last(Number::Year, 3),
        "YY" => last(Number::Year, 2),
        "Y" => last(Number::Year, 1),
        "IYYY" => filled(Number::IsoYear, 4),
        "IYY" => last(Number::IsoYear, 3),
        "IY" => last(Number::IsoYear, 2),
        "I" => last(Number::IsoYear, 1),
        "CC" => filled(Number::Century, 2),
        "Q" => filled(Number::Quarter, 0),
        "MM" => filled(Number::Month, 2),
        "WW" => filled(Number::WeekOfYear, 2),
        "W" => filled(Number::WeekOfMonth, 0),
        "IW" => filled(Number::IsoWeek, 2),
        "DDD" => filled(Number::DayOfYear, 3),
        "IDDD" => filled(Number::IsoDayOfYear, 3),
        "DD" => filled(Number::Day, 2),
        "D" => filled(Number::DayOfWeek, 0),
        "ID" => filled(Number::IsoDayOfWeek, 0),
        "J" => filled(Number::JulianDay, 0),
        "HH24" => filled(Number::Hour, 2),
        "HH12" | "HH" => filled(Number::Hour12, 2),
        "MI" => filled(Number::Minute, 2),
        "SS" => filled(Number::Second, 2),
        "SSSS" | "SSSSS" => filled(Number::SecondOfDay, 0),
        "MS" => filled(Number::Fraction(3), 3),
        "US" => filled(Number::Fraction(6), 6),
        "FF1" => filled(Number::Fraction(1), 1),
        "FF2" => filled(Number::Fraction(2), 2),
        "FF3" => filled(Number::Fraction(3), 3),
        "FF4" => filled(Number::Fraction(4), 4),
        "FF5" => filled(Number::Fraction(5), 5),
        "FF6" => filled(Number::Fraction(6), 6),
        "TZH" => filled(Number::OffsetHours, 2),
        "TZM" => filled(Number::OffsetMinutes, 2),
        "OF" => Piece::Offset { minutes: OffsetMinutes::IfAny(":"), zero: None },
        "TZ" => return not_impl_err!("the pattern TZ in to_char: zones have no short names here, use OF"),
        _ => return Ok(None),
    };
    Ok(Some(piece))
}

fn word(name: &str, fills: bool) -> Option<Piece> {
    let letters = match name {
        _ if name.chars().all(|letter| !letter.is_ascii_lowercase()) => Letters::Upper,
        _ if name.chars().all(|letter| !letter.is_ascii_uppercase()) => Letters::Lower,
        "Month" | "Mon" | "Day" | "Dy" => Letters::Title,
        _ => return None,
    };
    let places = |places: usize| if fills { places } else { 0 };
    let (word, first, places, pointed) = match name.to_ascii_uppercase().as_str() {
        "MONTH" => (Word::Month, None, places(9), false),
        "MON" => (Word::Month, Some(3), 0, false),
        "DAY" => (Word::Weekday, None, places(9), false),
        "DY" => (Word::Weekday, Some(3), 0, false),
        "RM" => (Word::RomanMonth, None, places(4), false),
        "AM" | "PM" => (Word::Half, None, 0, false),
        "A.M." | "P.M." => (Word::Half, None, 0, true),
        "BC" | "AD" => (Word::Era, None, 0, false),
        "B.C." | "A.D." => (Word::Era, None, 0, true),
        _ => return None,
    };
    Some(Piece::Word { word, letters, first, places, pointed })
}

#[cfg(test)]
mod tests {
    use super::super::fields::{Moment, written};
    use super::pieces;

    /// 2024-02-29 13:05:09.25, east of UTC by 5:30.
    fn shown(pattern: &str) -> String {
        let moment = Moment::new(1_709_211_909, 250_000_000, 19_800, true).unwrap();
        written(&pieces(pattern).unwrap(), &moment).unwrap()
    }

    #[test]
    fn patterns_give_what_postgresql_gives() {
        for (pattern, expected) in [
            ("YYYY-MM-DD\"T\"HH24:MI:SS.MS", "2024-02-29T13:05:09.250"),
            ("FMMonth FMDDth, YYYY HH12:MI am", "February 29th, 2024 01:05 pm"),
            ("Day|DY|dy|D|ID|DDD|IDDD|J|Q|WW", "Thursday |THU|thu|5|4|060|060|2460370|1|09"),
            ("W|IW|IYYY|IY|CC|RM|rm|SSSS|US|FF3", "5|09|2024|24|21|II  |ii  |47109|250000|250"),
            ("Y,YYY|YYY|YY|Y|BC|b.c.|A.M.", "2,024|024|24|4|AD|a.d.|P.M."),
            ("FMRM|FMHH12|FMMI|FMMS|FMDDD|FMYYY|FMDay", "II|1|5|250|60|24|Thursday"),
            ("DDTHH24 DDth DDTH YYYYth MMth", "29THH24 29th 29TH 2024th 02nd"),
            ("TZH:TZM OF", "+05:30 +05:30"),
            ("Week xyz", "5eek x4z"),
            ("TMmon SP DDSP yyyy-mm-dd hh:mi", "feb SP 29 2024-02-29 01:05"),
        ] {
            assert_eq!(shown(pattern), expected, "{pattern}");
        }
        assert!(pieces("HH24 TZ").is_err());
    }
}

//! What a pattern is made of, and what each piece is of a moment.

use std::fmt::Write;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, TimeZone, Timelike};
use datafusion::common::{Result, exec_err, not_impl_err, plan_err};

/// What clocks and calendars show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    local: NaiveDateTime,
    /// How far the clocks are to the east of UTC, in seconds.
    offset: i64,
    /// Whether there is a calendar: a time has none.
    has_date: bool,
}

impl Moment {
    /// # Errors
    /// If it is beyond the calendar.
    pub(super) fn new(local_seconds: i64, nanoseconds: i64, offset: i64, has_date: bool) -> Result<Self> {
        match DateTime::from_timestamp(local_seconds, u32::try_from(nanoseconds).unwrap_or(0)) {
            Some(local) => Ok(Self { local: local.naive_utc(), offset, has_date }),
            None => exec_err!("a timestamp is out of range"),
        }
    }
}

/// A number of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// Counted from 1, before and after Christ.
    Year,
    /// The one to which the week belongs.
    IsoYear,
    Century,
    Quarter,
    Month,
    /// From the first day of the year.
    WeekOfYear,
    WeekOfMonth,
    IsoWeek,
    Day,
    DayOfYear,
    IsoDayOfYear,
    /// Sunday is 1.
    DayOfWeek,
    /// Monday is 1.
    IsoDayOfWeek,
    /// The days since the Julian calendar's beginning.
    JulianDay,
    /// 0 to 23.
    Hour,
    /// 1 to 12.
    Hour12,
    /// 0 to 11.
    Hour11,
    /// 1 to 24.
    Hour24,
    Minute,
    Second,
    SecondOfDay,
    /// So many digits of the fraction of a second.
    Fraction(u32),
    /// The hours of the offset, with its sign.
    OffsetHours,
    OffsetMinutes,
}

impl Number {
    fn is_of_date(self) -> bool {
        use Number::{Fraction, Hour, Hour11, Hour12, Hour24, Minute, OffsetHours, OffsetMinutes, Second, SecondOfDay};
        !matches!(
            self,
            Hour | Hour11 | Hour12 | Hour24 | Minute | Second | SecondOfDay | Fraction(_) | OffsetHours | OffsetMinutes
        )
    }

    fn of(self, moment: &Moment) -> i64 {
        let Moment { local, offset, .. } = moment;
        let (hour, week) = (local.hour(), local.iso_week());
        let counted = |year: i32| if year <= 0 { 1 - i64::from(year) } else { i64::from(year) };
        let unsigned: u32 = match self {
            Self::Year => return counted(local.year()),
            Self::IsoYear => return counted(week.year()),
            Self::Century => {
                let year = i64::from(local.year());
                return if year > 0 { (year - 1) / 100 + 1 } else { year / 100 - 1 };
            }
            Self::Quarter => local.month0() / 3 + 1,
            Self::Month => local.month(),
            Self::WeekOfYear => local.ordinal0() / 7 + 1,
            Self::WeekOfMonth => local.day0() / 7 + 1,
            Self::IsoWeek => week.week(),
            Self::Day => local.day(),
            Self::DayOfYear => local.ordinal(),
            Self::IsoDayOfYear => week.week0() * 7 + local.weekday().number_from_monday(),
            Self::DayOfWeek => local.weekday().number_from_sunday(),
            Self::IsoDayOfWeek => local.weekday().number_from_monday(),
            Self::JulianDay => return i64::from(local.num_days_from_ce()) + 1_721_425,
            Self::Hour => hour,
            Self::Hour12 => (hour + 11) % 12 + 1,
            Self::Hour11 => hour % 12,
            Self::Hour24 => (hour + 23) % 24 + 1,
            Self::Minute => local.minute(),
            Self::Second => local.second(),
            Self::SecondOfDay => local.num_seconds_from_midnight(),
            Self::Fraction(digits) => local.nanosecond() % 1_000_000_000 / 10_u32.pow(9_u32.saturating_sub(digits)),
            Self::OffsetHours => return offset / 3_600,
            Self::OffsetMinutes => return offset.abs() / 60 % 60,
        };
        unsigned.into()
    }
}

/// A word of a moment, in English.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Month,
    Weekday,
    RomanMonth,
    /// Before or after noon.
    Half,
    /// Before or after Christ.
    Era,
}

/// How a word is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letters {
    Upper,
    Lower,
    Title,
}

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Number {
        number: Number,
        /// Zeros before it fill so many places.
        places: usize,
        /// Only that many of its last digits.
        last: Option<u32>,
        /// `st`, `nd`, `rd` or `th` behind it.
        ordinal: Option<Letters>,
    },
    /// The thousands of the year divided by a comma.
    YearWithComma,
    Word {
        word: Word,
        letters: Letters,
        /// Only that many of its first letters.
        first: Option<usize>,
        /// Blanks behind it fill so many places.
        places: usize,
        /// Points behind each letter.
        pointed: bool,
    },
    /// `+02`, and its minutes if there are some, or always, behind that.
    Offset {
        minutes: OffsetMinutes,
        zero: Option<&'static str>,
    },
    /// All of a pattern of strftime.
    Strftime(Vec<Item<'static>>),
}

/// How the minutes of an offset are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OffsetMinutes {
    IfAny(&'static str),
    Always(&'static str),
}

impl Piece {
    pub(super) fn number(number: Number, places: usize) -> Self {
        Self::Number { number, places, last: None, ordinal: None }
    }

    pub(super) fn word(word: Word, letters: Letters) -> Self {
        Self::Word { word, letters, first: None, places: 0, pointed: false }
    }
}

/// The pieces of a pattern of strftime.
///
/// # Errors
/// If chrono does not know one of its letters.
pub(super) fn strftime(pattern: &str) -> Result<Vec<Piece>> {
    match StrftimeItems::new(pattern).parse_to_owned() {
        Ok(items) => Ok(vec![Piece::Strftime(items)]),
        Err(_) => {
            plan_err!("the pattern '{pattern}' has a % that strftime does not know: write %% for the sign itself")
        }
    }
}

/// The text of a moment.
///
/// # Errors
/// If a time is asked for a date.
pub(super) fn written(pieces: &[Piece], moment: &Moment) -> Result<String> {
    let mut out = String::new();
    for piece in pieces {
        write_piece(&mut out, piece, moment)?;
    }
    Ok(out)
}

fn write_piece(out: &mut String, piece: &Piece, moment: &Moment) -> Result<()> {
    let of_date = match piece {
        Piece::Number { number, .. } => number.is_of_date(),
        Piece::YearWithComma => true,
        Piece::Word { word, .. } => *word != Word::Half,
        _ => false,
    };
    if of_date && !moment.has_date {
        return not_impl_err!("a pattern with days, months or years for a time, which has none");
    }
    // Writing to a text does not fail.
    let _ = match piece {
        Piece::Text(text) => out.write_str(text),
        Piece::Number { number: Number::OffsetHours, places, .. } => {
            let sign = if moment.offset < 0 { '-' } else { '+' };
            write!(out, "{sign}{:0places$}", moment.offset.abs() / 3_600, places = *places)
        }
        Piece::Number { number, places, last, ordinal } => {
            let value = number.of(moment);
            let value = last.map_or(value, |digits| value % 10_i64.pow(digits));
            // As in C, a sign takes a place.
            let _ = write!(out, "{value:0places$}", places = *places);
            match ordinal {
                Some(letters) => out.write_str(&in_letters(ordinal_ending(value), *letters)),
                None => Ok(()),
            }
        }
        Piece::YearWithComma => {
            let year = Number::Year.of(moment);
            write!(out, "{},{:03}", year / 1_000, year % 1_000)
        }
        Piece::Word { word, letters, first, places, pointed } => {
            let word = in_letters(word_of(*word, moment), *letters);
            let word: String = word.chars().take(first.unwrap_or(usize::MAX)).collect();
            let word = if *pointed { word.chars().flat_map(|letter| [letter, '.']).collect() } else { word };
            write!(out, "{word:places$}", places = *places)
        }
        Piece::Offset { zero: Some(zero), .. } if moment.offset == 0 => out.write_str(zero),
        Piece::Offset { minutes, .. } => {
            let sign = if moment.offset < 0 { '-' } else { '+' };
            let offset = moment.offset.abs();
            let _ = write!(out, "{sign}{:02}", offset / 3_600);
            match (minutes, offset / 60 % 60) {
                (OffsetMinutes::IfAny(_), 0) => Ok(()),
                (OffsetMinutes::IfAny(between) | OffsetMinutes::Always(between), minutes) => {
                    write!(out, "{between}{minutes:02}")
                }
            }
        }
        Piece::Strftime(items) => {
            let offset = i32::try_from(moment.offset).ok().and_then(FixedOffset::east_opt);
            let Some(local) = offset.and_then(|offset| offset.from_local_datetime(&moment.local).single()) else {
                return exec_err!("a timestamp is out of range");
            };
            let formatted = match moment.has_date {
                true => write!(out, "{}", local.format_with_items(items.iter())),
                false => write!(out, "{}", moment.local.time().format_with_items(items.iter())),
            };
            if formatted.is_err() {
                return plan_err!("a pattern of strftime asks for what a value does not have");
            }
            formatted
        }
    };
    Ok(())
}

fn word_of(word: Word, moment: &Moment) -> &'static str {
    const MONTHS: [(&str, &str); 12] = [
        ("January", "I"),
        ("February", "II"),
        ("March", "III"),
        ("April", "IV"),
        ("May", "V"),
        ("June", "VI"),
        ("July", "VII"),
        ("August", "VIII"),
        ("September", "IX"),
        ("October", "X"),
        ("November", "XI"),
        ("December", "XII"),
    ];
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let local = &moment.local;
    match word {
        Word::Month => MONTHS[local.month0() as usize].0,
        Word::RomanMonth => MONTHS[local.month0() as usize].1,
        Word::Weekday => DAYS[local.weekday().num_days_from_monday() as usize],
        Word::Half => {
            if local.hour() < 12 {
                "AM"
            } else {
                "PM"
            }
        }
        Word::Era => {
            if local.year() > 0 {
                "AD"
            } else {
                "BC"
            }
        }
    }
}

fn in_letters(word: &str, letters: Letters) -> String {
    match letters {
        Letters::Upper => word.to_uppercase(),
        Letters::Lower => word.to_lowercase(),
        Letters::Title => word.to_owned(),
    }
}

fn ordinal_ending(number: i64) -> &'static str {
    match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

//! A time zone: from its name to the offsets that it has, by PostgreSQL's rules.
//!
//! A local time that clocks skip is taken with the offset before the gap, one that they show twice with the offset after it: nothing fails,
//! and no row is lost. The tables of zones end in 2099; later years have the offsets of a year with the same calendar.

use arrow::array::timezone::Tz;
use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, Datelike, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone};
use datafusion::common::{Result, ScalarValue, plan_err};

/// What is beyond it is computed in a year before it.
const TABLES_END_SECONDS: i64 = 4_102_444_800;
/// Years before the end of the tables, among which there is one of each calendar.
const LAST_YEARS: std::ops::RangeInclusive<i32> = 2072..=2099;
/// No zone is further east.
const EAST_MAX_SECONDS: i64 = 16 * 3_600;
const NANOSECONDS: i64 = 1_000_000_000;

/// Names that are offsets in `AT TIME ZONE` and in texts of timestamps, in hours (as in PostgreSQL's default set).
const ABBREVIATIONS: [(&str, f32); 35] = [
    ("UTC", 0.0),
    ("GMT", 0.0),
    ("UT", 0.0),
    ("Z", 0.0),
    ("ZULU", 0.0),
    ("WET", 0.0),
    ("WEST", 1.0),
    ("BST", 1.0),
    ("CET", 1.0),
    ("MET", 1.0),
    ("CEST", 2.0),
    ("MEST", 2.0),
    ("EET", 2.0),
    ("EEST", 3.0),
    ("HKT", 8.0),
    ("AWST", 8.0),
    ("JST", 9.0),
    ("KST", 9.0),
    ("AEST", 10.0),
    ("AEDT", 11.0),
    ("NZST", 12.0),
    ("NZDT", 13.0),
    ("NST", -3.5),
    ("NDT", -2.5),
    ("ADT", -3.0),
    ("AST", -4.0),
    ("EDT", -4.0),
    ("EST", -5.0),
    ("CDT", -5.0),
    ("CST", -6.0),
    ("MDT", -6.0),
    ("MST", -7.0),
    ("PDT", -7.0),
    ("PST", -8.0),
    ("HST", -10.0),
];
/// Zones of a session whose names are abbreviations elsewhere, by the names that are not.
const FULL_NAMES: [(&str, &str); 7] = [
    ("CET", "Europe/Brussels"),
    ("MET", "Europe/Brussels"),
    ("EET", "Europe/Athens"),
    ("WET", "Europe/Lisbon"),
    ("EST", "America/Panama"),
    ("MST", "America/Phoenix"),
    ("HST", "Pacific/Honolulu"),
];

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Zone {
    /// Of a name, whose offset changes.
    Named(Tz),
    /// An offset that stays.
    Fixed(FixedOffset),
}

impl Zone {
    pub(crate) const UTC: Self = Self::Fixed(FixedOffset::east_opt(0).expect("no offset is one"));

    /// What `AT TIME ZONE` and the texts of timestamps call it.
    ///
    /// # Errors
    /// If there is no such zone, or the name is an offset, which PostgreSQL counts westwards and ISO 8601 eastwards.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let name = name.trim();
        if name.starts_with(['+', '-']) || name.starts_with(|first: char| first.is_ascii_digit()) {
            return plan_err!(
                "the time zone '{name}' is not supported: as a text, PostgreSQL counts offsets to the west, and ISO 8601 to the east. \
                 Write AT TIME ZONE INTERVAL '2' HOUR for two hours to the east, or the zone's name, such as 'Europe/Berlin'"
            );
        }
        let upper = name.to_ascii_uppercase();
        if let Some((_, hours)) = ABBREVIATIONS.iter().find(|(known, _)| *known == upper) {
            return Self::of_offset((hours * 3_600.0) as i32);
        }
        match full_name(name) {
            Some(zone) => Ok(Self::Named(zone)),
            None => plan_err!("there is no time zone '{name}': it must be a name such as 'Europe/Berlin' or 'UTC'"),
        }
    }

    /// What `SET TIME ZONE` calls it: a name, an offset to the east, such as `+02:00`, or `LOCAL`, which is UTC.
    ///
    /// # Errors
    /// If there is no such zone.
    pub(crate) fn of_session(name: &str) -> Result<Self> {
        let name = name.trim();
        if name.starts_with(['+', '-']) {
            let minutes = if name.len() == 3 { ":00" } else { "" };
            return match format!("{name}{minutes}").parse::<FixedOffset>() {
                Ok(offset) => Ok(Self::Fixed(offset)),
                Err(_) => plan_err!("'{name}' is no offset, such as +02:00"),
            };
        }
        let upper = name.to_ascii_uppercase();
        if ["LOCAL", "DEFAULT"].contains(&upper.as_str()) {
            return Ok(Self::UTC);
        }
        match FULL_NAMES.iter().find(|(short, _)| *short == upper) {
            Some((_, full)) => Self::named(full),
            None => match full_name(name) {
                Some(_) => Self::named(name),
                None => plan_err!("there is no time zone '{name}'"),
            },
        }
    }

    /// An offset to the east, in seconds.
    ///
    /// # Errors
    /// If it is a day or more.
    pub(crate) fn of_offset(seconds: i32) -> Result<Self> {
        match FixedOffset::east_opt(seconds) {
            Some(offset) => Ok(Self::Fixed(offset)),
            None => plan_err!("a time zone is less than a day from UTC"),
        }
    }

    /// The zone that an argument of a function names; none if it is NULL.
    ///
    /// # Errors
    /// If it names none.
    pub(crate) fn of_value(value: &ScalarValue) -> Result<Option<Self>> {
        match value {
            ScalarValue::IntervalMonthDayNano(Some(interval)) => {
                let IntervalMonthDayNano { months: 0, days: 0, nanoseconds } = *interval else {
                    return plan_err!("a time zone is an interval of hours and minutes, not of days or months");
                };
                match i32::try_from(nanoseconds / NANOSECONDS) {
                    Ok(seconds) if nanoseconds % NANOSECONDS == 0 => Self::of_offset(seconds).map(Some),
                    _ => plan_err!("a time zone is an interval of whole seconds"),
                }
            }
            other => other.try_as_str().flatten().map(Self::named).transpose(),
        }
    }

    /// The argument that names it to a function.
    pub(crate) fn to_value(self) -> ScalarValue {
        match self {
            Self::Named(zone) => ScalarValue::Utf8(Some(zone.to_string())),
            Self::Fixed(offset) => {
                let nanoseconds = i64::from(offset.local_minus_utc()) * NANOSECONDS;
                ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months: 0, days: 0, nanoseconds }))
            }
        }
    }

    /// Whether local times are those of UTC.
    pub(crate) fn is_utc(self) -> bool {
        matches!(self, Self::Fixed(offset) if offset.local_minus_utc() == 0)
    }

    /// How far local clocks are to the east of UTC at a moment, both in seconds. None beyond the calendar.
    pub(crate) fn offset_at(self, utc_seconds: i64) -> Option<i64> {
        match self {
            Self::Fixed(offset) => Some(offset.local_minus_utc().into()),
            Self::Named(zone) => {
                let moment = DateTime::from_timestamp(near(utc_seconds)?, 0)?.naive_utc();
                Some(zone.offset_from_utc_datetime(&moment).fix().local_minus_utc().into())
            }
        }
    }

    /// How far they are when they show a time, by the rule of the module.
    pub(crate) fn offset_of_local(self, local_seconds: i64) -> Option<i64> {
        let zone = match self {
            Self::Fixed(offset) => return Some(offset.local_minus_utc().into()),
            Self::Named(zone) => zone,
        };
        let local_seconds = near(local_seconds)?;
        let shown = DateTime::from_timestamp(local_seconds, 0)?.naive_utc();
        let seconds = |offset: &<Tz as TimeZone>::Offset| i64::from(offset.fix().local_minus_utc());
        match zone.offset_from_local_datetime(&shown) {
            MappedLocalTime::Single(offset) => Some(seconds(&offset)),
            // The smaller offset is the one after clocks were turned back.
            MappedLocalTime::Ambiguous(one, other) => Some(seconds(&one).min(seconds(&other))),
            // In UTC, this is before the gap in every zone.
            MappedLocalTime::None => self.offset_at(local_seconds - EAST_MAX_SECONDS),
        }
    }
}

/// What parsers of timestamps ask for.
impl TimeZone for Zone {
    type Offset = FixedOffset;

    fn from_offset(offset: &FixedOffset) -> Self {
        Self::Fixed(*offset)
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<FixedOffset> {
        self.offset_from_local_datetime(&local.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        fixed(self.offset_of_local(local.and_utc().timestamp())).map_or(MappedLocalTime::None, MappedLocalTime::Single)
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
        self.offset_from_utc_datetime(&utc.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
        // Every value of chrono's calendar has an offset.
        fixed(self.offset_at(utc.and_utc().timestamp())).unwrap_or_else(|| chrono::Utc.fix())
    }
}

fn fixed(seconds: Option<i64>) -> Option<FixedOffset> {
    FixedOffset::east_opt(i32::try_from(seconds?).ok()?)
}

/// A zone of the database by its name, which may be written in small letters.
fn full_name(name: &str) -> Option<Tz> {
    let known = |name: &str| name.parse::<Tz>().ok();
    known(name).or_else(|| known(&name.to_ascii_uppercase())).or_else(|| {
        let mut starts = true;
        let titled = name.chars().map(|letter| {
            let titled = if starts { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
            starts = !letter.is_ascii_alphabetic();
            titled
        });
        known(&titled.collect::<String>())
    })
}

/// The same day and time in a year that the tables of zones have. Clocks change by weekdays of months, and these repeat.
fn near(seconds: i64) -> Option<i64> {
    if seconds < TABLES_END_SECONDS {
        return Some(seconds);
    }
    let begin = |year: i32| NaiveDate::from_ymd_opt(year, 1, 1);
    let year = DateTime::from_timestamp(seconds, 0)?.year();
    let first = begin(year)?;
    let alike = LAST_YEARS
        .filter_map(begin)
        .find(|candidate| candidate.weekday() == first.weekday() && candidate.leap_year() == first.leap_year())?;
    Some(seconds - first.signed_duration_since(alike).num_seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> i64 {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp()
    }

    #[test]
    fn local_times_have_the_offsets_that_postgresql_gives_them() {
        for (zone, local, expected) in [
            ("Europe/Berlin", "2026-01-15 12:00:00", 3_600),
            ("Europe/Berlin", "2026-03-29 01:59:59", 3_600),
            ("Europe/Berlin", "2026-03-29 02:30:00", 3_600),
            ("Europe/Berlin", "2026-03-29 03:00:00", 7_200),
            ("Europe/Berlin", "2026-10-25 01:59:59", 7_200),
            ("Europe/Berlin", "2026-10-25 02:00:00", 3_600),
            ("Europe/Berlin", "2026-10-25 02:59:59", 3_600),
            ("America/New_York", "2026-03-08 02:30:00", -18_000),
            ("America/New_York", "2026-11-01 01:30:00", -18_000),
            ("Pacific/Apia", "2011-12-30 12:00:00", -36_000),
            ("Europe/Moscow", "2014-10-26 01:30:00", 10_800),
            ("Europe/Berlin", "2150-07-01 12:00:00", 7_200),
            ("Europe/Berlin", "9999-12-31 12:00:00", 3_600),
            ("Europe/Berlin", "1850-01-01 00:00:00", 3_208),
            ("Etc/GMT+5", "2026-01-01 00:00:00", -18_000),
            ("cet", "2026-07-01 00:00:00", 3_600),
        ] {
            let zone = Zone::named(zone).unwrap();
            assert_eq!(zone.offset_of_local(seconds(local)), Some(expected), "{local}");
        }
    }

    #[test]
    fn names_are_known_or_refused() {
        for name in ["Europe/Berlin", "europe/berlin", "america/new_york", "utc", "EST", "pst", "Etc/GMT-3", "EST5EDT"]
        {
            assert!(Zone::named(name).is_ok(), "{name}");
        }
        for name in ["", "Mars/Olympus", "+02:00", "-8", "2", "Europe/Nowhere", "XYZ", "UTC+3", "IST"] {
            assert!(Zone::named(name).is_err(), "{name}");
        }
        assert!(Zone::named("utc").unwrap().is_utc());
        assert_eq!(Zone::of_session("+02:00").unwrap().offset_at(0), Some(7_200));
        assert_eq!(Zone::of_session("CET").unwrap().offset_at(seconds("2026-07-01 00:00:00")), Some(7_200));
        assert!(Zone::of_session("PST").is_err());
    }

    #[test]
    fn a_zone_survives_being_an_argument() {
        for zone in [Zone::named("Europe/Berlin").unwrap(), Zone::of_session("-03:30").unwrap(), Zone::UTC] {
            let again = Zone::of_value(&zone.to_value()).unwrap().unwrap();
            assert_eq!(again.offset_at(1_750_000_000), zone.offset_at(1_750_000_000));
        }
    }
}

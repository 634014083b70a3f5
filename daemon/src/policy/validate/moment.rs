//! `expires`: a date with a time and an offset, as RFC 3339 writes it.
//!
//! Knows the calendar. Does not ask what time it is: whoever loads files hands that in.

use toml::value::{Datetime, Offset};

use super::address::{Refused, refused};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Unix time in seconds; a fraction of a second is cut off, a leap second counts as the next one.
pub(super) fn moment(text: &str) -> Result<i64, Refused> {
    let wrong = |help: &str| refused(format!("`{text}` is not a moment")).help(help.to_owned());
    let example = "write date, time and offset: 2026-12-31T00:00:00Z or 2026-12-31T00:00:00+01:00";
    let Datetime { date, time, offset } = text.parse().map_err(|_grammar| wrong(example))?;
    let date = date.ok_or_else(|| wrong(example))?;
    let time = time.ok_or_else(|| wrong(&format!("a day is long: add the time and the offset, `{text}T00:00:00Z`")))?;
    let minutes = match offset {
        Some(Offset::Z) => 0,
        Some(Offset::Custom { minutes }) => i64::from(minutes),
        None => {
            let refusal = refused(format!("`{text}` does not say in which time zone"));
            return Err(refusal.help(format!("add the offset: `{text}Z` for UTC, or for example `{text}+01:00`")));
        }
    };
    let days = days_from_epoch(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let seconds = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0));
    Ok(days * DAY + seconds - minutes * 60)
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day is their last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let century = year.div_euclid(400);
    let year_of_century = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_century = year_of_century * 365 + year_of_century / 4 - year_of_century / 100 + day_of_year;
    century * 146_097 + day_of_century - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_offsets_and_leap_years_give_unix_time() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-12-31T00:00:00Z", 1_798_675_200),
            ("2026-12-31T00:00:00+01:00", 1_798_671_600),
            ("2026-12-31t00:00:00.999z", 1_798_675_200),
            ("2026-12-30T22:30:00-01:30", 1_798_675_200),
            ("0000-01-01T00:00:00Z", -62_167_219_200),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(moment(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn moment_without_zone_or_time_is_refused_with_help() {
        assert!(moment("2026-12-31T00:00:00").unwrap_err().message.contains("time zone"));
        assert!(moment("2026-12-31").unwrap_err().help.unwrap().contains("2026-12-31T00:00:00Z"));
        for bad in [
            "",
            "Z",
            "tomorrow",
            "00:00:00",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            " 2026-12-31T00:00:00Z",
        ] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}

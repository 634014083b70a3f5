//! Moments as policies write them (RFC 3339, UTC).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-12-31T00:00:00Z`, so many seconds from the last full second on; negative: ago.
pub fn in_seconds(seconds: i64) -> String {
    text(unix_seconds() + seconds)
}

/// Sleeps until a moment that [`in_seconds`] gave, called at `begin`, is over, and a little longer.
pub fn past(begin: SystemTime, seconds: u64) {
    let full = begin.duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs();
    let end = UNIX_EPOCH + Duration::from_secs(full + seconds) + Duration::from_millis(300);
    if let Ok(rest) = end.duration_since(SystemTime::now()) {
        std::thread::sleep(rest);
    }
}

fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(now.as_secs()).expect("seconds that fit")
}

fn text(unix: i64) -> String {
    let (year, month, day) = date(unix.div_euclid(86_400));
    let second = unix.rem_euclid(86_400);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Days since 1970-01-01 -> year, month, day, by walking: the days of a test are not many.
fn date(mut days: i64) -> (i64, i64, i64) {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month as i64 + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn moments_are_written_as_dates() {
        let seen = [text(0), text(951_782_400), text(1_798_761_599)];
        assert_eq!(seen, ["1970-01-01T00:00:00Z", "2000-02-29T00:00:00Z", "2026-12-31T23:59:59Z"]);
    }
}

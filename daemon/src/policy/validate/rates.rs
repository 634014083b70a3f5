//! Rates: `"200/s"` with a burst, as rules, `[policy.xdp]` and the log have them.

use super::address::{Refused, refused};
use super::words;
use crate::policy::model::{Limit, LimitPer, Rate, RateLimit};
use crate::schema::document::{RateBlock, RateLimitBlock};
use crate::schema::place::{At, Report, Span};

/// Units of a rate in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("s", SECOND),
    ("second", SECOND),
    ("m", 60 * SECOND),
    ("minute", 60 * SECOND),
    ("h", 3600 * SECOND),
    ("hour", 3600 * SECOND),
    ("d", DAY),
    ("day", DAY),
];
const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
/// Shortest time between two events: what one event costs is kept in whole nanoseconds.
const SHORTEST: u64 = 10;
/// Longest time in which a burst may come back.
const LONGEST: u64 = 365 * DAY;

/// `limit` of a rule.
pub(super) fn limit(block: &RateBlock, report: &mut Report) -> Option<Limit> {
    let kinds = [("rule", LimitPer::Rule), ("source", LimitPer::Source), ("destination", LimitPer::Destination)];
    let per = match &block.per {
        None => Some(LimitPer::Rule),
        Some(word) => words::choose(report, "per", word, &kinds),
    };
    let rate = rate(block, report);
    Some(Limit { rate: rate?, per: per? })
}

/// `{ rate, burst }`.
pub(super) fn rate(block: &RateBlock, report: &mut Report) -> Option<Rate> {
    one("burst", block.rate.as_ref(), block.burst.as_ref(), report)?
}

/// `rate_limit` of `[policy.xdp]`.
pub(super) fn rate_limit(block: &RateLimitBlock, report: &mut Report) -> Option<RateLimit> {
    if block.packets.is_none() && block.syns.is_none() && !report.has_error_in_table(block.span) {
        let help = "write for example `{ packets = \"10000/s\", syns = \"100/s\" }`, or take the key out";
        report.error(block.span, "`rate_limit` limits nothing").help(help);
        return None;
    }
    let packets = one("packets_burst", block.packets.as_ref(), block.packets_burst.as_ref(), report);
    let syns = one("syns_burst", block.syns.as_ref(), block.syns_burst.as_ref(), report);
    Some(RateLimit { packets: packets?, syns: syns? })
}

/// A rate with its burst; `Some(None)` where there is none.
fn one(burst_key: &str, rate: Option<&At<String>>, burst: Option<&At<i64>>, report: &mut Report) -> Option<Option<Rate>> {
    let Some(written) = rate else {
        let Some(burst) = burst else { return Some(None) };
        // `burst` stands beside `rate`, which the schema asks for.
        let of = burst_key.strip_suffix("_burst")?;
        report
            .error(burst.span, format!("`{burst_key}` without `{of}`"))
            .help("a burst is what a rate lets through at once; give the rate too");
        return None;
    };
    let mut rate = words::keep(report, written.span, self::per_time(&written.value))?;
    let mut span = written.span;
    if let Some(written) = burst {
        let Some(number) = u32::try_from(written.value).ok().filter(|number| *number > 0) else {
            let message = format!("`{burst_key} = {}` is out of range", written.value);
            report.error(written.span, message).help(format!("possible values: 1 to {}", u32::MAX));
            return None;
        };
        (rate.burst, span) = (number, written.span);
    }
    refuse_endless(&rate, span, report)?;
    Some(Some(rate))
}

/// A burst that takes longer than a year to come back is a mistake, and more than the programs count.
fn refuse_endless(rate: &Rate, span: Span, report: &mut Report) -> Option<()> {
    let longest = LONGEST / rate.cost();
    if u64::from(rate.burst) <= longest {
        return Some(());
    }
    let message = format!("a burst of {} takes more than a year to come back at this rate", rate.burst);
    report.error(span, message).help(format!("the largest burst at this rate is {longest}"));
    None
}

/// `"200/s"`, with the burst that it has where none is given: what comes in one unit of time.
fn per_time(text: &str) -> Result<Rate, Refused> {
    let wrong =
        || refused(format!("`{text}` is not a rate")).help("write a number and a time: \"200/s\", \"30/minute\", \"10/h\" or \"5/day\"");
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let period = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, period)| *period).filter(|_| digits).ok_or_else(wrong)?;
    let most = (period / SHORTEST).min(u32::MAX.into());
    match number.parse::<u32>() {
        Ok(0) => {
            Err(refused(format!("`{text}` lets nothing through")).help("the lowest rate is \"1/day\"; to match nothing, take the rule out"))
        }
        Ok(events) if u64::from(events) <= most => Ok(Rate { events, period, burst: events }),
        _ => Err(refused(format!("`{text}` is more than can be counted")).help(format!("the highest rate is \"{most}/{unit}\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_units_and_default_burst() {
        assert_eq!(per_time("200/s"), Ok(Rate { events: 200, period: SECOND, burst: 200 }));
        assert_eq!(per_time("200/second"), per_time("200/s"));
        assert_eq!(per_time("30/minute").unwrap().period, 60 * SECOND);
        assert_eq!(per_time("1/d"), Ok(Rate { events: 1, period: DAY, burst: 1 }));
        assert_eq!(per_time("100000000/s").unwrap().cost(), SHORTEST);
    }

    #[test]
    fn rate_wrong_spelling_is_refused() {
        for bad in [
            "",
            "/",
            "/s",
            "10",
            "10/",
            "10/w",
            "-1/s",
            "+1/s",
            "1.5/s",
            "10 /s",
            "10/s ",
            "10/S",
            "0/s",
            "100000001/s",
            "99999999999999999999/d",
            "4294967296/d",
            "1e3/s",
        ] {
            assert!(per_time(bad).is_err(), "{bad}");
        }
    }
}

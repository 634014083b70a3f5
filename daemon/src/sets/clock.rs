//! The two clocks: Unix time, in which lifetimes are kept over reboots, and boot time, which the programs read.
//!
//! Pure: whoever asks brings the readings.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in ms from which an element is no longer in its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry(u64);

impl Expiry {
    /// The element stays until somebody takes it out; later than every other time.
    pub const NEVER: Expiry = Expiry(u64::MAX);

    /// At a Unix time in ms.
    pub fn at(ms: u64) -> Expiry {
        Expiry(ms.min(u64::MAX - 1))
    }

    /// Unix time in ms; `None` = never.
    pub fn ms(self) -> Option<u64> {
        (self != Expiry::NEVER).then_some(self.0)
    }

    /// Whether it is over at a Unix time in ms.
    pub fn is_over(self, now: u64) -> bool {
        self.ms().is_some_and(|at| at <= now)
    }

    /// The same moment after the wall clock was set forward by `ms`.
    pub fn shifted(self, ms: i64) -> Expiry {
        self.ms().map_or(Expiry::NEVER, |at| Expiry::at(at.saturating_add_signed(ms)))
    }
}

/// How far Unix time is ahead of boot time. Both run equally fast; somebody may set the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// Unix time minus boot time, ms.
    offset: i64,
}

impl Clock {
    /// From a reading of both: now, and boot time in ns.
    pub fn new(now: SystemTime, boot: u64) -> Clock {
        let unix = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        Clock { offset: unix - (boot / 1_000_000) as i64 }
    }

    /// Unix time in ms at a boot time in ns.
    pub fn unix_ms(&self, boot: u64) -> u64 {
        (boot / 1_000_000).saturating_add_signed(self.offset)
    }

    /// Boot time in ns of a Unix time in ms; never 0, which means "no end" to the programs.
    pub fn boot_of(&self, ms: u64) -> u64 {
        ms.saturating_add_signed(self.offset.saturating_neg()).saturating_mul(1_000_000).max(1)
    }

    /// As the programs take it: boot time in ns, 0 = never.
    pub fn boot(&self, expiry: Expiry) -> u64 {
        expiry.ms().map_or(0, |ms| self.boot_of(ms))
    }

    /// The inverse of [`Clock::boot`].
    pub fn expiry(&self, boot: u64) -> Expiry {
        if boot == 0 { Expiry::NEVER } else { Expiry::at(self.unix_ms(boot)) }
    }

    /// By how many ms the wall clock was set since `former`.
    pub fn moved(&self, former: &Clock) -> i64 {
        self.offset - former.offset
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn boot_time_follows_the_wall_clock() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let clock = Clock::new(at(1000), 100_000_000_000);
        assert_eq!(clock.unix_ms(100_000_000_000), 1_000_000);
        assert_eq!(clock.boot(Expiry::at(1_060_000)), 160_000_000_000);
        assert_eq!(clock.boot(Expiry::NEVER), 0);
        assert_eq!(clock.boot(Expiry::at(3)), 1, "long over, and not `never`");
        assert_eq!(clock.expiry(clock.boot(Expiry::at(1_060_000))), Expiry::at(1_060_000));
        assert_eq!(clock.expiry(0), Expiry::NEVER);
        assert_eq!(Clock::new(at(4600), 100_000_000_000).moved(&clock), 3_600_000);
        assert_eq!(Expiry::at(1000).shifted(-400), Expiry::at(600));
        assert_eq!(Expiry::NEVER.shifted(-400), Expiry::NEVER);
        assert!(Expiry::at(5).is_over(5) && !Expiry::at(6).is_over(5) && !Expiry::NEVER.is_over(u64::MAX));
    }
}

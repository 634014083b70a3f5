//! What a daemon held over the time, the table of it, and whether it is flat.

use std::time::Duration;

use netpol_tests::held::Held;
use netpol_tests::say;

use crate::churn::Churn;

/// Samples of a whole run, about.
const SAMPLES: u32 = 240;
/// Lines of the table, and words on the way.
const LINES: usize = 16;

/// What is looked at, and how much more of it the last quarter may show than the second: a share of it, and so much.
type Column = (&'static str, fn(&Held) -> u64, u64, u64);
const COLUMNS: [Column; 6] = [
    ("memory KiB", |held| held.memory, 5, 2048),
    ("descriptors", |held| held.descriptors, 0, 3),
    ("threads", |held| held.threads, 0, 2),
    ("pins", |held| held.pins, 2, 2),
    ("maps", |held| held.maps, 2, 2),
    ("programs", |held| held.programs, 0, 2),
];

struct Sample {
    at: Duration,
    steps: u32,
    words: u64,
    sent: u64,
    held: Held,
}

/// Samples of one run.
pub struct Record {
    time: Duration,
    samples: Vec<Sample>,
    told: usize,
}

impl Record {
    /// Of a run of that length.
    pub fn new(time: Duration) -> Record {
        Record { time, samples: Vec::new(), told: 0 }
    }

    /// Takes a sample when it is time; says so a few times in all.
    pub fn sample(&mut self, at: Duration, churn: &Churn) {
        if self.samples.last().is_some_and(|last| at - last.at < self.time / SAMPLES) {
            return;
        }
        let (bench, (words, sent)) = (&churn.world().bench, churn.world().traffic());
        let held = Held::by(bench.daemon.process(), &bench.net.bpffs());
        self.samples.push(Sample { at, steps: churn.steps(), words, sent, held });
        let line = (at.as_secs_f64() / self.time.as_secs_f64() * LINES as f64) as usize;
        if line > self.told {
            self.told = line;
            say::aloud(&format!("soak: {:.0} of {:.0} s, {} steps, {held:?}", at.as_secs_f64(), self.time.as_secs_f64(), churn.steps()));
        }
    }

    /// The table.
    pub fn print(&self) {
        let names: Vec<String> = COLUMNS.iter().map(|(name, ..)| format!("{name:>12}")).collect();
        say::aloud(&format!("{:>8} {:>7} {:>10} {:>12} {}", "s", "steps", "words", "hostile", names.join("")));
        let every = self.samples.len().div_ceil(LINES).max(1);
        for sample in self.samples.iter().step_by(every) {
            let values: Vec<String> = COLUMNS.iter().map(|(_, value, ..)| format!("{:>12}", value(&sample.held))).collect();
            say::aloud(&format!(
                "{:>8.0} {:>7} {:>10} {:>12} {}",
                sample.at.as_secs_f64(),
                sample.steps,
                sample.words,
                sample.sent,
                values.join("")
            ));
        }
    }

    /// Median of a quarter (0 to 3); `None` where the run was cut short before it.
    fn median(&self, quarter: u32, value: fn(&Held) -> u64) -> Option<u64> {
        let (from, to) = (self.time / 4 * quarter, self.time / 4 * (quarter + 1));
        let inside = self.samples.iter().filter(|sample| (from..to).contains(&sample.at));
        let mut values: Vec<u64> = inside.map(|sample| value(&sample.held)).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    }

    /// Whether nothing has grown, with the figures.
    ///
    /// # Errors
    /// What has.
    pub fn verdict(&self) -> Result<String, String> {
        let (mut flat, mut grown) = (Vec::new(), Vec::new());
        for (name, value, share, more) in COLUMNS {
            let (Some(second), Some(last)) = (self.median(1, value), self.median(3, value)) else {
                return Ok("cut short: nothing to compare".into());
            };
            let line = format!("{name} {second} -> {last}");
            if last > second + second * share / 100 + more { grown.push(line) } else { flat.push(line) }
        }
        if grown.is_empty() { Ok(format!("flat: {}", flat.join(", "))) } else { Err(format!("grown: {}", grown.join(", "))) }
    }
}

//! The way of log lines to standard error, or of entries to the journal: once [`detach`] was called, by a thread of its own.
//!
//! A reader that is slow, stopped or gone (a pipe that is full, a journal that hangs) costs lines, which are counted; it never
//! holds up whoever logs, and so neither the daemon's loop nor its end. Knows nothing of what the lines say.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::Level;

use super::journald::{Journal, entry};

/// Bytes that may wait.
const MOST: usize = 1 << 20;
/// What a flood of logged packets may take of it: the rest is for what the daemon has to say itself.
const MOST_OF_PACKETS: usize = MOST / 2;

static QUEUE: OnceLock<Queue> = OnceLock::new();
/// Where everything goes instead of standard error.
static JOURNAL: OnceLock<Journal> = OnceLock::new();

/// What the logger writes into, one whole line (or more) a call, or one entry.
#[derive(Debug, Clone, Copy)]
pub struct Outlet;

impl Write for Outlet {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match QUEUE.get() {
            Some(queue) => queue.put(line),
            None => Sink.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where it all ends.
struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match JOURNAL.get() {
            Some(journal) => journal.send(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on each call of the logger is an entry for the journal. Called once, before anything is logged.
pub fn use_journal(journal: Journal) {
    JOURNAL.get_or_init(|| journal);
}

/// Says why the process ends, past the logger and its filters.
///
/// # Errors
/// Nobody is there to be told.
pub fn last_error(text: &str) -> io::Result<()> {
    match JOURNAL.get() {
        Some(_) => Outlet.write_all(&entry::of(Level::Error, module_path!(), text)),
        None => writeln!(Outlet, "error: {text}"),
    }
}

/// From now on nobody who logs waits for whoever reads.
///
/// # Errors
/// There is no thread to be had; all goes on as before.
pub fn detach() -> io::Result<()> {
    if QUEUE.get().is_none() {
        thread::Builder::new().name("log".into()).spawn(|| QUEUE.get_or_init(Queue::default).serve(&mut Sink))?;
        QUEUE.get_or_init(Queue::default);
    }
    Ok(())
}

/// Whether one more logged packet may go in. Where not, it is lost, and counted here.
pub fn takes_packets() -> bool {
    QUEUE.get().is_none_or(|queue| {
        let takes = queue.lock().bytes < MOST_OF_PACKETS;
        takes || {
            queue.lose();
            false
        }
    })
}

/// Lines that were lost since the start.
pub fn lost() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.lost.load(Ordering::Relaxed))
}

/// Waits until everything is written, and read where it goes to the journal, but no longer than that. `unread`: see
/// [`Journal::wait_until_read`].
pub fn flush(patience: Duration, unread: impl Fn(BorrowedFd<'_>) -> io::Result<usize>) {
    let end = Instant::now() + patience;
    if let Some(queue) = QUEUE.get() {
        queue.wait_until_empty(end);
    }
    if let Some(journal) = JOURNAL.get() {
        journal.wait_until_read(end, unread);
    }
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The thread has taken a line and is not done with it.
    writes: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn put(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes + line.len() > MOST {
            drop(waiting);
            return self.lose();
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.to_vec());
        drop(waiting);
        self.changed.notify_all();
    }

    /// The thread: writes whatever comes, and then tells what was lost.
    fn serve(&self, to: &mut dyn Write) {
        let mut told = 0;
        loop {
            let line = self.take();
            if to.write_all(&line).is_err() {
                self.lose();
            }
            let lost = self.lost.load(Ordering::Relaxed);
            // Past the queue: a notice that is lost as well must not be a line that is lost.
            let room = self.lock().bytes < MOST_OF_PACKETS;
            if lost > told && room && to.write_all(&notice(lost - told)).is_ok() {
                told = lost;
            }
            self.done();
        }
    }

    fn take(&self) -> Vec<u8> {
        let mut waiting = self.lock();
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                waiting.bytes -= line.len();
                waiting.writes = true;
                return line;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self) {
        self.lock().writes = false;
        self.changed.notify_all();
    }

    fn wait_until_empty(&self, end: Instant) {
        let mut waiting = self.lock();
        while waiting.writes || !waiting.lines.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn notice(lost: u64) -> Vec<u8> {
    let text = format!("{lost} lines of this log were lost: nobody took them in time");
    match JOURNAL.get() {
        Some(_) => entry::of(Level::Warn, "netpol_ebpf::report", &text),
        None => format!("[WARN  netpol_ebpf::report] {text}\n").into_bytes(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Takes a line only when somebody receives it.
    struct Reader(SyncSender<Vec<u8>>);

    impl Write for Reader {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn served() -> (Arc<Queue>, Receiver<Vec<u8>>) {
        let (send, lines) = sync_channel(0);
        let queue = Arc::new(Queue::default());
        let serving = Arc::clone(&queue);
        thread::spawn(move || serving.serve(&mut Reader(send)));
        (queue, lines)
    }

    #[test]
    fn lines_arrive_in_their_order() {
        let (queue, lines) = served();
        (0..100u8).for_each(|n| queue.put(&[n]));
        assert!((0..100u8).all(|n| lines.recv().unwrap() == [n]));
        queue.wait_until_empty(Instant::now() + Duration::from_secs(10));
        assert_eq!((queue.lost.load(Ordering::Relaxed), queue.lock().bytes), (0, 0));
    }

    #[test]
    fn reader_that_takes_nothing_holds_up_nobody_and_what_is_lost_is_counted() {
        let (queue, lines) = served();
        let line = vec![b'x'; 1024];
        (0..3000).for_each(|_| queue.put(&line));
        let lost = queue.lost.load(Ordering::Relaxed);
        // One line may be in the thread's hands.
        assert!((3000 - 1025..=3000 - 1024).contains(&lost), "{lost}");
        assert!(queue.lock().bytes <= MOST);
        queue.wait_until_empty(Instant::now() + Duration::from_millis(50));
        let mut notices = 0;
        let mut next = || loop {
            let line = lines.recv_timeout(Duration::from_secs(10)).unwrap();
            if !line.ends_with(b"in time\n") {
                return line;
            }
            notices += 1;
        };
        assert!((lost..3000).all(|_| next() == line), "what was taken in comes out");
        queue.put(b"and it goes on");
        assert_eq!(next(), b"and it goes on");
        assert_eq!(notices, 1, "and what was not is told, once");
    }

    #[test]
    fn reader_that_is_gone_costs_lines_and_nothing_else() {
        let (queue, lines) = served();
        drop(lines);
        (0..10).for_each(|_| queue.put(b"line"));
        queue.wait_until_empty(Instant::now() + Duration::from_secs(10));
        assert_eq!(queue.lost.load(Ordering::Relaxed), 10);
    }
}

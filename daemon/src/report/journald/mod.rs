//! journald's native protocol: whether standard error is the journal, the socket, and ([`entry`]) what goes through it.
//!
//! Knows systemd.exec(5) (`JOURNAL_STREAM`) and the path of the socket. Knows no queue and no thread: that a journal which reads
//! nothing holds up nobody is the outlet's business.

pub mod entry;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Where journald listens for entries with fields.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Between two looks at what it has read.
const MOMENT: Duration = Duration::from_millis(10);

/// A way to the journal. One datagram is one entry.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// The journal that standard error is connected to; `None` where it is connected to something else.
    ///
    /// # Errors
    /// It is the journal, and its socket cannot be reached.
    pub fn of_standard_error() -> Option<io::Result<Journal>> {
        let told = std::env::var("JOURNAL_STREAM").ok()?;
        is_stream(&told, io::stderr()).then(|| Journal::at(Path::new(SOCKET)))
    }

    fn at(path: &Path) -> io::Result<Journal> {
        // Only to see that somebody listens there.
        UnixDatagram::unbound()?.connect(path)?;
        Ok(Journal { socket: UnixDatagram::unbound()?, path: path.to_owned() })
    }

    /// Sends an entry whole; waits as long as the journal's queue is full.
    ///
    /// # Errors
    /// Nobody listens, or the entry is too large. The path is asked each time: the next entry finds a journal that came back.
    pub fn send(&self, entry: &[u8]) -> io::Result<usize> {
        self.socket.send_to(entry, &self.path)
    }

    /// Waits until journald has read what was sent, but not after `end`. It asks /proc whose an entry is, so whoever has ended by then has
    /// said it in the name of no unit. `unread` tells how many bytes of a socket nobody has read yet.
    pub fn wait_until_read(&self, end: Instant, unread: impl Fn(BorrowedFd<'_>) -> io::Result<usize>) {
        loop {
            let waits = unread(self.socket.as_fd()).is_ok_and(|bytes| bytes > 0);
            // Also where nothing waits: it was read a moment ago.
            thread::sleep(MOMENT);
            if !waits || Instant::now() >= end {
                return;
            }
        }
    }
}

/// Whether a descriptor is the stream that `JOURNAL_STREAM` names: `DEVICE:INODE`, in decimal. Whoever starts a program with its
/// standard error elsewhere leaves the variable as it is.
fn is_stream(told: &str, descriptor: impl AsFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(descriptor) else { return false };
    told == format!("{}:{}", stat.st_dev, stat.st_ino)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn standard_error_is_the_journal_where_device_and_inode_agree() {
        let (ours, other) = UnixStream::pair().unwrap();
        let name = |of: &UnixStream| rustix::fs::fstat(of).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino)).unwrap();
        assert!(is_stream(&name(&ours), &ours));
        assert!(!is_stream(&name(&other), &ours), "another stream");
        let inode = name(&ours).split_once(':').unwrap().1.to_owned();
        for told in
            [String::new(), ":".into(), inode.clone(), format!(":{inode}"), format!("1{}", name(&ours)), format!("{}0", name(&ours))]
        {
            assert!(!is_stream(&told, &ours), "{told}");
        }
    }

    #[test]
    fn end_waits_for_a_journal_that_reads_and_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let reader = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        let seconds = |seconds| Instant::now() + Duration::from_secs(seconds);
        journal.send(b"one").unwrap();
        let begin = Instant::now();
        journal.wait_until_read(begin + 5 * MOMENT, crate::kernel::unread);
        assert!(begin.elapsed() >= 5 * MOMENT, "nobody reads");
        let reading = thread::spawn(move || {
            thread::sleep(10 * MOMENT);
            reader.recv(&mut [0; 8]).map(|_| reader)
        });
        journal.wait_until_read(seconds(60), crate::kernel::unread);
        assert!(begin.elapsed() >= 10 * MOMENT && begin.elapsed() < Duration::from_secs(30), "read after {:?}", begin.elapsed());
        reading.join().unwrap().unwrap();
    }

    #[test]
    fn journal_that_is_gone_costs_entries_and_one_that_came_back_gets_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        assert!(Journal::at(&path).is_err(), "nobody was ever there");
        let first = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        let got = |socket: &UnixDatagram| {
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        };
        journal.send(b"one").unwrap();
        assert_eq!(got(&first), b"one");
        drop(first);
        assert_eq!(journal.send(b"two").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(journal.send(b"three").unwrap_err().kind(), io::ErrorKind::NotFound);
        let second = UnixDatagram::bind(&path).unwrap();
        journal.send(b"four").unwrap();
        assert_eq!(got(&second), b"four");
    }
}

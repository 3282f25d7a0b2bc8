//! Lines of the log on their way to stderr, gathered: at several lines for each event, a write of its own for each would be
//! a good part of all work.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// Longest time that a line waits. What kills the process takes the waiting ones with it.
const LONGEST_WAIT: Duration = Duration::from_millis(10);
/// Bytes of waiting lines from which on whoever adds one writes them, and so waits for a slow reader of the log.
const MAX_WAITING: usize = 1024 * 1024;

/// The lines that wait, and where they are written. Warnings and errors do not wait.
#[derive(Clone)]
pub(crate) struct LogLines(Arc<Shared>);

struct Shared {
    waiting: Mutex<Vec<u8>>,
    filled: Condvar,
    out: Mutex<Out>,
}

struct Out {
    to: Box<dyn Write + Send>,
    /// What is being written; empty in between, and kept for its memory.
    taken: Vec<u8>,
}

/// The writer of one line.
pub(crate) struct LineWriter<'a> {
    lines: &'a LogLines,
    is_urgent: bool,
}

impl LogLines {
    /// Starts the thread that writes what has waited. Fails when the system has no thread left.
    pub(crate) fn start(to: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self::new(to);
        let waiting = lines.clone();
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || {
            loop {
                waiting.wait();
                thread::sleep(LONGEST_WAIT);
                waiting.flush();
            }
        })?;
        Ok(lines)
    }

    fn new(to: impl Write + Send + 'static) -> Self {
        let out = Mutex::new(Out { to: Box::new(to), taken: Vec::new() });
        Self(Arc::new(Shared { waiting: Mutex::default(), filled: Condvar::new(), out }))
    }

    /// Waits until there is a line.
    fn wait(&self) {
        let waiting = lock(&self.0.waiting);
        drop(self.0.filled.wait_while(waiting, |waiting| waiting.is_empty()).unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes all lines that wait. A log that nobody reads any more is no error.
    pub(crate) fn flush(&self) {
        // Taken in the lock of the output, so that the lines keep their order.
        let mut out = lock(&self.0.out);
        let Out { to, taken } = &mut *out;
        mem::swap(&mut *lock(&self.0.waiting), taken);
        let _ = to.write_all(taken).and_then(|()| to.flush());
        taken.clear();
    }

    /// Adds a line. True when too many wait.
    fn add(&self, line: &[u8]) -> bool {
        let mut waiting = lock(&self.0.waiting);
        if waiting.is_empty() {
            self.0.filled.notify_one();
        }
        waiting.extend_from_slice(line);
        waiting.len() >= MAX_WAITING
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter { lines: self, is_urgent: true }
    }

    fn make_writer_for(&'a self, line: &tracing::Metadata<'_>) -> Self::Writer {
        LineWriter { lines: self, is_urgent: *line.level() <= Level::WARN }
    }
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let are_too_many = self.lines.add(line);
        if self.is_urgent || are_too_many {
            self.lines.flush();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Passes on what is written.
    struct Written(mpsc::Sender<String>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(lines: &LogLines, what: impl FnOnce()) {
        let subscriber = tracing_subscriber::fmt().without_time().with_writer(lines.clone()).finish();
        tracing::subscriber::with_default(subscriber, what);
    }

    fn after(lines: &str) -> Vec<&str> {
        lines.lines().filter_map(|line| line.rsplit(' ').next()).collect()
    }

    #[test]
    fn lines_are_written_together_after_a_short_wait() {
        let (sender, written) = mpsc::channel();
        let lines = LogLines::new(Written(sender));
        log(&lines, || {
            tracing::info!("one");
            tracing::info!("two");
        });
        assert!(written.try_recv().is_err(), "they wait");
        lines.flush();
        assert_eq!(after(&written.try_recv().expect("a write")), ["one", "two"]);
    }

    #[test]
    fn a_line_that_waits_is_written_without_another_one() {
        let (sender, written) = mpsc::channel();
        let lines = LogLines::start(Written(sender)).expect("a thread");
        for line in ["one", "two"] {
            log(&lines, || tracing::info!("{line}"));
            let line_written = written.recv_timeout(Duration::from_secs(10)).expect("it is written");
            assert_eq!(after(&line_written), [line]);
        }
    }

    #[test]
    fn a_warning_is_written_at_once_behind_what_was_logged_before() {
        let (sender, written) = mpsc::channel();
        let lines = LogLines::new(Written(sender));
        log(&lines, || {
            tracing::info!("before");
            tracing::warn!("warning");
        });
        assert_eq!(after(&written.try_recv().expect("a write")), ["before", "warning"]);
    }

    #[test]
    fn lines_beyond_a_mebibyte_do_not_wait() {
        let (sender, written) = mpsc::channel();
        let lines = LogLines::new(Written(sender));
        let long = "x".repeat(MAX_WAITING / 2);
        log(&lines, || {
            tracing::info!("{long}");
            assert!(written.try_recv().is_err(), "it waits");
            tracing::info!("{long}");
        });
        assert!(written.try_recv().expect("a write").len() > MAX_WAITING);
    }
}

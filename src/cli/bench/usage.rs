//! What processes and the machine use, as Linux counts it in `/proc`.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// CPU time of a process since its start, in user mode and in the kernel.
pub(super) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let text = read(&format!("/proc/{pid}/stat"))?;
    ticks(&text).map(time_of).context("a process's times in /proc are not as proc(5) describes them")
}

/// Bytes of memory that a process has in use.
pub(super) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let text = read(&format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map(|kib: u64| kib * 1024).context("/proc says nothing of a process's memory")
}

/// Time that all cores together have been busy since the machine's start.
pub(super) fn busy_time() -> anyhow::Result<Duration> {
    let text = read("/proc/stat")?;
    busy_ticks(&text).map(time_of).context("the machine's times in /proc are not as proc(5) describes them")
}

/// Number of cores that this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {path}, which only Linux has"))
}

/// The fields `utime` and `stime` of `/proc/PID/stat`. The name before them may have spaces and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_whitespace().skip(11);
    Some(times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?)
}

/// All fields of the first line of `/proc/stat` but `idle` and `iowait`, and those of guests, which `user` includes.
fn busy_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6, 7].map(|at| fields.get(at).copied());
    busy.into_iter().sum()
}

fn time_of(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_has_parentheses_has_its_times() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1000 200";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("42 (a) S 1"), None);
    }

    #[test]
    fn the_machine_is_not_busy_while_it_waits() {
        assert_eq!(busy_ticks("cpu  100 1 20 9000 500 3 4 5 70 0\ncpu0 1 1 1"), Some(133));
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(resident_bytes(std::process::id()).unwrap() > 1 << 20);
        assert!(cpu_time(std::process::id()).is_ok() && busy_time().unwrap() > Duration::ZERO);
    }
}

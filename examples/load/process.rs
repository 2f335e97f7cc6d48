//! The server's own cost, from /proc: CPU time and resident memory.

use crate::Fault;
use std::{fs, time::Duration};

/// Linux counts CPU time in hundredths of a second wherever it shows it.
const TICK: Duration = Duration::from_millis(10);

/// What processes have used so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident: u64,
}

/// The sum over `pids` and their children.
pub(crate) fn usage(pids: &[u32]) -> Result<Usage, Fault> {
    let mut sum = Usage::default();
    for pid in pids {
        let own = of(*pid).ok_or_else(|| format!("--pid {pid}: no such process here"))?;
        sum.cpu += own.1.cpu;
        sum.resident += own.1.resident;
    }
    let processes = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for (parent, child) in numbers.filter_map(of) {
        if pids.contains(&parent) {
            sum.cpu += child.cpu;
            sum.resident += child.resident;
        }
    }
    Ok(sum)
}

fn of(pid: u32) -> Option<(u32, Usage)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; fields are counted behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u32 = fields.get(11)?.parse::<u32>().ok()? + fields.get(12)?.parse::<u32>().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: u64 =
        resident.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    Some((fields.get(1)?.parse().ok()?, Usage { cpu: TICK * ticks, resident: kilobytes * 1024 }))
}

//! Memory of this machine.

use std::sync::LazyLock;
use sysinfo::System;

/// Bytes that this process can have: those of the machine, or of its container or `ulimit -v` where
/// that is less.
pub fn available() -> u64 {
    static AVAILABLE: LazyLock<u64> = LazyLock::new(|| {
        let mut system = System::new();
        system.refresh_memory();
        let machine = Some(system.total_memory());
        let container = system.cgroup_limits().map(|limits| limits.total_memory);
        let limits = [machine, container, address_space()];
        // Zero is said where it is not known.
        let known = limits.into_iter().flatten().filter(|bytes| *bytes > 0);
        known.min().unwrap_or(u64::MAX)
    });
    *AVAILABLE
}

#[cfg(unix)]
fn address_space() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call writes the limit to `limit` and nothing else.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) };
    (asked == 0).then_some(limit.rlim_cur)
}

#[cfg(not(unix))]
fn address_space() -> Option<u64> {
    None
}

/// Bytes as a person reads them: `24.6 GB`.
pub fn readable(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"];
    let power = (bytes.max(1).ilog10() / 3) as usize;
    match power {
        0 => format!("{bytes} bytes"),
        _ => format!(
            "{:.1} {}",
            bytes as f64 / 1000_f64.powi(power as i32),
            UNITS[power]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!(readable(0), "0 bytes");
        assert_eq!(readable(999), "999 bytes");
        assert_eq!(readable(24_600_000_000), "24.6 GB");
        assert_eq!(readable(u64::MAX), "18.4 EB");
    }
}

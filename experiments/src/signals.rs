//! Ctrl-C, a request to terminate, a closed terminal.

use signal_hook::{consts, flag};
use std::sync::{Arc, LazyLock, atomic::AtomicBool};

/// Signals that ask a process to end.
const REQUESTS: &[i32] = &[
    consts::SIGINT,
    consts::SIGTERM,
    #[cfg(unix)]
    consts::SIGHUP,
];

/// A flag that is set when the process is asked to end: whoever works then finishes
/// the step in progress, saves and returns. Asked again, the process ends at once.
///
/// A signal that is ignored when the program starts (SIGHUP under `nohup`) stays ignored.
pub(super) fn stop_flag() -> &'static AtomicBool {
    static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
        let stop = Arc::new(AtomicBool::new(false));
        for &signal in REQUESTS.iter().filter(|signal| !is_ignored(**signal)) {
            // Without signals, a run goes on from its last saved state. The first looks at the
            // flag before the second sets it.
            let _ = flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop));
            let _ = flag::register(signal, Arc::clone(&stop));
        }
        stop
    });
    &STOP
}

#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: a sigaction is plain data, for which zeros are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action the call only writes the present one to `action`.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

#[cfg(not(unix))]
fn is_ignored(_: i32) -> bool {
    false
}

//! Signals that whoever started the tests ignores, as shells do for what they start in the
//! background.

/// Lets the programs that a test starts heed the signals that end programs.
pub fn heed() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        // SAFETY: no handler is installed, so that nothing of this process can run in one.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

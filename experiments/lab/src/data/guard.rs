//! Decoders of other people's making, run so that a panic inside them is an error.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What `decode` returns, or the message of its panic. Nothing is printed.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                hook(info);
            }
        }));
    });
    let before = GUARDED.replace(true);
    // What was being decoded is dropped with the panic: nobody sees it half done.
    let result = panic::catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(before);
    result.map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned());
        let message = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let message = message.unwrap_or_else(|| "no message".to_owned());
        format!("its decoder failed inside ({message})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_a_result_stays_itself() {
        assert_eq!(guarded(|| 3), Ok(3));
        let index = std::hint::black_box(7);
        let message = guarded(|| [1, 2, 3][index]).expect_err("outside");
        assert!(message.contains("index out of bounds"), "{message}");
        let message = guarded(|| panic!("five of {index}")).map(|(): ()| ());
        assert!(message.expect_err("a panic").contains("five of 7"));
        assert!(!GUARDED.get());
    }
}

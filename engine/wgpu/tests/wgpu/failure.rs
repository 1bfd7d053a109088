//! A device that is lost.

use crate::{assert_close, device, network, step};
use engine::{backend::Backend, tape::Tape};
use std::sync::Arc;

#[test]
fn a_lost_device_is_reported_and_the_cpu_goes_on_with_the_right_results() {
    let Some(backend) = device() else { return };
    let backend = Arc::new(backend);
    let (params, weight) = network();
    let mut tape = Tape::new();
    tape.set_backend(backend.clone());
    let before = step(&mut tape, &params, weight);
    backend.destroy();
    let after = step(&mut tape, &params, weight);
    let message = backend.failure().expect("a failure");
    assert!(message.starts_with("the device is lost"), "{message}");
    assert_eq!(message.lines().count(), 1);
    assert_close(&after.0, &before.0);
    assert_close(&after.1, &before.1);
}

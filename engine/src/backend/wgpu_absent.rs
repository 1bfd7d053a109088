//! What stands for the devices in a build without them.

use super::{Adapter, Backend, DeviceError, Options};
use std::sync::Arc;

/// The devices that could be opened, the one to be used first.
///
/// # Errors
/// Always [`DeviceError::NotBuilt`].
pub fn adapters() -> Result<Vec<Adapter>, DeviceError> {
    Err(DeviceError::NotBuilt)
}

/// Opens the first of [`adapters`].
///
/// # Errors
/// Always [`DeviceError::NotBuilt`].
pub fn open(_: &Options) -> Result<Arc<dyn Backend>, DeviceError> {
    Err(DeviceError::NotBuilt)
}

//! Which backend a command works with.

use crate::config::Precision;
use engine::backend::{Adapter, Backend, Bf16Backend, CpuBackend, DeviceError, Options};
use std::{env, fmt, path::PathBuf, sync::Arc};

/// Choice of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The processor.
    Cpu,
    /// A GPU, or nothing.
    Gpu,
    /// A GPU where one can be had, the processor otherwise.
    Auto,
}

/// A backend that was opened.
#[derive(Clone)]
pub struct Selected {
    /// The backend.
    pub backend: Arc<dyn Backend>,
    /// `true` if a failing device ends the work. If not, the processor takes over.
    pub required: bool,
    /// Notes for the user: why it is not a GPU, or what was odd about it.
    pub notes: Vec<String>,
}

impl Default for Selected {
    /// The processor.
    fn default() -> Self {
        Self {
            backend: Arc::new(CpuBackend),
            required: false,
            notes: Vec::new(),
        }
    }
}

impl fmt::Debug for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selected")
            .field("backend", &self.backend.name())
            .field("required", &self.required)
            .field("notes", &self.notes)
            .finish()
    }
}

impl Selected {
    /// Opens what was asked for. An adapter that the processor itself plays is not worth
    /// tuning for; measurements of others are kept in the user's cache.
    ///
    /// # Errors
    /// [`DeviceError`] if a GPU was asked for and there is none.
    pub fn open(choice: Choice, options: Options) -> Result<Self, DeviceError> {
        if choice == Choice::Cpu {
            return Ok(Self::default());
        }
        let options = Options {
            tuning: !options.software,
            cache: cache_directory(),
            ..options
        };
        match open(&options) {
            Ok(backend) => Ok(Self {
                notes: backend.warning().into_iter().collect(),
                required: choice == Choice::Gpu,
                backend,
            }),
            Err(error) if choice == Choice::Auto => Ok(Self {
                notes: vec![format!("{error}; this time the CPU computes everything")],
                ..Self::default()
            }),
            Err(error) => Err(error),
        }
    }

    /// The backend of products in this precision; those of bf16 are the processor's.
    pub fn at(&self, precision: Precision) -> Arc<dyn Backend> {
        match precision {
            Precision::F32 => Arc::clone(&self.backend),
            Precision::Bf16 => Arc::new(Bf16Backend),
        }
    }

    /// A device that has failed.
    ///
    /// # Errors
    /// The message of a device that was required; otherwise returns what to tell the user.
    pub fn failure(&self) -> Result<Option<String>, String> {
        match self.backend.failure() {
            Some(message) if self.required => Err(message),
            Some(message) => Ok(Some(format!("{message}; the CPU goes on alone"))),
            None => Ok(None),
        }
    }

    /// Name of what has made the results in this precision: the backend and, if its device has
    /// failed, the CPU after it.
    pub fn made_by(&self, precision: Precision) -> String {
        let backend = self.at(precision);
        match backend.failure() {
            Some(_) => format!("{}, then cpu", backend.name()),
            None => backend.name().to_owned(),
        }
    }
}

/// Adapters of devices, the one to be used first.
///
/// # Errors
/// [`DeviceError::NoAdapter`], or [`DeviceError::NotBuilt`] without the feature `wgpu`.
pub fn adapters() -> Result<Vec<Adapter>, DeviceError> {
    #[cfg(feature = "wgpu")]
    return engine_wgpu::adapters();
    #[cfg(not(feature = "wgpu"))]
    Err(DeviceError::NotBuilt)
}

#[cfg(feature = "wgpu")]
fn open(options: &Options) -> Result<Arc<dyn Backend>, DeviceError> {
    Ok(Arc::new(engine_wgpu::WgpuBackend::open(options)?))
}

#[cfg(not(feature = "wgpu"))]
fn open(_: &Options) -> Result<Arc<dyn Backend>, DeviceError> {
    Err(DeviceError::NotBuilt)
}

/// Where measurements of adapters are kept: a directory of the user's cache.
fn cache_directory() -> Option<PathBuf> {
    let from = |name: &str| env::var_os(name).filter(|path| !path.is_empty());
    let home = || from("HOME").map(PathBuf::from);
    let caches = match env::consts::OS {
        "windows" => from("LOCALAPPDATA").map(PathBuf::from),
        "macos" => home().map(|home| home.join("Library/Caches")),
        _ => from("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| home().map(|home| home.join(".cache"))),
    };
    Some(caches?.join("hyper-connections"))
}

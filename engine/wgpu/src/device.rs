//! Finding and opening an adapter; what goes wrong with it later.

use crate::kernel::{TILES, Tile};
use engine::backend::{Adapter, DeviceError};
use std::{
    cell::Cell,
    fmt::Display,
    future::Future,
    panic::{self, AssertUnwindSafe},
    pin::pin,
    sync::{Arc, Mutex, Once},
    task::{Context, Poll, Waker},
};

/// Something on the device went wrong; what is in the device's [`Failure`].
#[derive(Debug)]
pub(super) struct Failed;

/// The first of all errors.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<Mutex<Option<String>>>);

impl Failure {
    pub fn set(&self, message: impl Into<String>) {
        let mut failure = self.0.lock().expect("no holder panics");
        failure.get_or_insert_with(|| message.into());
    }

    pub fn get(&self) -> Option<String> {
        self.0.lock().expect("no holder panics").clone()
    }

    pub fn is_set(&self) -> bool {
        self.0.lock().expect("no holder panics").is_some()
    }
}

/// An open device.
pub(super) struct Opened {
    pub adapter: Adapter,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub failure: Failure,
}

/// On native systems the futures of wgpu are ready at once.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("native futures of wgpu are ready at once"),
    }
}

/// All adapters, the one to be used first: GPUs before the CPU itself.
fn found() -> Vec<(wgpu::Adapter, Adapter)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let mut adapters = ready(instance.enumerate_adapters(backends));
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::VirtualGpu => 1,
        wgpu::DeviceType::IntegratedGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    let described = |adapter: wgpu::Adapter| {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let description = Adapter {
            name: info.name,
            api: info.backend.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => "discrete GPU",
                wgpu::DeviceType::VirtualGpu => "virtual GPU",
                wgpu::DeviceType::IntegratedGpu => "integrated GPU",
                wgpu::DeviceType::Other => "unknown",
                wgpu::DeviceType::Cpu => "CPU",
            }
            .into(),
            software: info.device_type == wgpu::DeviceType::Cpu,
            max_buffer: limits.max_buffer_size,
            max_binding: limits.max_storage_buffer_binding_size,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            workgroup_size: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x),
        };
        (adapter, description)
    };
    adapters.into_iter().map(described).collect()
}

/// The devices that could be opened, the one to be used first.
///
/// # Errors
/// [`DeviceError::NoAdapter`].
pub fn adapters() -> Result<Vec<Adapter>, DeviceError> {
    let adapters: Vec<Adapter> = found().into_iter().map(|(_, adapter)| adapter).collect();
    match adapters.is_empty() {
        true => Err(DeviceError::NoAdapter),
        false => Ok(adapters),
    }
}

impl Opened {
    pub fn open(software: bool) -> Result<Self, DeviceError> {
        let (handle, adapter) = found().into_iter().next().ok_or(DeviceError::NoAdapter)?;
        let name = adapter.name.clone();
        if adapter.software && !software {
            return Err(DeviceError::OnlySoftware { name });
        }
        if !runs(&adapter, &TILES[0]) {
            return Err(DeviceError::Limits { name });
        }
        let request = wgpu::DeviceDescriptor {
            label: Some("matrix products"),
            required_limits: handle.limits(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = match guarded(|| ready(handle.request_device(&request))) {
            Some(Ok(opened)) => opened,
            Some(Err(error)) => {
                let reason = error.to_string();
                return Err(DeviceError::Open { name, reason });
            }
            None => {
                let reason = "its driver fails".into();
                return Err(DeviceError::Open { name, reason });
            }
        };
        let failure = Failure::default();
        let lost = failure.clone();
        device.set_device_lost_callback(move |_, message| lost.set(lost_for(&message)));
        let errors = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            errors.set(match &error {
                wgpu::Error::OutOfMemory { .. } => "out of device memory".to_owned(),
                other => one_line("the device refuses", &other.to_string()),
            });
        }));
        Ok(Self {
            adapter,
            device,
            queue,
            failure,
        })
    }

    pub fn encoder(&self) -> wgpu::CommandEncoder {
        let descriptor = wgpu::CommandEncoderDescriptor::default();
        self.device.create_command_encoder(&descriptor)
    }

    /// Waits until the device has done a submission and all before it.
    pub fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<(), Failed> {
        let poll = wgpu::PollType::Wait {
            submission_index: Some(submission),
            timeout: None,
        };
        let polled = guarded(|| self.device.poll(poll));
        let polled = self.checked(polled.ok_or("it does not answer"))?;
        self.checked(polled)?;
        match self.failure.is_set() {
            true => Err(Failed),
            false => Ok(()),
        }
    }

    /// Takes note of an error.
    pub fn checked<T, E: Display>(&self, result: Result<T, E>) -> Result<T, Failed> {
        result.map_err(|error| {
            self.failure.set(lost_for(&error.to_string()));
            Failed
        })
    }
}

thread_local! {
    /// True while a panic of this thread would be one of wgpu.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// `None` if wgpu panics, which wgpu 30 does where a device is lost while it is waited for
/// (`Device::poll` returns an error only for a time-out) and where memory runs out while it is
/// opened. The hook of panics says nothing about it: [`Failure`] does.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                hook(info);
            }
        }));
    });
    GUARDED.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    done.ok()
}

/// Message on a lost device for which wgpu gives this reason.
fn lost_for(reason: &str) -> String {
    match reason.trim().to_lowercase().as_str() {
        "device is lost" => "the device is lost".into(),
        "out of memory" => "out of device memory".into(),
        _ => one_line("the device is lost", reason),
    }
}

fn one_line(what: &str, message: &str) -> String {
    match message.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => format!("{what}: {line}"),
        None => what.to_owned(),
    }
}

/// Returns whether the limits of an adapter suffice for a tile.
pub(super) fn runs(adapter: &Adapter, tile: &Tile) -> bool {
    tile.memory() <= adapter.workgroup_memory && tile.invocations() <= adapter.workgroup_size
}

//! A Vulkan layer between the loader and the driver that makes calls fail, so that a lost
//! device and a full one can be tested with a driver that never is.
//!
//! `VULKAN_FAULT=wait:N` loses the device in the N-th wait for it, `memory:N` has no memory for
//! the N-th buffer, both for good. Tests compile this file by themselves
//! (`mod.rs`). Structures are those of `vk_layer.h`, as far as they are read.

use std::{
    env,
    ffi::{CStr, c_char, c_void},
    mem::transmute,
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering::SeqCst},
};

type Handle = *mut c_void;
type Function = Option<unsafe extern "system" fn()>;
type GetProcAddr = unsafe extern "system" fn(Handle, *const c_char) -> Function;
type Result = i32;

const SUCCESS: Result = 0;
const INITIALISATION_FAILED: Result = -3;
const OUT_OF_DEVICE_MEMORY: Result = -2;
const DEVICE_LOST: Result = -4;

const LOADER_INSTANCE_CREATE_INFO: u32 = 47;
const LOADER_DEVICE_CREATE_INFO: u32 = 48;
const LINK_INFO: u32 = 0;

/// `VkLayerInstanceCreateInfo` and `VkLayerDeviceCreateInfo`.
#[repr(C)]
struct Chain {
    kind: u32,
    next: *mut Chain,
    function: u32,
    link: *mut Link,
}

/// `VkLayerInstanceLink` and `VkLayerDeviceLink`; what follows the first function differs.
#[repr(C)]
struct Link {
    next: *mut Link,
    instance_functions: GetProcAddr,
    device_functions: GetProcAddr,
}

/// `VkNegotiateLayerInterface`.
#[repr(C)]
pub struct Negotiation {
    kind: u32,
    next: Handle,
    version: u32,
    instance_functions: Option<GetProcAddr>,
    device_functions: Option<GetProcAddr>,
    physical_device_functions: Option<GetProcAddr>,
}

static INSTANCE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
static INSTANCE_FUNCTIONS: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
static DEVICE_FUNCTIONS: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
static WAITS: AtomicU32 = AtomicU32::new(0);
static BUFFERS: AtomicU32 = AtomicU32::new(0);

/// Returns whether this call is one that fails.
fn fails(what: &str, calls: &AtomicU32) -> bool {
    let call = calls.fetch_add(1, SeqCst) + 1;
    let fault = env::var("VULKAN_FAULT").unwrap_or_default();
    let first = fault.split_once(':').filter(|(name, _)| *name == what);
    first.is_some_and(|(_, first)| first.parse().is_ok_and(|first: u32| call >= first))
}

/// The next layer's or the driver's function of a name.
unsafe fn below(functions: &AtomicPtr<c_void>, handle: Handle, name: *const c_char) -> Function {
    // SAFETY: what is stored was a `GetProcAddr`, and the handle is the caller's.
    unsafe {
        let get: Option<GetProcAddr> = transmute(functions.load(SeqCst));
        get?(handle, name)
    }
}

/// The link of this layer in the chain of a create call, which is moved on to the next layer.
unsafe fn link(info: *const Chain, kind: u32) -> Option<(GetProcAddr, GetProcAddr)> {
    // SAFETY: the loader passes a chain of structures that begin as `Chain` does.
    unsafe {
        let mut at = (*info).next;
        while !at.is_null() {
            if (*at).kind == kind && (*at).function == LINK_INFO {
                let link = (*at).link;
                (*at).link = (*link).next;
                return Some(((*link).instance_functions, (*link).device_functions));
            }
            at = (*at).next;
        }
        None
    }
}

unsafe extern "system" fn create_instance(
    info: *const Chain,
    allocator: Handle,
    instance: *mut Handle,
) -> Result {
    type Create = unsafe extern "system" fn(*const Chain, Handle, *mut Handle) -> Result;
    // SAFETY: arguments as the loader passes them, names as Vulkan defines them.
    unsafe {
        let Some((functions, _)) = link(info, LOADER_INSTANCE_CREATE_INFO) else {
            return INITIALISATION_FAILED;
        };
        INSTANCE_FUNCTIONS.store(functions as Handle, SeqCst);
        let create = functions(ptr::null_mut(), c"vkCreateInstance".as_ptr());
        let create: Option<Create> = transmute(create);
        let result = create.map_or(INITIALISATION_FAILED, |f| f(info, allocator, instance));
        if result == SUCCESS {
            INSTANCE.store(*instance, SeqCst);
        }
        result
    }
}

unsafe extern "system" fn create_device(
    adapter: Handle,
    info: *const Chain,
    allocator: Handle,
    device: *mut Handle,
) -> Result {
    type Create = unsafe extern "system" fn(Handle, *const Chain, Handle, *mut Handle) -> Result;
    // SAFETY: arguments as the loader passes them, names as Vulkan defines them.
    unsafe {
        let Some((functions, of_device)) = link(info, LOADER_DEVICE_CREATE_INFO) else {
            return INITIALISATION_FAILED;
        };
        DEVICE_FUNCTIONS.store(of_device as Handle, SeqCst);
        let create = functions(INSTANCE.load(SeqCst), c"vkCreateDevice".as_ptr());
        let create: Option<Create> = transmute(create);
        create.map_or(INITIALISATION_FAILED, |f| {
            f(adapter, info, allocator, device)
        })
    }
}

unsafe extern "system" fn wait_semaphores(device: Handle, info: Handle, timeout: u64) -> Result {
    type Wait = unsafe extern "system" fn(Handle, Handle, u64) -> Result;
    if fails("wait", &WAITS) {
        return DEVICE_LOST;
    }
    // SAFETY: as called.
    unsafe {
        let wait = below(&DEVICE_FUNCTIONS, device, c"vkWaitSemaphores".as_ptr());
        let wait: Option<Wait> = transmute(wait);
        wait.map_or(DEVICE_LOST, |wait| wait(device, info, timeout))
    }
}

unsafe extern "system" fn create_buffer(
    device: Handle,
    info: Handle,
    allocator: Handle,
    buffer: Handle,
) -> Result {
    type Create = unsafe extern "system" fn(Handle, Handle, Handle, Handle) -> Result;
    if fails("memory", &BUFFERS) {
        return OUT_OF_DEVICE_MEMORY;
    }
    // SAFETY: as called.
    unsafe {
        let create = below(&DEVICE_FUNCTIONS, device, c"vkCreateBuffer".as_ptr());
        let create: Option<Create> = transmute(create);
        create.map_or(OUT_OF_DEVICE_MEMORY, |f| f(device, info, allocator, buffer))
    }
}

/// This layer's function of a name.
fn own(name: &CStr) -> Function {
    // SAFETY: the caller of a Vulkan function knows its type by its name.
    unsafe {
        match name.to_bytes() {
            b"vkGetInstanceProcAddr" => transmute(instance_function as GetProcAddr),
            b"vkGetDeviceProcAddr" => transmute(device_function as GetProcAddr),
            b"vkCreateInstance" => transmute(create_instance as *const c_void),
            b"vkCreateDevice" => transmute(create_device as *const c_void),
            b"vkWaitSemaphores" | b"vkWaitSemaphoresKHR" => {
                transmute(wait_semaphores as *const c_void)
            }
            b"vkCreateBuffer" => transmute(create_buffer as *const c_void),
            _ => None,
        }
    }
}

unsafe extern "system" fn instance_function(instance: Handle, name: *const c_char) -> Function {
    // SAFETY: names are C strings.
    unsafe { own(CStr::from_ptr(name)).or_else(|| below(&INSTANCE_FUNCTIONS, instance, name)) }
}

unsafe extern "system" fn device_function(device: Handle, name: *const c_char) -> Function {
    // SAFETY: names are C strings.
    unsafe { own(CStr::from_ptr(name)).or_else(|| below(&DEVICE_FUNCTIONS, device, name)) }
}

/// Where the loader begins.
///
/// # Safety
/// `negotiation` is the loader's.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn vkNegotiateLoaderLayerInterfaceVersion(
    negotiation: *mut Negotiation,
) -> Result {
    // SAFETY: the loader's promise.
    unsafe {
        (*negotiation).version = 2;
        (*negotiation).instance_functions = Some(instance_function);
        (*negotiation).device_functions = Some(device_function);
        (*negotiation).physical_device_functions = None;
    }
    SUCCESS
}

//! After the first steps a training step takes no memory from the system.

mod common;

use common::{Run, dynamic, small, small_dit, small_moe};
use nn::connection::{ConnectionConfig, PreNormConfig};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

/// Counts every allocation.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: forwards to the system's allocator and only counts on the way.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
#[cfg_attr(
    not(any(target_feature = "fma", target_feature = "neon")),
    ignore = "matrixmultiply, the product of builds without FMA, allocates at every call"
)]
fn a_steady_step_allocates_nothing() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .expect("a thread pool");
    let pre_norm = ConnectionConfig::PreNorm(PreNormConfig::default());
    for config in [
        small(pre_norm.clone()),
        small(dynamic(4)),
        small_moe(dynamic(2)),
        small_dit(pre_norm),
        small_dit(dynamic(2)),
    ] {
        // Scratch memory belongs to threads, and on a busy machine the second one may get
        // its first shard late.
        pool.broadcast(|_| Run::new(&config, 1).step());
        let counts = pool.install(|| {
            let mut run = Run::new(&config, 2);
            let mut counts = Vec::with_capacity(10);
            for _ in 0..10 {
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                run.step();
                counts.push(ALLOCATIONS.load(Ordering::Relaxed) - before);
            }
            counts
        });
        assert!(counts[0] > 0, "the first step allocates: {counts:?}");
        assert!(
            counts[3..].iter().all(|&count| count == 0),
            "allocations by step: {counts:?}"
        );
    }
}

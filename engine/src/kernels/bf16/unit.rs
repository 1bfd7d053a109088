//! Units of processors that multiply numbers in bf16.

use super::tile::Kernel;
#[cfg(target_arch = "x86_64")]
use super::{amx, dot};
use std::sync::OnceLock;

/// A unit that multiplies numbers in bf16 and adds the products to sums in f32. Numbers too small
/// for a normal f32 count as zero in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The tile unit, AMX-BF16: `tdpbf16ps`.
    Tiles,
    /// Vectors, AVX512-BF16: `vdpbf16ps`.
    Vectors,
}

impl Unit {
    /// All units.
    pub const ALL: [Self; 2] = [Self::Tiles, Self::Vectors];

    /// Returns the unit to use, if this processor has one that is faster than products in f32.
    pub fn chosen() -> Option<Self> {
        static CHOSEN: OnceLock<Option<Unit>> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let faster = |unit: &Self| unit.is_available() && unit.is_faster_than_f32();
            Self::ALL.into_iter().find(faster)
        })
    }

    /// Returns whether this processor has the unit and the system lets this process use it.
    pub fn is_available(self) -> bool {
        self.kernel().is_some()
    }

    /// The kernel of the unit, if it is available.
    pub(super) fn kernel(self) -> Option<Kernel> {
        #[cfg(target_arch = "x86_64")]
        let (has, kernel) = match self {
            Self::Tiles => (amx::is_available(), amx::multiply as Kernel),
            Self::Vectors => (dot::is_available(), dot::multiply as Kernel),
        };
        #[cfg(target_arch = "x86_64")]
        return has.then_some(kernel);
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Returns whether the unit does more in a cycle than multiply-adds in f32. `vdpbf16ps` does two
    /// of them in each lane, but an Intel core (Emerald Rapids, measured) begins one every two cycles and
    /// two multiply-adds in each.
    fn is_faster_than_f32(self) -> bool {
        match self {
            Self::Tiles => true,
            Self::Vectors => !is_from_intel(),
        }
    }

    /// Name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiles => "tile unit",
            Self::Vectors => "vector unit",
        }
    }
}

/// Returns whether the processor is one of Intel.
fn is_from_intel() -> bool {
    #[cfg(target_arch = "x86_64")]
    let vendor = cpuid(0).ebx.to_le_bytes();
    #[cfg(not(target_arch = "x86_64"))]
    let vendor = [0; 4];
    vendor == *b"Genu"
}

/// A leaf of what the processor says of itself.
#[cfg(target_arch = "x86_64")]
pub(super) fn cpuid(leaf: u32) -> std::arch::x86_64::CpuidResult {
    // SAFETY: every x86-64 processor has the instruction. Newer compilers know that.
    #[allow(unused_unsafe)]
    unsafe {
        std::arch::x86_64::__cpuid_count(leaf, 0)
    }
}

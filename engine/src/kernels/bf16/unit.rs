//! Units of processors that multiply numbers in bf16.

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
    /// All units, the fastest one first.
    pub const ALL: [Self; 2] = [Self::Tiles, Self::Vectors];

    /// Returns the fastest unit of this processor, if it has one.
    pub fn fastest() -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.is_available())
    }

    /// Returns whether this processor has the unit and the system lets this process use it.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        let has = match self {
            Self::Tiles => super::amx::is_available(),
            Self::Vectors => super::dot::is_available(),
        };
        #[cfg(not(target_arch = "x86_64"))]
        let has = false;
        has
    }

    /// Name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiles => "tile unit",
            Self::Vectors => "vector unit",
        }
    }
}

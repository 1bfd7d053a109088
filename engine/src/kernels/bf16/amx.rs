//! Products of packed tiles on the tile unit of x86-64 processors that have one (AMX-BF16).
//!
//! `tdpbf16ps` adds the product of a tile of A and a tile of B to 16 x 16 sums in f32.

use super::{
    tile::{Packed, SIDE, Tile},
    unit,
};
use std::{arch::asm, sync::OnceLock};

/// Rows, and columns, of C in a block of four tiles.
const BLOCK: usize = 2 * SIDE;

/// Returns whether this processor has the tile unit and the system lets this process use it.
pub fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let [leaves, leaf] = [0, 7].map(unit::cpuid);
        // Leaf 7: AMX-BF16 is bit 22 of edx, AMX-TILE bit 24.
        cfg!(target_os = "linux")
            && leaves.eax >= 7
            && leaf.edx >> 22 & 1 == 1
            && leaf.edx >> 24 & 1 == 1
            && allowed()
    })
}

/// Returns whether Linux grants this process the state of the tiles, which it saves on request only. It
/// refuses where a thread has an alternate stack for signals that is too small for that state.
fn allowed() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let mut answer = ARCH_PRCTL;
    // SAFETY: the call changes a permission of this process and no memory.
    unsafe {
        asm!(
            "syscall",
            inout("rax") answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

/// All eight tiles: palette 1, 16 rows of 64 bytes.
#[repr(C, align(64))]
struct TileConfig([u8; 64]);

static CONFIG: TileConfig = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = SIDE as u8;
        tile += 1;
    }
    TileConfig(bytes)
};

/// Writes the product to rows of C, each of `n` numbers, or adds it to them.
///
/// # Panics
/// If the processor has no tile unit.
pub fn multiply(packed: Packed<'_>, c: &mut [f32], n: usize, add: bool) {
    assert!(is_available(), "bf16: this processor has no tile unit");
    let Packed {
        rows,
        columns,
        steps,
    } = packed;
    // SAFETY: the tile unit is there. Tiles are no state that compiled code knows of.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIG, options(nostack)) };
    let rows = rows.chunks_exact(2 * steps);
    for (c, a) in c.chunks_mut(BLOCK * n).zip(rows) {
        for (column, b) in columns.chunks_exact(2 * steps).enumerate() {
            let start = column * BLOCK;
            let width = BLOCK.min(n - start);
            let c = &mut c[start..];
            let (a, b) = (a.split_at(steps).into(), b.split_at(steps).into());
            if width == BLOCK && c.len() >= (BLOCK - 1) * n + BLOCK {
                block(a, b, c, n, add);
                continue;
            }
            let mut whole = [[0.0; BLOCK]; BLOCK];
            if add {
                for (whole, c) in whole.iter_mut().zip(c.chunks(n)) {
                    whole[..width].copy_from_slice(&c[..width]);
                }
            }
            block(a, b, whole.as_flattened_mut(), BLOCK, add);
            for (whole, c) in whole.iter().zip(c.chunks_mut(n)) {
                c[..width].copy_from_slice(&whole[..width]);
            }
        }
    }
    // SAFETY: as above.
    unsafe { asm!("tilerelease", options(nostack)) };
}

/// A block of C, whose rows are `stride` numbers apart, from two panels of A and two of B. The
/// tiles must be configured.
fn block(a: [&[Tile]; 2], b: [&[Tile]; 2], c: &mut [f32], stride: usize, add: bool) {
    let steps = a[0].len();
    assert!(steps > 0 && a.iter().chain(&b).all(|panel| panel.len() == steps));
    assert!(stride >= BLOCK && c.len() >= (BLOCK - 1) * stride + BLOCK);
    let upper = c.as_mut_ptr();
    // SAFETY: `multiply` has found the tile unit and configured it. Each pointer runs over the
    // `steps` tiles of its panel. The tiles of C, each 16 rows of 64 bytes, are the quarters of
    // 32 x 32 numbers, which `c` holds.
    unsafe {
        let lower = upper.add(SIDE * stride);
        asm!(
            "test {add}, {add}",
            "jnz 2f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 3f",
            "2:",
            "tileloadd tmm0, [{upper} + {stride}]",
            "tileloadd tmm1, [{upper} + {stride} + 64]",
            "tileloadd tmm2, [{lower} + {stride}]",
            "tileloadd tmm3, [{lower} + {stride} + 64]",
            "3:",
            "tileloadd tmm4, [{a0} + {line}]",
            "tileloadd tmm6, [{b0} + {line}]",
            "tileloadd tmm7, [{b1} + {line}]",
            "tileloadd tmm5, [{a1} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 1024",
            "add {a1}, 1024",
            "add {b0}, 1024",
            "add {b1}, 1024",
            "dec {steps}",
            "jnz 3b",
            "tilestored [{upper} + {stride}], tmm0",
            "tilestored [{upper} + {stride} + 64], tmm1",
            "tilestored [{lower} + {stride}], tmm2",
            "tilestored [{lower} + {stride} + 64], tmm3",
            add = in(reg) usize::from(add),
            upper = in(reg) upper,
            lower = in(reg) lower,
            stride = in(reg) stride * size_of::<f32>(),
            line = in(reg) SIDE * size_of::<u32>(),
            a0 = inout(reg) a[0].as_ptr() => _,
            a1 = inout(reg) a[1].as_ptr() => _,
            b0 = inout(reg) b[0].as_ptr() => _,
            b1 = inout(reg) b[1].as_ptr() => _,
            steps = inout(reg) steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

//! The matrix product of dense row-major matrices, in the three layouts that a
//! training step needs.
//!
//! A product goes one of three ways. Its whole shape and the vector unit the binary is
//! built for decide which, never the piece that a thread works on:
//!
//! - **Register tiles** (`blocked`) where the build has fused multiply-adds. On a Zen 5
//!   core with AVX-512 a tile of 8 x 32 runs at the peak of the two FMA units (267 of 269
//!   GFLOP/s), while the 16 x 16 tile of `matrixmultiply` waits for its loads (235); over
//!   the products of a training step that makes 11 to 25 %. With AVX2 the tile of 6 x 16
//!   is ahead by 5 to 10 % (`cargo bench -p engine --bench matmul`). Packed operands are
//!   kept in buffers of the thread, where `matrixmultiply` allocates at every call.
//!   Products with few rows or columns go this way in every build: a tile narrows to what
//!   there is, and a right operand that few rows meet is read in place.
//! - **`matrixmultiply`** for all others where the build has no fused
//!   multiply-add, as for plain x86-64: it chooses its kernel at run time.
//! - **Dot products** (`thin`) for `A Bᵀ` with few rows of A or of B: both run along the
//!   summed dimension, and to transpose the larger one costs more than the product.
//!
//! Every element of C is the same operations in the same order, whichever rows of C are
//! computed together. So a product cut over rows has the same bits for any number of
//! threads.

mod blocked;
mod pack;
#[cfg(test)]
mod tests;
mod thin;
mod tile;

use rayon::prelude::*;

/// Storage of the operands of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `C = A B`: A is stored `[m, k]`, B `[k, n]`. The gradient of a linear layer with
    /// respect to its input, `dX = dY W`.
    Nn,
    /// `C = A Bᵀ`: A is stored `[m, k]`, B `[n, k]`. A linear layer, `Y = X Wᵀ` with W
    /// stored `[out, in]`.
    Nt,
    /// `C = Aᵀ B`: A is stored `[k, m]`, B `[k, n]`. The gradient of a linear layer with
    /// respect to its weight, `dW = dYᵀ X`.
    Tn,
}

/// A product `C[m, n] = op(A)[m, k] op(B)[k, n]`, or `C += ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Storage of A and B.
    pub layout: Layout,
    /// Rows of C.
    pub m: usize,
    /// Length of the summed dimension.
    pub k: usize,
    /// Columns of C.
    pub n: usize,
    /// Add to C instead of overwriting it. Without it C is never read.
    pub accumulate: bool,
}

/// Fewest multiplications for which a second thread is woken: some tens of microseconds
/// of work for each thread.
const MULTIPLICATIONS_PER_THREAD: usize = 1 << 21;

impl Product {
    /// `C = op(A) op(B)`.
    pub const fn new(layout: Layout, m: usize, k: usize, n: usize) -> Self {
        Self {
            layout,
            m,
            k,
            n,
            accumulate: false,
        }
    }

    /// The same product, added to C.
    pub const fn accumulating(self) -> Self {
        Self {
            accumulate: true,
            ..self
        }
    }

    /// The stored shapes of A, B and C.
    pub const fn shapes(&self) -> [[usize; 2]; 3] {
        let Self { m, k, n, .. } = *self;
        match self.layout {
            Layout::Nn => [[m, k], [k, n], [m, n]],
            Layout::Nt => [[m, k], [n, k], [m, n]],
            Layout::Tn => [[k, m], [k, n], [m, n]],
        }
    }

    /// Floating point operations of the product, counting a multiplication and an
    /// addition as two.
    pub const fn flops(&self) -> usize {
        2 * self.m * self.k * self.n
    }

    /// # Panics
    /// If A, B or C does not have the number of elements that the product says.
    #[track_caller]
    pub(crate) fn check(&self, lengths: [usize; 3]) {
        let named = ["a", "b", "c"].into_iter().zip(lengths);
        for ((name, len), [rows, columns]) in named.zip(self.shapes()) {
            assert!(
                len == rows * columns,
                "matmul: {name} has {len} elements, expected [{rows}, {columns}] in {self:?}"
            );
        }
    }
}

/// `C = op(A) op(B)` or `C += op(A) op(B)` on the calling thread.
///
/// # Panics
/// If a slice does not have the number of elements that `product` says.
#[track_caller]
pub fn matmul(product: Product, a: &[f32], b: &[f32], c: &mut [f32]) {
    product.check([a.len(), b.len(), c.len()]);
    compute_rows(Path::of(&product), &product, 0, a, b, c);
}

/// [`matmul`] with the rows of C divided between the threads of the current rayon pool,
/// and the same bits. Small products and products of few rows stay on the calling thread.
///
/// # Panics
/// If a slice does not have the number of elements that `product` says.
#[track_caller]
pub fn matmul_parallel(product: Product, a: &[f32], b: &[f32], c: &mut [f32]) {
    product.check([a.len(), b.len(), c.len()]);
    let worthwhile = product.flops() / 2 / MULTIPLICATIONS_PER_THREAD;
    let pieces = rayon::current_num_threads().min(worthwhile).max(1);
    compute_pieces(Path::of(&product), &product, pieces, a, b, c);
}

/// Computes C in at most `pieces` pieces of about equally many rows.
fn compute_pieces(
    path: Path,
    product: &Product,
    pieces: usize,
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
) {
    // Cut between the tiles of any of the ways.
    let rows = product.m.div_ceil(pieces).next_multiple_of(2 * tile::MR);
    if rows >= product.m || product.n == 0 {
        return compute_rows(path, product, 0, a, b, c);
    }
    c.par_chunks_mut(rows * product.n)
        .enumerate()
        .for_each(|(piece, c)| compute_rows(path, product, piece * rows, a, b, c));
}

/// The way a product is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Tiles,
    Dots,
    Sgemm,
}

/// Up to this many rows or columns of C, `A Bᵀ` is computed by dot products. They reach
/// 70 to 170 GFLOP/s there; tiles, which first transpose B, overtake them at 12 rows, and
/// at 9 columns.
const FEW: usize = 8;
/// True if the build has fused multiply-adds.
const FUSED: bool = cfg!(any(target_feature = "fma", target_feature = "neon"));
/// Below this many rows or columns of C, `matrixmultiply` has little to work with.
const THIN: usize = 16;

impl Path {
    fn of(product: &Product) -> Self {
        let Product { layout, m, n, .. } = *product;
        if layout == Layout::Nt && (m <= FEW || n <= FEW) {
            Self::Dots
        } else if FUSED || m < THIN || n < THIN {
            Self::Tiles
        } else {
            Self::Sgemm
        }
    }
}

/// Computes the rows of C that begin with row `first`; `c` holds exactly these.
fn compute_rows(path: Path, product: &Product, first: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    if c.is_empty() {
        return;
    }
    if product.k == 0 {
        if !product.accumulate {
            c.fill(0.0);
        }
        return;
    }
    match path {
        Path::Tiles => blocked::compute_rows(product, first, a, b, c),
        Path::Dots => thin::compute_rows(product, first, a, b, c),
        Path::Sgemm => sgemm_rows(product, first, a, b, c),
    }
}

/// Computes the rows of C that begin with row `first` by the `matrixmultiply` crate.
///
/// alpha is 1 and beta 0 or 1: with any other alpha, `matrixmultiply` rounds once more in
/// the tiles at an edge than inside, and a cut over rows would change bits.
fn sgemm_rows(product: &Product, first: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    let Product {
        layout, m, k, n, ..
    } = *product;
    let rows = c.len() / n;
    let stride = |x: usize| isize::try_from(x).expect("a slice is at most isize::MAX bytes");
    // Row and column strides.
    let (a_strides, b_strides) = match layout {
        Layout::Nn => ((stride(k), 1), (stride(n), 1)),
        Layout::Nt => ((stride(k), 1), (1, stride(k))),
        Layout::Tn => ((1, stride(m)), (stride(n), 1)),
    };
    let a = match layout {
        Layout::Nn | Layout::Nt => &a[first * k..(first + rows) * k],
        Layout::Tn => &a[first..(k - 1) * m + first + rows],
    };
    assert!(b.len() == k * n && c.len() == rows * n);
    let beta = if product.accumulate { 1.0 } else { 0.0 };
    // SAFETY: the pointers come from slices. With these strides the call touches the
    // elements of `rows` x `k`, `k` x `n` and `rows` x `n` matrices: the last of A is at
    // `rows * k - 1`, or at `(k - 1) * m + rows - 1` where it is transposed, the end of
    // `a`; B and C are dense and have the asserted lengths. C is not aliased, being `&mut`.
    unsafe {
        matrixmultiply::sgemm(
            rows,
            k,
            n,
            1.0,
            a.as_ptr(),
            a_strides.0,
            a_strides.1,
            b.as_ptr(),
            b_strides.0,
            b_strides.1,
            beta,
            c.as_mut_ptr(),
            stride(n),
            1,
        );
    }
}

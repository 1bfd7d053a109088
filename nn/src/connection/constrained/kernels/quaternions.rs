//! Orthogonal mixes of four streams: a product of two unit quaternions.
//!
//! With the logits (p, q), two quaternions over their lengths, `H x = p x q`, x the four streams as a
//! quaternion: `H = L(p) R(q)` with the matrices of multiplication from the left and from the right.
//! Every rotation of four dimensions is such a product; H is I for p = q = 1.
//!
//! Backward: `dL = G Rᵀ`, `dR = Lᵀ G`, of each quaternion the sum over the places that hold it, and
//! through the division by its length, `dp = (dp̂ - p̂ <p̂, dp̂>) / |p|`.

use engine::simd::F32;

/// Number of streams.
pub(super) const STREAMS: usize = 4;

/// Number of logits.
pub(super) const LOGITS: usize = 2 * STREAMS;

/// Element (i, j) of both matrices is component `i ^ j`, with these signs.
const SIGNS: [[[f32; STREAMS]; STREAMS]; 2] = [
    [
        [1.0, -1.0, -1.0, -1.0],
        [1.0, 1.0, -1.0, 1.0],
        [1.0, 1.0, 1.0, -1.0],
        [1.0, -1.0, 1.0, 1.0],
    ],
    [
        [1.0, -1.0, -1.0, -1.0],
        [1.0, 1.0, 1.0, -1.0],
        [1.0, -1.0, 1.0, 1.0],
        [1.0, 1.0, -1.0, 1.0],
    ],
];

type Matrix = [[F32; STREAMS]; STREAMS];

/// Below any square of a length that a network learns.
const SMALLEST: f32 = 1e-20;

/// A quaternion over its length, and one over the length.
fn unit(logits: &[F32]) -> ([F32; STREAMS], F32) {
    let square = logits
        .iter()
        .fold(F32::splat(SMALLEST), |sum, &x| x.mul_add(x, sum));
    let inverse = F32::ONE / square.sqrt();
    (std::array::from_fn(|i| logits[i] * inverse), inverse)
}

fn matrix(side: usize, unit: &[F32; STREAMS]) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| unit[i ^ j] * F32::splat(SIGNS[side][i][j])))
}

/// The gradient of a quaternion from that of its matrix.
fn backward_of(side: usize, logits: &[F32], grad: &Matrix, logits_grad: &mut [F32]) {
    let (unit, inverse) = unit(logits);
    let mut of_unit = [F32::ZERO; STREAMS];
    for i in 0..STREAMS {
        for j in 0..STREAMS {
            of_unit[i ^ j] += grad[i][j] * F32::splat(SIGNS[side][i][j]);
        }
    }
    let along = unit
        .iter()
        .zip(&of_unit)
        .fold(F32::ZERO, |sum, (&u, &g)| u.mul_add(g, sum));
    for (to, (&u, &g)) in logits_grad.iter_mut().zip(unit.iter().zip(&of_unit)) {
        *to = (g - u * along) * inverse;
    }
}

/// `L(p) R(q)`.
pub(super) fn mix(logits: &[F32], mix: &mut [F32]) {
    let [left, right] =
        [0, 1].map(|side| matrix(side, &unit(&logits[side * STREAMS..][..STREAMS]).0));
    for i in 0..STREAMS {
        for j in 0..STREAMS {
            let products = (0..STREAMS).map(|k| (left[i][k], right[k][j]));
            mix[i * STREAMS + j] = products.fold(F32::ZERO, |sum, (l, r)| l.mul_add(r, sum));
        }
    }
}

/// The gradient of the logits.
pub(super) fn backward(logits: &[F32], mix_grad: &[F32], logits_grad: &mut [F32]) {
    let [left, right] =
        [0, 1].map(|side| matrix(side, &unit(&logits[side * STREAMS..][..STREAMS]).0));
    let [mut to_left, mut to_right] = [[[F32::ZERO; STREAMS]; STREAMS]; 2];
    for i in 0..STREAMS {
        for j in 0..STREAMS {
            let grad = mix_grad[i * STREAMS + j];
            for k in 0..STREAMS {
                to_left[i][k] = grad.mul_add(right[k][j], to_left[i][k]);
                to_right[k][j] = grad.mul_add(left[i][k], to_right[k][j]);
            }
        }
    }
    let (of_p, of_q) = logits_grad.split_at_mut(STREAMS);
    backward_of(0, &logits[..STREAMS], &to_left, of_p);
    backward_of(1, &logits[STREAMS..], &to_right, of_q);
}

//! The coefficients of constrained hyper-connections.

use super::softmax;
use crate::connection::constrained::kernels::{Gates, Rule};
use engine::scalar::Real;

/// A square matrix, row by row.
pub type Matrix<T> = Vec<Vec<T>>;

fn matrix<T>(n: usize, element: impl Fn(usize, usize) -> T) -> Matrix<T> {
    let row = |i| (0..n).map(|j| element(i, j)).collect();
    (0..n).map(row).collect()
}

fn identity<T: Real>(n: usize) -> Matrix<T> {
    matrix(n, |i, j| T::from(f64::from(u8::from(i == j))))
}

/// All orders of the items, in lexicographic order.
fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let firsts = items.iter().flat_map(|&first| {
        let others: Vec<usize> = items.iter().copied().filter(|&x| x != first).collect();
        permutations(&others).into_iter().map(move |mut rest| {
            rest.insert(0, first);
            rest
        })
    });
    firsts.collect()
}

fn kronecker<T: Real>(a: &Matrix<T>, b: &Matrix<T>) -> Matrix<T> {
    let m = b.len();
    matrix(a.len() * m, |i, j| a[i / m][j / m] * b[i % m][j % m])
}

/// `A⁻¹ B` by Gauss-Jordan with pivoting.
fn solve<T: Real>(mut a: Matrix<T>, mut b: Matrix<T>) -> Matrix<T> {
    let n = a.len();
    for column in 0..n {
        let size = |i: &usize| a[*i][column].value().abs();
        let pivot = (column..n).max_by(|i, j| size(i).total_cmp(&size(j)));
        let pivot = pivot.expect("a row");
        a.swap(column, pivot);
        b.swap(column, pivot);
        let divisor = a[column][column];
        for x in a[column].iter_mut().chain(&mut b[column]) {
            *x = *x / divisor;
        }
        let (a_pivot, b_pivot) = (a[column].clone(), b[column].clone());
        for i in (0..n).filter(|&i| i != column) {
            let factor = a[i][column];
            for j in 0..n {
                a[i][j] = a[i][j] - factor * a_pivot[j];
                b[i][j] = b[i][j] - factor * b_pivot[j];
            }
        }
    }
    b
}

/// The skew-symmetric matrix with these elements above its diagonal.
fn skew<T: Real>(n: usize, z: &[T]) -> Matrix<T> {
    let mut s = matrix(n, |_, _| T::from(0.0));
    let above = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    for ((i, j), &z) in above.zip(z) {
        (s[i][j], s[j][i]) = (z, -z);
    }
    s
}

/// Hamilton's product of two quaternions.
fn hamilton<T: Real>([a, b, c, d]: [T; 4], [e, f, g, h]: [T; 4]) -> [T; 4] {
    [
        a * e - b * f - c * g - d * h,
        a * f + b * e + c * h - d * g,
        a * g - b * h + c * e + d * f,
        a * h + b * g - c * f + d * e,
    ]
}

/// `H_res` of the logits of a token, rows being destinations.
pub fn mix<T: Real>(rule: Rule, n: usize, z: &[T]) -> Matrix<T> {
    let one = T::from(1.0);
    let unit = identity::<T>(n);
    match rule {
        Rule::SoftmaxSinkhorn { iterations, eps } => {
            let eps = T::from(f64::from(eps));
            // The source in the row, at first.
            let weights: Matrix<T> = z.chunks(n).map(softmax).collect();
            let mut c = matrix(n, |i, j| weights[i][j] + eps);
            for iteration in 0..iterations {
                if iteration > 0 {
                    let rows = c.iter().map(|row| row.iter().copied().sum::<T>() + eps);
                    let rows: Vec<T> = rows.collect();
                    c = matrix(n, |i, j| c[i][j] / rows[i]);
                }
                let columns = |j| c.iter().map(|row| row[j]).sum::<T>() + eps;
                let columns: Vec<T> = (0..n).map(columns).collect();
                c = matrix(n, |i, j| c[i][j] / columns[j]);
            }
            matrix(n, |i, j| c[j][i])
        }
        _ if n == 1 => unit,
        Rule::Identity => unit,
        Rule::Sinkhorn { iterations } => {
            let largest = z.iter().fold(f64::MIN, |most, z| most.max(z.value()));
            let mut m = matrix(n, |i, j| (z[i * n + j] - T::from(largest)).exp());
            for _ in 0..iterations {
                let columns = |j| m.iter().map(|row| row[j]).sum::<T>();
                let columns: Vec<T> = (0..n).map(columns).collect();
                m = matrix(n, |i, j| m[i][j] / columns[j]);
                let rows = m.iter().map(|row| row.iter().copied().sum::<T>());
                let rows: Vec<T> = rows.collect();
                m = matrix(n, |i, j| m[i][j] / rows[i]);
            }
            m
        }
        Rule::Permutations => {
            let mut m = matrix(n, |_, _| T::from(0.0));
            let all: Vec<usize> = (0..n).collect();
            for (q, weight) in permutations(&all).iter().zip(softmax(z)) {
                for (row, &j) in m.iter_mut().zip(q) {
                    row[j] = row[j] + weight;
                }
            }
            m
        }
        Rule::Kronecker => z.chunks(2).fold(identity(1), |m, z| {
            let p = (z[0] - z[1]).sigmoid();
            kronecker(&m, &vec![vec![p, one - p], vec![one - p, p]])
        }),
        Rule::Quaternions => {
            let unit = |q: &[T]| -> [T; 4] {
                let length = q.iter().map(|&x| x * x).sum::<T>().sqrt();
                std::array::from_fn(|i| q[i] / length)
            };
            let (p, q) = (unit(&z[..4]), unit(&z[4..]));
            let columns = [0, 1, 2, 3].map(|j| {
                let basis = std::array::from_fn(|i| T::from(f64::from(u8::from(i == j))));
                hamilton(hamilton(p, basis), q)
            });
            matrix(n, |i, j| columns[j][i])
        }
        Rule::Cayley => {
            let s = skew(n, z);
            let minus = matrix(n, |i, j| unit[i][j] - s[i][j]);
            solve(minus, matrix(n, |i, j| unit[i][j] + s[i][j]))
        }
        Rule::CayleySteps { iterations } => {
            let s = skew(n, z);
            let mut h = matrix(n, |i, j| unit[i][j] + s[i][j] + s[i][j]);
            for _ in 0..iterations {
                let sum = matrix(n, |i, j| h[i][j] + unit[i][j]);
                h = matrix(n, |i, j| {
                    unit[i][j] + (0..n).map(|k| s[i][k] * sum[k][j]).sum()
                });
            }
            h
        }
    }
}

/// `[alpha, beta]` of a token from its projected row and, for read, write and mix, a scale and
/// biases: `alpha = [A_m | A_r]` with `A_m = H_preᵀ` and `A_r = H_resᵀ`.
pub fn coefficients<T: Real>(
    (gates, rule): (Gates, Rule),
    n: usize,
    projected: &[T],
    affine: [(T, &[T]); 3],
) -> [Vec<T>; 2] {
    let gate_logits = gates.logits(n);
    let logits = |family: usize, count: usize| -> Vec<T> {
        let (scale, bias) = affine[family];
        let z = &projected[family * gate_logits..][..count];
        z.iter().zip(bias).map(|(&z, &b)| scale * z + b).collect()
    };
    // Of H_pre[g, i], whose rows sum to 1, or of H_post[i, g], whose columns do.
    let gated = |family: usize, factor: [f64; 2]| -> Vec<T> {
        let z = logits(family, gate_logits);
        match gates {
            Gates::Sigmoid | Gates::FlooredSigmoid { .. } => {
                let gate = |z: &T| T::from(factor[0]) * z.sigmoid();
                z.iter().map(gate).collect()
            }
            Gates::Softmax => {
                let shares: Vec<Vec<T>> = z.chunks(n).map(softmax).collect();
                let sum = |i| shares.iter().map(|share| share[i]).sum::<T>();
                (0..n).map(|i| T::from(factor[1]) * sum(i)).collect()
            }
        }
    };
    let mut read = gated(0, [1.0, 1.0 / n as f64]);
    if let Gates::FlooredSigmoid { floor } = gates {
        for read in &mut read {
            *read = *read + T::from(f64::from(floor));
        }
    }
    let mix = mix(rule, n, &logits(2, rule.logits(n)));
    let row = |i: usize| {
        let read = std::iter::once(read[i]);
        read.chain(mix.iter().map(move |row| row[i]))
    };
    [(0..n).flat_map(row).collect(), gated(1, [2.0, 1.0])]
}

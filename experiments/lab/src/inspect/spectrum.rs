//! Singular values of small matrices.

/// Sweeps over all pairs of columns; five or six suffice for what is not degenerate.
const SWEEPS: usize = 30;

/// The singular values of a square matrix of rows, largest first, by one-sided Jacobi rotations
/// (Hestenes 1958): columns are rotated in pairs until they are orthogonal, and then their
/// lengths are the singular values.
pub fn singular_values(matrix: &[Vec<f64>]) -> Vec<f64> {
    let n = matrix.len();
    let mut columns: Vec<Vec<f64>> = (0..n)
        .map(|c| matrix.iter().map(|row| row[c]).collect())
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for i in 0..n {
            for j in i + 1..n {
                let (a, b) = (dot(&columns[i], &columns[i]), dot(&columns[j], &columns[j]));
                let c = dot(&columns[i], &columns[j]);
                if c.abs() <= f64::EPSILON * (a * b).sqrt() {
                    continue;
                }
                rotated = true;
                let zeta = (b - a) / (2.0 * c);
                let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let cosine = 1.0 / tangent.hypot(1.0);
                let sine = cosine * tangent;
                let (left, right) = columns.split_at_mut(j);
                for (x, y) in left[i].iter_mut().zip(&mut right[0]) {
                    (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                }
            }
        }
        if !rotated {
            break;
        }
    }
    let mut values: Vec<f64> = columns.iter().map(|c| dot(c, c).sqrt()).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

/// The effective rank of Roy and Vetterli (2007): `exp(-sum_i p_i ln p_i)` with `p_i` the
/// singular values over their sum. 1 for rank one, n for equal singular values; 0 for zero.
pub fn effective_rank(singular_values: &[f64]) -> f64 {
    let sum: f64 = singular_values.iter().sum();
    if sum == 0.0 {
        return 0.0;
    }
    let shares = singular_values.iter().map(|s| s / sum);
    let entropy: f64 = shares.filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum();
    entropy.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (x, y) in found.iter().zip(expected) {
            assert!((x - y).abs() < 1e-12, "{found:?} is not {expected:?}");
        }
    }

    #[test]
    fn singular_values_are_those_known_on_paper() {
        close(
            &singular_values(&[vec![0.0, -3.0], vec![2.0, 0.0]]),
            &[3.0, 2.0],
        );
        close(
            &singular_values(&[vec![1.0, 1.0], vec![1.0, 1.0]]),
            &[2.0, 0.0],
        );
        // A shear: the golden ratio and its inverse.
        let golden = (1.0 + 5.0_f64.sqrt()) / 2.0;
        close(
            &singular_values(&[vec![1.0, 1.0], vec![0.0, 1.0]]),
            &[golden, 1.0 / golden],
        );
    }

    #[test]
    fn their_squares_add_up_to_those_of_the_entries_and_their_product_is_the_determinant() {
        let matrix = [
            vec![0.9, -0.4, 0.1],
            vec![0.3, 1.2, -0.7],
            vec![-0.2, 0.5, 2.1],
        ];
        let values = singular_values(&matrix);
        let squares: f64 = matrix.iter().flatten().map(|x| x * x).sum();
        let determinant = 0.9 * (1.2 * 2.1 + 0.7 * 0.5)
            + 0.4 * (0.3 * 2.1 - 0.7 * 0.2)
            + 0.1 * (0.3 * 0.5 + 1.2 * 0.2);
        close(&[values.iter().map(|s| s * s).sum()], &[squares]);
        close(&[values.iter().product()], &[determinant]);
    }

    #[test]
    fn effective_rank_is_between_one_and_the_number_of_streams() {
        close(&[effective_rank(&[2.0, 2.0, 2.0])], &[3.0]);
        close(&[effective_rank(&[5.0, 0.0, 0.0])], &[1.0]);
        close(&[effective_rank(&[0.0])], &[0.0]);
        // Shares of 3/4 and 1/4: exp of their entropy is 4 / 3^(3/4).
        close(&[effective_rank(&[3.0, 1.0])], &[4.0 / 3_f64.powf(0.75)]);
    }
}

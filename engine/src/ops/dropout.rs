//! Dropout with a mask that depends on its key alone.

use crate::{
    kernels::elementwise::{self, dropout_mask},
    op::{Backward, Forward, Op},
    rng::Key,
    tape::Var,
};
use rand::Rng;

struct Dropout {
    p: f32,
    /// The key of the first sequence, and the position of it within the batch.
    key: Key,
    first_sequence: usize,
    sequences: usize,
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y, mask] = cx.outputs();
        let each = mask.len() / self.sequences.max(1);
        for (i, mask) in mask.chunks_exact_mut(each.max(1)).enumerate() {
            let mut rng = self.key.at((self.first_sequence + i) as u64).rng();
            dropout_mask(mask, self.p, || rng.next_u32());
        }
        elementwise::mul(y, false, x, mask);
    }

    /// `dx = mask dy`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [_, mask] = cx.outputs();
        if let Some(dx) = cx.input_grad(0) {
            elementwise::mul(dx.values, dx.accumulate, cx.grad(), mask);
        }
    }
}

/// Sets elements to zero with probability `p` and divides the others by `1 - p`
/// (Srivastava et al., 2014); passes x through where the tape has no
/// [`Noise`](crate::tape::Noise). The first dimension of x counts sequences: the mask
/// of one depends on the noise, `name` and its place in the batch only, not on how
/// the batch is cut.
///
/// # Panics
/// If `p` is not in `[0, 1)`.
#[track_caller]
pub fn dropout<'t>(x: Var<'t>, p: f32, name: &str) -> Var<'t> {
    let shape = x.shape();
    if !(0.0..1.0).contains(&p) {
        x.tape()
            .fail("dropout", format_args!("p is {p}, expected 0 <= p < 1"));
    }
    let Some(noise) = x.tape().noise().filter(|_| p > 0.0) else {
        return x;
    };
    let op = Dropout {
        p,
        key: noise.key.named(name),
        first_sequence: noise.first_sequence,
        sequences: shape.dims().first().copied().unwrap_or(1),
    };
    let [y, _] = x.tape().apply(op, &[x], [shape, shape]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, CheckInput};
    use crate::tape::{Noise, Tape};

    fn noise(first_sequence: usize) -> Option<Noise> {
        let key = Key::new(5);
        Some(Noise {
            key,
            first_sequence,
        })
    }

    fn dropped(first_sequence: usize, sequences: usize) -> Vec<f32> {
        let tape = Tape::new();
        tape.set_noise(noise(first_sequence));
        let x = tape.constant([sequences, 50], &vec![1.0; sequences * 50]);
        dropout(x, 0.25, "embedding").value()
    }

    #[test]
    fn a_mask_does_not_depend_on_how_the_batch_is_cut() {
        let whole = dropped(0, 4);
        assert_eq!(whole[..100], dropped(0, 2));
        assert_eq!(whole[100..], dropped(2, 2));
    }

    #[test]
    fn every_name_and_every_sequence_has_a_mask_of_its_own() {
        let tape = Tape::new();
        tape.set_noise(noise(0));
        let x = tape.constant([2, 50], &[1.0; 100]);
        let [a, b] = ["blocks.0.attn", "blocks.0.ffn"].map(|name| dropout(x, 0.5, name).value());
        assert_ne!(a, b);
        assert_ne!(a[..50], a[50..]);
    }

    #[test]
    fn kept_elements_are_scaled_so_that_the_mean_stays() {
        let y = dropped(0, 200);
        assert!(y.iter().all(|&y| y == 0.0 || y == 1.0 / 0.75));
        let mean = y.iter().sum::<f32>() / y.len() as f32;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn evaluation_drops_nothing() {
        let tape = Tape::new();
        let x = tape.constant([1, 3], &[1.0, 2.0, 3.0]);
        assert_eq!(dropout(x, 0.5, "embedding").value(), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn dropout_has_the_gradients_of_its_mask() {
        let mask: Vec<f64> = dropped(0, 2).into_iter().map(f64::from).collect();
        Check::new(
            "dropout",
            vec![CheckInput::normal([2, 50], 1.0, 1)],
            |tape, v| {
                tape.set_noise(noise(0));
                vec![dropout(v[0], 0.25, "embedding")]
            },
            |x| vec![x[0].iter().zip(&mask).map(|(x, m)| x * m).collect()],
        )
        .run();
    }
}

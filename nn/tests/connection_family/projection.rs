//! The projection of constrained hyper-connections.

use engine::{
    check::{Check, CheckInput},
    tape::Var,
};
use nn::connection::{PredictorNorm, streams::flat_projection::flat_projection};

const EPS: f32 = 1e-2;

#[test]
fn the_flattened_state_is_normalised_and_projected() {
    for (n, d, columns, weighted) in [
        (1, 5, vec![1, 1], true),
        (2, 16, vec![2, 2, 4], true),
        (3, 7, vec![3], false),
        (4, 9, vec![4, 4, 24], true),
        (8, 4, vec![8, 8, 3], false),
    ] {
        let inputs_len = n * d;
        let mut inputs = vec![CheckInput::normal([3, n, d], 1.0, 1)];
        for (k, &columns) in columns.iter().enumerate() {
            inputs.push(CheckInput::normal([inputs_len, columns], 0.3, 2 + k as u64));
        }
        if weighted {
            inputs.push(CheckInput::normal([inputs_len], 1.0, 9));
        }
        let count = columns.len();
        for norm in [
            PredictorNorm::RmsNorm,
            PredictorNorm::LayerNorm,
            PredictorNorm::None,
        ] {
            Check::new(
                "flat_projection",
                inputs.clone(),
                |_, v: &[Var<'_>]| {
                    let weight = weighted.then(|| v[1 + count]);
                    vec![flat_projection(norm, v[0], &v[1..=count], weight, EPS)]
                },
                |x| {
                    let rows = x[0].chunks(inputs_len).flat_map(|row| {
                        let centre = match norm {
                            PredictorNorm::RmsNorm | PredictorNorm::None => 0.0,
                            PredictorNorm::LayerNorm => row.iter().sum::<f64>() / inputs_len as f64,
                        };
                        let square: f64 = row.iter().map(|x| (x - centre).powi(2)).sum();
                        let root = match norm {
                            PredictorNorm::None => 1.0,
                            _ => (square / inputs_len as f64 + f64::from(EPS)).sqrt(),
                        };
                        let weight = |i: usize| if weighted { x[1 + count][i] } else { 1.0 };
                        let normed = (0..inputs_len)
                            .map(|i| (row[i] - centre) / root * weight(i))
                            .collect::<Vec<f64>>();
                        let mut out = Vec::new();
                        for (k, &columns) in columns.iter().enumerate() {
                            out.extend((0..columns).map(|c| {
                                (0..inputs_len)
                                    .map(|i| normed[i] * x[1 + k][i * columns + c])
                                    .sum::<f64>()
                            }));
                        }
                        out
                    });
                    vec![rows.collect()]
                },
            )
            .run();
        }
    }
}

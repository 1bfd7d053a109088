//! The projection of constrained hyper-connections.

use engine::{
    check::{Check, CheckInput},
    tape::Var,
};
use nn::connection::{
    PredictorNorm, plain,
    streams::flat_projection::{flat_linear, flat_projection},
};

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
                    let weight = weighted.then(|| &*x[1 + count]);
                    let rows = x[0].chunks(inputs_len).flat_map(|row| {
                        let normed = plain::norm(norm, row, weight, None, EPS);
                        let projections = columns.iter().zip(&x[1..]);
                        projections
                            .flat_map(|(&columns, phi)| plain::project(&normed, phi, columns))
                            .collect::<Vec<f64>>()
                    });
                    vec![rows.collect()]
                },
            )
            .run();
        }
    }
}

#[test]
fn a_matrix_of_rows_projects_the_flattened_state_over_its_root_mean_square() {
    for (n, d, columns) in [(1, 5, 3), (2, 16, 8), (3, 7, 1), (4, 9, 24)] {
        let len = n * d;
        Check::new(
            "flat_linear",
            vec![
                CheckInput::normal([3, n, d], 1.0, 1),
                CheckInput::normal([columns, len], 0.3, 2),
            ],
            |_, v: &[Var<'_>]| vec![flat_linear(v[0], v[1], EPS)],
            |x| {
                let rows = x[0].chunks(len).flat_map(|row| {
                    let normed = plain::norm(PredictorNorm::RmsNorm, row, None, None, EPS);
                    plain::linear(&normed, &x[1])
                });
                vec![rows.collect()]
            },
        )
        .run();
    }
}

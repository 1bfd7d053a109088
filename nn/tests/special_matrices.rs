//! Hyper-connection matrices that stand for something known, acting on one state.

use engine::{check::relative_error, params::Builder, params::Init, rng::Key, tape::Tape};
use nn::{
    connection::streams::ops::{depth_connection, width_connection},
    feed_forward::FeedForward,
};

/// A_r moves stream i into stream j where its row i has a 1 in column j.
#[test]
fn the_row_of_a_mix_is_the_source_and_the_column_the_destination() {
    let tape = Tape::new();
    let state = tape.constant([1, 2, 3], &[1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
    // [A_m | A_r]: reads stream 1; stream 0 goes to stream 1, stream 1 nowhere.
    let alpha = tape.constant([2, 3], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    let (hidden, mixed) = width_connection(state, alpha);
    assert_eq!(hidden.value(), [10.0, 20.0, 30.0]);
    assert_eq!(mixed.value(), [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]);
}

fn centred(rows: &[f32], d: usize) -> Vec<f32> {
    let rows = rows.chunks(d).flat_map(|row| {
        let mean = row.iter().sum::<f32>() / d as f32;
        row.iter().map(move |x| x - mean)
    });
    rows.collect()
}

/// `[[0, 1/s], [1, 1/s]]` with `s` the deviation of input plus output (Eq. 16): the norm
/// without affine part of their sum, layer after layer.
#[test]
fn post_norm_is_a_matrix_that_depends_on_the_data() {
    const ROWS: usize = 5;
    const D: usize = 12;
    let mut b = Builder::new(Key::new(2));
    let init = Init::Normal { std: 0.7 };
    let layers = ["first", "second", "third"]
        .map(|name| FeedForward::swiglu(&mut b, name, (D, 20), &init, init.clone()));
    let params = b.finish();
    let start = engine::check::CheckInput::normal([ROWS, D], 1.0, 3).data;

    let mut hyper = centred(&start, D);
    let mut post_norm: Vec<f64> = hyper.iter().map(|&x| f64::from(x)).collect();
    for layer in &layers {
        let tape = Tape::new();
        tape.bind(&params);
        let apply = |x: &[f32]| {
            let output = layer.forward(tape.constant([ROWS, D], x)).value();
            centred(&output, D)
        };
        let output = apply(&hyper);
        let inverse: Vec<f32> = hyper
            .chunks(D)
            .zip(output.chunks(D))
            .map(|(x, o)| {
                let variance = |v: &[f32]| v.iter().map(|v| v * v).sum::<f32>() / D as f32;
                let covariance = x.iter().zip(o).map(|(x, o)| x * o).sum::<f32>() / D as f32;
                1.0 / (variance(x) + variance(o) + 2.0 * covariance).sqrt()
            })
            .collect();
        let alpha: Vec<f32> = inverse.iter().flat_map(|&inverse| [1.0, inverse]).collect();
        let state = tape.constant([ROWS, 1, D], &hyper);
        let (read, mixed) = width_connection(state, tape.constant([ROWS, 1, 2], &alpha));
        assert_eq!(read.value(), hyper);
        let beta = tape.constant([ROWS, 1], &inverse);
        let next = depth_connection(mixed, beta, tape.constant([ROWS, D], &output));

        let narrow: Vec<f32> = post_norm.iter().map(|&x| x as f32).collect();
        let sum: Vec<f64> = post_norm
            .iter()
            .zip(apply(&narrow))
            .map(|(x, o)| x + f64::from(o))
            .collect();
        post_norm = sum
            .chunks(D)
            .flat_map(|row| {
                let mean = row.iter().sum::<f64>() / D as f64;
                let square = |x: &f64| (x - mean) * (x - mean);
                let deviation = (row.iter().map(square).sum::<f64>() / D as f64).sqrt();
                row.iter().map(move |x| (x - mean) / deviation)
            })
            .collect();
        hyper = next.value();
        assert!(relative_error(&hyper, &post_norm) < 1e-5);
    }
}

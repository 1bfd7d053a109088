//! The unfolded matrices are the network: what they say a sublayer reads is what it reads.

use engine::{params::Params, rng::Key};
use lab::{
    config::RunConfig,
    inspect::{Band, DepthView, InspectedNetwork, Inspection, LayerGain, Trace},
    train::{Quiet, Trainer, WEIGHTS_FILE},
};
use models::weights;
use rand_distr::{Distribution, StandardNormal};
use std::{fs, sync::atomic::AtomicBool};

/// A network that has learned a little, and whose connections were then moved at random so
/// that no coefficient is near its start, with the text it learned from.
fn trained(connection: &[&str]) -> InspectedNetwork {
    let directory = tempfile::tempdir().expect("a directory");
    let text: String = (0..4000)
        .map(|i| ["so ", "it ", "goes ", "and ", "ends. "][(i * i + i / 7) % 5])
        .collect();
    let path = directory.path().join("text.txt");
    fs::write(&path, text).expect("a text");
    let settings = [
        "model.dim=16",
        "model.layers=3",
        "model.heads=2",
        "model.seq=12",
        "model.ffn.hidden=24",
        "train.steps=30",
        "train.batch=8",
        "train.learning_rate=1e-2",
        "train.warmup=4",
    ];
    let corpus = format!("data.path={:?}", path.display().to_string());
    let all: Vec<&str> = settings
        .iter()
        .chain(connection)
        .chain([&corpus.as_str()])
        .copied()
        .collect();
    let config = RunConfig::default().with_overrides(&all).expect("settings");
    let data = lab::data::Data::open(&config).expect("the text");
    let mut trainer = Trainer::new(&config, &data).expect("a trainer");
    let off = AtomicBool::new(false);
    trainer.run(None, &mut Quiet, &off).expect("a run");
    let mut params = trainer.params().detached();
    disturb(&mut params);
    let weights_file = directory.path().join(WEIGHTS_FILE);
    fs::write(&weights_file, weights::to_bytes(&params, &config.model)).expect("space");
    InspectedNetwork::open(&weights_file, Some(&path), 2).expect("a network")
}

fn disturb(params: &mut Params) {
    let connections: Vec<_> = params
        .parts()
        .filter(|part| part.name.contains("_connection."))
        .map(|part| (part.name.clone(), part.range.clone()))
        .collect();
    for (name, range) in connections {
        let mut rng = Key::new(7).named(&name).rng();
        let values: Vec<f32> = params.slab()[range.clone()]
            .iter()
            .map(|x| {
                let noise: f32 = StandardNormal.sample(&mut rng);
                x + 0.3 * noise
            })
            .collect();
        params.set(range, &values);
    }
}

/// The largest difference between `values` and `sum_j c_j T_j` of each token, over the largest
/// value.
fn relative_error(trace: &Trace, values: &[f32], row: impl Fn(usize) -> Vec<f64>) -> f64 {
    let d = trace.dim;
    let outputs: Vec<&[f32]> = std::iter::once(&trace.embedding)
        .chain(trace.layers.iter().map(|layer| &layer.output))
        .map(Vec::as_slice)
        .collect();
    let mut error = 0.0_f64;
    for token in 0..trace.tokens() {
        let row = row(token);
        for at in token * d..(token + 1) * d {
            let terms = row.iter().zip(&outputs);
            let sum: f64 = terms.map(|(c, t)| c * f64::from(t[at])).sum();
            error = error.max((sum - f64::from(values[at])).abs());
        }
    }
    let largest = values.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
    error / f64::from(largest)
}

/// To a few roundings of single precision.
const CLOSE: f64 = 1e-5;

fn check(connection: &[&str]) {
    let subject = trained(connection);
    let trace = Trace::of(&subject);
    let (d, rate) = (trace.dim, trace.rate().expect("streams"));
    assert_eq!((trace.layers.len(), trace.tokens()), (6, 24));
    let unfolded: Vec<_> = (0..trace.tokens())
        .map(|token| trace.unfolded(token).expect("streams"))
        .collect();
    for (k, layer) in trace.layers.iter().enumerate() {
        let error = relative_error(&trace, &layer.input, |t| unfolded[t].inputs[k].clone());
        assert!(error < CLOSE, "C(0), {}: {error:e}", layer.site);

        let hidden = layer.hidden.as_ref().expect("streams");
        for stream in 0..rate {
            // H'_i = sum_j A_r[j, i] H_j, from the state that was seen.
            let mixed: Vec<f32> = (0..trace.tokens() * d)
                .map(|at| {
                    let (token, channel) = (at / d, at % d);
                    let c = layer.coefficients.as_ref().expect("streams").token(token);
                    let parts = (0..rate).map(|from| {
                        let h = hidden[(token * rate + from) * d + channel];
                        c.mix(from, stream) * f64::from(h)
                    });
                    parts.sum::<f64>() as f32
                })
                .collect();
            let row = |t: usize| unfolded[t].streams[stream][k].clone();
            let error = relative_error(&trace, &mixed, row);
            assert!(
                error < CLOSE,
                "C({}), {}: {error:e}",
                stream + 1,
                layer.site
            );
        }
    }
    let last = trace.layers.len();
    let error = relative_error(&trace, &trace.reduced, |t| unfolded[t].inputs[last].clone());
    assert!(error < CLOSE, "final sum: {error:e}");
}

#[test]
fn dynamic_hyper_connections_are_their_unfolded_matrices() {
    check(&["model.connection.type=hyper", "model.connection.rate=3"]);
}

#[test]
fn static_hyper_connections_are_their_unfolded_matrices() {
    let hyper = "model.connection.type=hyper";
    check(&[
        hyper,
        "model.connection.rate=2",
        "model.connection.dynamic=false",
    ]);
}

#[test]
fn manifold_constrained_connections_with_a_learned_head_are_their_unfolded_matrices() {
    let mhc = "model.connection.type=mhc";
    check(&[mhc, "model.connection.reduction=sigmoid_head"]);
    check(&[
        "model.connection.type=identity_hc",
        "model.connection.reduction=mean",
    ]);
}

/// The columns of a table that is exported, by name, against the measures of these names.
#[track_caller]
fn has_columns(inspection: &Inspection, table: &str, expected: &[(&str, Vec<f64>)]) {
    let matrices = inspection.matrices();
    let matrix = matrices.iter().find(|matrix| matrix.name == table);
    let matrix = matrix.expect("a table of this name");
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(matrix.columns, names, "{table}");
    for (column, (name, expected)) in expected.iter().enumerate() {
        assert_eq!(matrix.values.len(), expected.len(), "{table}");
        let found = matrix.values.iter().map(|row| row[column]);
        let found: Vec<f64> = found.map(|x| x.expect("an entry")).collect();
        assert_eq!(found, *expected, "{table}: {name}");
    }
}

#[test]
fn every_exported_column_holds_the_measure_of_its_name() {
    let subject = trained(&["model.connection.type=hyper", "model.connection.rate=3"]);
    let trace = Trace::of(&subject);
    let inspection = Inspection::of("a run", &subject, &trace, &[]);
    let gain = |of: fn(&LayerGain) -> f64| inspection.gains.iter().map(of).collect();
    has_columns(
        &inspection,
        "gain",
        &[
            ("forward", gain(|g| g.single.forward)),
            ("backward", gain(|g| g.single.backward)),
            ("spectral norm", gain(|g| g.single.spectral_norm)),
            ("smallest", gain(|g| g.single.smallest)),
            ("effective rank", gain(|g| g.single.effective_rank)),
            ("composed forward", gain(|g| g.composed.forward)),
            ("composed backward", gain(|g| g.composed.backward)),
            ("composed spectral norm", gain(|g| g.composed.spectral_norm)),
            ("composed smallest", gain(|g| g.composed.smallest)),
            (
                "composed effective rank",
                gain(|g| g.composed.effective_rank),
            ),
            ("read usage", gain(|g| g.read_usage)),
            ("write usage", gain(|g| g.write_usage)),
        ],
    );
    let band = |of: fn(&Band) -> f64| inspection.similarity.iter().map(of).collect();
    has_columns(
        &inspection,
        "similarity",
        &[
            ("p5", band(|band| band.low)),
            ("median", band(|band| band.median)),
            ("p95", band(|band| band.high)),
        ],
    );
    let depth = |of: fn(&DepthView) -> f64| inspection.depth.iter().map(of).collect();
    has_columns(
        &inspection,
        "depth",
        &[
            ("input rms", depth(|view| view.input_rms)),
            ("output rms", depth(|view| view.output_rms)),
            ("output gradient", depth(|view| view.output_gradient)),
            (
                "stream cosine",
                depth(|view| view.mean_cosine().expect("streams")),
            ),
        ],
    );
    // By stream: what is said of rows is not what is said of columns.
    let by_stream = |of: fn(&LayerGain) -> &[f64]| {
        let column = |i: usize| inspection.gains.iter().map(|gain| of(gain)[i]).collect();
        ["1", "2", "3"]
            .into_iter()
            .zip((0..3).map(column))
            .collect::<Vec<_>>()
    };
    let [rows, columns] = [
        by_stream(|gain| &gain.row_sums),
        by_stream(|gain| &gain.column_sums),
    ];
    assert_ne!(rows, columns);
    has_columns(&inspection, "row_sums", &rows);
    has_columns(&inspection, "column_sums", &columns);
}

fn rms(values: impl Iterator<Item = f32>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), x| {
        (sum + f64::from(x).powi(2), count + 1.0)
    });
    (sum / count).sqrt()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn norms_and_cosines_by_depth_are_those_of_what_was_seen() {
    let subject = trained(&["model.connection.type=hyper", "model.connection.rate=2"]);
    let trace = Trace::of(&subject);
    let inspection = Inspection::of("a run", &subject, &trace, &[]);
    let (d, tokens) = (trace.dim, trace.tokens());
    for (k, (layer, view)) in trace.layers.iter().zip(&inspection.depth).enumerate() {
        let close = |found: f64, expected: f64, what: &str| {
            let error = (found - expected).abs();
            assert!(
                error < 1e-9 * (1.0 + expected.abs()),
                "{k}, {what}: {found}, not {expected}"
            );
        };
        close(view.input_rms, rms(layer.input.iter().copied()), "input");
        close(view.output_rms, rms(layer.output.iter().copied()), "output");
        let hidden = layer.hidden.as_ref().expect("streams");
        let stream = |token: usize, i: usize| &hidden[(token * 2 + i) * d..][..d];
        for i in 0..2 {
            let all = (0..tokens).flat_map(|token| stream(token, i)).copied();
            close(view.stream_rms[i], rms(all), "a stream");
        }
        let cosines = (0..tokens).map(|token| cosine(stream(token, 0), stream(token, 1)));
        let mean = cosines.sum::<f64>() / tokens as f64;
        close(view.mean_cosine().expect("two streams"), mean, "streams");
        if let Some(next) = trace.layers.get(k + 1) {
            let pairs = layer.input.chunks(d).zip(next.input.chunks(d));
            let mut cosines: Vec<f64> = pairs.map(|(a, b)| cosine(a, b)).collect();
            cosines.sort_by(f64::total_cmp);
            // Of an even number.
            let middle = (cosines[tokens / 2 - 1] + cosines[tokens / 2]) / 2.0;
            close(inspection.similarity[k].median, middle, "inputs");
        }
    }
}

#[test]
fn what_acts_is_the_static_part_and_the_dynamic_one_and_a_change_is_from_the_start() {
    let subject = trained(&["model.connection.type=hyper", "model.connection.rate=2"]);
    let trace = Trace::of(&subject);
    let inspection = Inspection::of("a run", &subject, &trace, &[]);
    for (k, view) in inspection.layers.iter().enumerate() {
        let parts = [&subject.params, &subject.initial].map(|params| {
            let name = format!("{}_connection.static_alpha", view.site);
            let part = params.part(&name).expect("a static part");
            params.slab()[part.range.clone()].to_vec()
        });
        let [now, start] = parts;
        assert_eq!(view.fixed.alpha, now, "sublayer {k}");
        assert_ne!(now, start);
        for i in 0..now.len() {
            let mean = view.mean.alpha[i];
            assert!((now[i] + view.dynamic.alpha[i] - mean).abs() < 1e-6);
            assert!((start[i] + view.change.alpha[i] - mean).abs() < 1e-6);
        }
        assert!(view.dynamic.alpha.iter().any(|x| x.abs() > 1e-4));
    }
    for intervention in &inspection.interventions {
        let found = intervention.difference;
        assert_eq!(
            found,
            intervention.loss - inspection.loss,
            "{intervention:?}"
        );
    }
}

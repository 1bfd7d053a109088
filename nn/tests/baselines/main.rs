//! Every baseline connection against its formula in f64, over the sublayers of a small
//! network: its output, and the gradients of the embedding and of all its parameters
//! against finite differences of the formula.

mod formulas;
mod formulas_2026;

use engine::{
    check::{CheckInput, relative_error},
    ops::{linear, scale, tanh},
    params::{Builder, Gradients, Params},
    rng::Key,
    tape::{Tape, Var},
};
use formulas::{Network, Vectors};
use nn::{
    attention::AttentionInput,
    connection::{
        AltUpConfig, AttentionResidualConfig, BlockSelection, Connection, DeepDeltaConfig,
        DeltaAttentionResidualConfig, DenseFormerConfig, DepthSources, GatedResidualConfig,
        HighwayConfig, LaurelConfig, LaurelForm, LayerScaleConfig, MuddConfig, ParallelConfig,
        ReZeroConfig, ResidualDualConfig, Site, Spec, Sublayer, TwoLaneConfig, ValueResidualConfig,
        WeightBound, ops::values_of,
    },
    norm::NormKind,
};

/// The width, the number of tokens, and the sublayers: three blocks.
const DIM: usize = 5;
const TOKENS: usize = 2;
const SUBLAYERS: usize = 6;
/// Large, so that it shows where it is used.
const EPS: f32 = 0.1;
/// The factor that stands for the norm of a sublayer.
const NORM: f32 = 0.7;

/// The factor of sublayer k: what it computes is `tanh(factor x)`.
fn factor(k: usize) -> f32 {
    0.5 + 0.3 * k as f32
}

/// The projections of an attention sublayer, `[3 d, d]`.
fn projection(k: usize) -> Vec<f32> {
    CheckInput::normal([3 * DIM, DIM], 0.5, 70 + k as u64).data
}

/// A connection for every sublayer, and parameters far from where they start.
fn build(spec: &dyn Spec) -> (Vec<Box<dyn Connection>>, Params) {
    let mut b = Builder::new(Key::new(1));
    let connections = (0..SUBLAYERS)
        .map(|index| {
            let site = Site {
                index,
                count: SUBLAYERS,
                dim: DIM,
                norm: NormKind::LayerNorm,
                eps: EPS,
            };
            b.scope(index.to_string(), |b| spec.build(site, b))
        })
        .collect();
    let mut params = b.finish();
    let ranges: Vec<_> = params.parts().map(|part| part.range.clone()).collect();
    for (i, range) in ranges.into_iter().enumerate() {
        let noise = CheckInput::normal([range.len()], 0.5, 20 + i as u64).data;
        for (x, noise) in params.slab_mut()[range].iter_mut().zip(noise) {
            *x += noise;
        }
    }
    (connections, params)
}

fn run<'t>(connections: &[Box<dyn Connection>], embedding: Var<'t>) -> Var<'t> {
    let tape = embedding.tape();
    let mut state = connections[0].expand(embedding);
    for (k, connection) in connections.iter().enumerate() {
        let attend = |input: AttentionInput<'t>, edit: &dyn Fn(Var<'t>) -> Var<'t>| match input {
            AttentionInput::Shared(x) => {
                let weight = tape.constant([3 * DIM, DIM], &projection(k));
                tanh(values_of(edit(linear(x, weight, None))))
            }
            AttentionInput::Apart([query, key, value]) => {
                tanh(scale(query, 0.5) + scale(key, -0.3) + value)
            }
        };
        let sublayer = Sublayer {
            norm: &|x| scale(x, NORM),
            layer: &|x| tanh(scale(x, factor(k))),
            attention: k.is_multiple_of(2).then_some(&attend),
        };
        state = connection.apply(state, &sublayer);
    }
    connections[SUBLAYERS - 1].reduce(state)
}

/// Compares a connection with a formula.
fn check(spec: &dyn Spec, formula: fn(&Network, &Vectors) -> Vectors) {
    let name = spec.label();
    let (connections, params) = build(spec);
    let embedding = CheckInput::normal([TOKENS, DIM], 1.0, 5).data;
    let cotangent = CheckInput::normal([TOKENS, DIM], 1.0, 6).data;

    let tape = Tape::new();
    tape.bind(&params);
    let input = tape.input([1, TOKENS, DIM], &embedding);
    let output = run(&connections, input);
    let got = output.value();
    let mut gradients = Gradients::new(&params);
    tape.backward_from(&[(output, &cotangent)], &mut gradients);
    gradients.settle(&params);

    let mut network = Network::new(&params);
    let mut vectors: Vectors = embedding
        .chunks(DIM)
        .map(|row| row.iter().map(|&x| f64::from(x)).collect())
        .collect();
    let expected = formula(&network, &vectors).concat();
    let error = relative_error(&got, &expected);
    assert!(error < 1e-5, "{name}: the output is off by {error:.1e}");

    let objective = |network: &Network, vectors: &Vectors| -> f64 {
        let output = formula(network, vectors).concat();
        output
            .iter()
            .zip(&cotangent)
            .map(|(y, &c)| y * f64::from(c))
            .sum()
    };
    const H: f64 = 1e-5;
    let slopes: Vec<f64> = (0..TOKENS * DIM)
        .map(|i| {
            let (row, column) = (i / DIM, i % DIM);
            let x = vectors[row][column];
            vectors[row][column] = x + H;
            let above = objective(&network, &vectors);
            vectors[row][column] = x - H;
            let below = objective(&network, &vectors);
            vectors[row][column] = x;
            (above - below) / (2.0 * H)
        })
        .collect();
    let error = relative_error(&tape.grad(input), &slopes);
    assert!(
        error < 1e-4,
        "{name}: the gradient of the embedding is off by {error:.1e}"
    );

    for part in params.parts() {
        let slopes: Vec<f64> = (0..part.range.len())
            .map(|i| {
                let x = network.get(&part.name)[i];
                network.set(&part.name, i, x + H);
                let above = objective(&network, &vectors);
                network.set(&part.name, i, x - H);
                let below = objective(&network, &vectors);
                network.set(&part.name, i, x);
                (above - below) / (2.0 * H)
            })
            .collect();
        let got = &gradients.slab()[part.range.clone()];
        let error = relative_error(got, &slopes);
        assert!(
            error < 1e-4,
            "{name}: the gradient of {} is off by {error:.1e}",
            part.name
        );
        assert!(
            slopes.iter().any(|s| s.abs() > 1e-6),
            "{name}: {} has no effect",
            part.name
        );
    }
}

#[test]
fn rezero_follows_its_formula() {
    check(&ReZeroConfig::default(), formulas::rezero);
}

#[test]
fn rezero_of_shared_alphas_follows_its_formula() {
    let config = ReZeroConfig {
        shared: true,
        ..ReZeroConfig::default()
    };
    check(&config, formulas::rezero);
}

#[test]
fn parallel_blocks_follow_their_formula() {
    check(&ParallelConfig::default(), formulas::parallel);
}

#[test]
fn layer_scale_follows_its_formula() {
    check(&LayerScaleConfig::default(), formulas::layer_scale);
}

#[test]
fn highway_follows_its_formula() {
    check(&HighwayConfig::default(), formulas::highway);
}

#[test]
fn residual_dual_follows_its_formula() {
    check(&ResidualDualConfig::default(), formulas::residual_dual);
}

#[test]
fn altup_follows_its_formula() {
    let config = |blocks, selection| AltUpConfig { blocks, selection };
    check(
        &config(2, BlockSelection::Alternating),
        formulas::altup::<2, true>,
    );
    check(
        &config(3, BlockSelection::Alternating),
        formulas::altup::<3, true>,
    );
    check(
        &config(3, BlockSelection::Same),
        formulas::altup::<3, false>,
    );
}

#[test]
fn dense_former_follows_its_formula() {
    let config = |dilation, period| DenseFormerConfig {
        dilation,
        period,
        decay: false,
    };
    check(&config(1, 1), formulas::dense_former::<1, 1>);
    check(&config(2, 1), formulas::dense_former::<2, 1>);
    check(&config(1, 2), formulas::dense_former::<1, 2>);
}

fn laurel(form: LaurelForm, bound: WeightBound, parts: (bool, usize, usize)) -> LaurelConfig {
    let (residual_weights, rank, previous) = parts;
    LaurelConfig {
        residual_weights,
        rank,
        previous,
        bound,
        form,
    }
}

/// The paper's equations (3) to (6), with each way to bound the weights.
#[test]
fn laurel_follows_the_equations_of_its_paper() {
    use LaurelForm::Paper;
    for (bound, formula) in [
        (
            WeightBound::Softmax,
            formulas::laurel::<0> as fn(&_, &_) -> _,
        ),
        (WeightBound::Sigmoid, formulas::laurel::<1>),
        (WeightBound::None, formulas::laurel::<2>),
    ] {
        check(&laurel(Paper, bound, (true, 0, 0)), formula);
        check(&laurel(Paper, bound, (true, 3, 0)), formula);
        check(&laurel(Paper, bound, (true, 2, 3)), formula);
    }
    let unweighted = |rank, previous| laurel(Paper, WeightBound::Softmax, (false, rank, previous));
    check(&unweighted(2, 0), formulas::laurel::<0>);
    check(&unweighted(2, 1), formulas::laurel::<0>);
    check(&unweighted(2, 4), formulas::laurel::<0>);
}

#[test]
fn the_laurel_of_older_runs_follows_its_formula() {
    for parts in [(true, 0, 0), (false, 2, 0), (false, 2, 2), (true, 3, 4)] {
        let config = laurel(LaurelForm::OneMap, WeightBound::None, parts);
        check(&config, formulas::laurel_of_one_map);
    }
}

#[test]
fn value_residual_follows_its_formula() {
    check(&ValueResidualConfig::default(), formulas::value_residual);
}

#[test]
fn attention_residuals_follow_their_formula() {
    let config = |sources, blocks| AttentionResidualConfig { sources, blocks };
    check(
        &config(DepthSources::Full, 8),
        formulas::attention_residual::<1>,
    );
    check(
        &config(DepthSources::Block, 3),
        formulas::attention_residual::<2>,
    );
    check(
        &config(DepthSources::Block, 2),
        formulas::attention_residual::<3>,
    );
}

#[test]
fn delta_attention_residuals_follow_their_formula() {
    let config = DeltaAttentionResidualConfig::default();
    check(&config, formulas_2026::delta_attention_residual);
}

#[test]
fn mudd_follows_its_formula() {
    check(&MuddConfig::default(), formulas_2026::mudd);
}

#[test]
fn two_lanes_follow_their_formula() {
    let from = |block| TwoLaneConfig {
        first_block: Some(block),
        parallel: false,
    };
    check(&from(0), formulas_2026::two_lanes::<0>);
    check(&from(1), formulas_2026::two_lanes::<1>);
    check(&from(2), formulas_2026::two_lanes::<2>);
    // 7 of 11 of three blocks.
    check(&TwoLaneConfig::default(), formulas_2026::two_lanes::<1>);
    let parallel = |first_block| TwoLaneConfig {
        first_block,
        parallel: true,
    };
    check(&parallel(Some(0)), formulas_2026::parallel_lanes::<0>);
    check(&parallel(None), formulas_2026::parallel_lanes::<1>);
}

#[test]
fn deep_delta_learning_follows_its_formula() {
    let with = |channels| DeepDeltaConfig {
        channels,
        beta_init: 0.5,
    };
    check(&with(1), formulas_2026::deep_delta::<1>);
    check(&with(3), formulas_2026::deep_delta::<3>);
}

#[test]
fn a_gated_residual_follows_its_formula() {
    let with = |rate, rank| GatedResidualConfig {
        rate,
        rank: Some(rank),
    };
    check(&with(2, 3), formulas_2026::gated_residual::<2>);
    check(&with(3, 1), formulas_2026::gated_residual::<3>);
}

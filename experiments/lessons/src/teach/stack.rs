//! A small stack of real feed-forward layers, to be wired by matrices or connections.

use super::hand::EPS;
use engine::{
    ops::{layer_norm, replicate},
    params::{Builder, Init, Params},
    rng::Key,
    tape::{Tape, Var},
};
use nn::{
    connection::{
        Connection, Site, Spec, State, Sublayer,
        hyper::ops::{depth_connection, width_connection},
    },
    feed_forward::FeedForward,
    norm::NormKind,
};
use rand_distr::{Distribution, StandardNormal};
use std::ops::Range;

/// A matrix HC of the paper, `[0 B; A_m A_r]` (Eq. 1), row by row.
pub type HyperMatrix<'a> = &'a [&'a [f32]];

/// Feed-forward layers of one width.
pub struct Stack {
    /// Their parameters, and those of the connections built with them.
    pub params: Params,
    layers: Vec<FeedForward>,
    /// One a layer, if the stack was built with connections.
    pub connections: Vec<Box<dyn Connection>>,
}

/// `count` normal numbers.
pub fn normal(key: Key, count: usize, scale: f32) -> Vec<f32> {
    let mut rng = key.rng();
    let mut one = || {
        let x: f32 = StandardNormal.sample(&mut rng);
        x * scale
    };
    (0..count).map(|_| one()).collect()
}

impl Stack {
    /// `count` layers, each with a connection of this kind. Layers of the same key are
    /// the same whatever the connections.
    pub fn new(key: Key, count: usize, dim: usize, spec: &dyn Spec) -> Self {
        let mut b = Builder::new(key);
        let init = Init::Normal {
            std: 1.0 / (dim as f32).sqrt(),
        };
        let layers = (0..count)
            .map(|k| {
                let name = format!("layers.{k}");
                FeedForward::gelu(&mut b, &name, (dim, 2 * dim), &init, init.clone())
            })
            .collect();
        let connections = (0..count)
            .map(|index| {
                let site = Site {
                    index,
                    count,
                    dim,
                    norm: NormKind::LayerNorm,
                    eps: EPS,
                };
                b.scope(format!("connections.{index}"), |b| spec.build(site, b))
            })
            .collect();
        Self {
            params: b.finish(),
            layers,
            connections,
        }
    }

    /// Number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Names and places of the connections' parameters.
    pub fn connection_parameters(&self) -> impl Iterator<Item = (String, Range<usize>)> {
        let all = self.params.iter().map(|(_, param)| param);
        let own = all.filter(|param| param.name.starts_with("connections"));
        own.map(|param| (param.name.clone(), param.range.clone()))
    }

    /// Adds normal noise to every number of the connections, as training might move them.
    pub fn move_connections(&mut self, key: Key, scale: f32) {
        let parameters: Vec<_> = self.connection_parameters().collect();
        for (name, range) in parameters {
            let noise = normal(key.named(&name), range.len(), scale);
            let slab = &mut self.params.slab_mut()[range];
            slab.iter_mut()
                .zip(noise)
                .for_each(|(x, noise)| *x += noise);
        }
    }

    /// Layer k without a norm.
    pub fn bare<'t>(&self, k: usize, x: Var<'t>) -> Var<'t> {
        self.layers[k].forward(x)
    }

    /// `T_k`: layer k with its norm inside.
    pub fn layer<'t>(&self, k: usize, x: Var<'t>) -> Var<'t> {
        self.bare(k, layer_norm(x, None, None, EPS))
    }

    /// The stack with its connections; the state before every sublayer is probed by
    /// them under `k`.
    pub fn connected<'t>(&self, x: Var<'t>) -> Var<'t> {
        let mut state = self.connections[0].expand(x);
        for k in 0..self.len() {
            let _scope = x.tape().enter(&format!("{k}").into());
            state = self.past(k, state);
        }
        self.connections[self.len() - 1].reduce(state)
    }

    /// Streams past layer k and its connection.
    pub fn apply<'t>(&self, k: usize, streams: Var<'t>) -> Var<'t> {
        self.past(k, State::new(streams)).hidden
    }

    fn past<'t>(&self, k: usize, state: State<'t>) -> State<'t> {
        let sublayer = Sublayer {
            norm: &|x| layer_norm(x, None, None, EPS),
            layer: &|x| self.bare(k, x),
            attention: None,
        };
        self.connections[k].apply(state, &sublayer)
    }

    /// The streams after layer k under a matrix, and what the layer read.
    pub fn step<'t>(&self, k: usize, state: Var<'t>, matrix: HyperMatrix<'_>) -> [Var<'t>; 2] {
        let tape = state.tape();
        let n = matrix.len() - 1;
        let alpha: Vec<f32> = matrix[1..].concat();
        let alpha = tape.constant([n, n + 1], &alpha);
        let beta = tape.constant([n], &matrix[0][1..]);
        let (input, mixed) = width_connection(state, alpha);
        [depth_connection(mixed, beta, self.layer(k, input)), input]
    }

    /// The streams after every layer, under one matrix for every layer.
    pub fn wired<'t>(
        &self,
        tape: &'t Tape,
        x: Var<'t>,
        matrix: impl Fn(usize) -> HyperMatrix<'static>,
    ) -> Vec<[Var<'t>; 2]> {
        tape.bind(&self.params);
        let mut state = replicate(x, matrix(0).len() - 1);
        (0..self.len())
            .map(|k| {
                let step = self.step(k, state, matrix(k));
                state = step[0];
                step
            })
            .collect()
    }
}

/// The largest difference between two values of tapes.
pub fn difference(a: Var<'_>, b: Var<'_>) -> f64 {
    apart(&a.value(), &b.value())
}

/// The largest difference between two lists of numbers.
pub fn apart(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "as many numbers on both sides");
    let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, f64::max)
}

/// The largest difference between two streams of a state `[.., n, d]`.
pub fn spread(state: Var<'_>) -> f64 {
    let &[.., n, d] = state.shape().dims() else {
        panic!(
            "spread: the state is {}, expected [.., n, d]",
            state.shape()
        );
    };
    state.with_value(|values| {
        let tokens = values.chunks(n * d);
        let of_token = |token: &[f32]| {
            let streams = token.chunks(d);
            streams
                .map(|stream| apart(stream, &token[..d]))
                .fold(0.0, f64::max)
        };
        tokens.map(of_token).fold(0.0, f64::max)
    })
}

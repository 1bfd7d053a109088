//! A small network around any connection.

use engine::{
    check::CheckInput,
    kernels::elementwise,
    ops::{layer_norm, linear, mean, tanh},
    params::{Builder, Decay, Gradients, Init, ParamId, Params},
    rng::Key,
    tape::{Tape, Var},
};
use nn::{
    connection::{Connection, Site, Spec, Sublayer},
    norm::NormKind,
    optim::{AdamW, AdamWConfig},
};
use std::sync::Arc;

pub const DIM: usize = 6;
pub const TOKENS: usize = 5;
pub const SUBLAYERS: usize = 6;
pub const RATE: usize = 3;
pub const EPS: f32 = 1e-5;
const LEARNING_RATE: f64 = 1e-2;

/// Sublayers `tanh(W_k norm(x))` with their connections, and a loss.
pub struct Network {
    pub connections: Vec<Box<dyn Connection>>,
    pub params: Params,
    weights: Vec<ParamId>,
}

impl Network {
    pub fn new(spec: &dyn Spec) -> Self {
        Self::with_index(spec, |k| k)
    }

    /// A network that tells sublayer k that it is sublayer `index(k)`.
    pub fn with_index(spec: &dyn Spec, index: impl Fn(usize) -> usize) -> Self {
        let mut b = Builder::new(Key::new(11));
        let init = Init::Normal { std: 0.6 };
        let weights = (0..SUBLAYERS)
            .map(|k| b.param(&format!("{k}.weight"), [DIM, DIM], Decay::Yes, init.clone()))
            .collect();
        let connections = (0..SUBLAYERS)
            .map(|k| {
                let site = Site {
                    index: index(k),
                    count: SUBLAYERS,
                    dim: DIM,
                    norm: NormKind::LayerNorm,
                    eps: EPS,
                };
                b.scope(format!("{k}.connection"), |b| spec.build(site, b))
            })
            .collect();
        Self {
            connections,
            params: b.finish(),
            weights,
        }
    }

    /// The last state, as one vector per token.
    pub fn reduced<'t>(&self, tape: &'t Tape) -> Var<'t> {
        let embedding = CheckInput::normal([TOKENS, DIM], 1.0, 1).data;
        let embedding = tape.constant([1, TOKENS, DIM], &embedding);
        let mut state = self.connections[0].expand(embedding);
        for (k, connection) in self.connections.iter().enumerate() {
            let _scope = tape.enter(&Arc::from(format!("sublayer {k}")));
            let sublayer = Sublayer {
                norm: &|x| layer_norm(x, None, None, EPS),
                layer: &|x| tanh(linear(x, tape.param(self.weights[k]), None)),
                attention: None,
            };
            state = connection.apply(state, &sublayer);
        }
        self.connections[SUBLAYERS - 1].reduce(state)
    }

    /// The mean square distance of the normed output from a fixed target.
    pub fn loss<'t>(&self, tape: &'t Tape) -> Var<'t> {
        let target = CheckInput::normal([TOKENS, DIM], 1.0, 2).data;
        let target = tape.constant([1, TOKENS, DIM], &target);
        let error = layer_norm(self.reduced(tape), None, None, EPS) - target;
        mean(error * error)
    }

    pub fn loss_value(&self) -> f32 {
        let tape = Tape::new();
        tape.bind(&self.params);
        self.loss(&tape).item()
    }

    pub fn gradients(&self) -> Gradients {
        let tape = Tape::new();
        tape.bind(&self.params);
        let mut gradients = Gradients::new(&self.params);
        tape.backward(self.loss(&tape), &mut gradients);
        gradients.settle(&self.params);
        gradients
    }

    /// Some steps of training, each of which is shown to `watch`.
    pub fn train(&mut self, steps: u32, mut watch: impl FnMut(&Params, &Gradients, f64)) {
        let mut optimiser = AdamW::new(&self.params, AdamWConfig::default());
        for _ in 0..steps {
            let gradients = self.gradients();
            watch(&self.params, &gradients, LEARNING_RATE);
            optimiser.update(&mut self.params, &gradients, LEARNING_RATE);
        }
    }

    /// The elements of a named tensor.
    pub fn value(&self, name: &str) -> &[f32] {
        &self.params.slab()[self.params.part(name).expect("a parameter").range.clone()]
    }

    /// Moves every parameter away from where it starts.
    pub fn perturb(&mut self) {
        let ranges: Vec<_> = self.params.parts().map(|part| part.range.clone()).collect();
        for (i, range) in ranges.into_iter().enumerate() {
            let noise = CheckInput::normal([range.len()], 0.3, 40 + i as u64).data;
            elementwise::copy(&mut self.params.slab_mut()[range], true, &noise);
        }
    }
}

//! One forward and backward with the inputs, outputs and gradients of all sublayers.

use super::network::InspectedNetwork;
use crate::coefficients::SiteCoefficients;
use engine::{
    params::Gradients,
    tape::{Tape, Var},
};
use figures::unfold::{LayerCoefficients, Unfolded, unfold};
use nn::hooks;

/// Input, output and gradient of every sublayer. Values are `[tokens, ..]`.
pub struct Trace {
    /// The width of the network.
    pub dim: usize,
    /// The embedding, `T^0`, `[tokens, d]`.
    pub embedding: Vec<f32>,
    /// The sublayers in order.
    pub layers: Vec<LayerTrace>,
    /// The sum of the streams before the final norm, `[tokens, d]`.
    pub reduced: Vec<f32>,
    /// The weights of the streams in it, `[tokens, n]` or `[n]`; `None` if all are 1.
    head: Option<Vec<f32>>,
    /// The mean loss.
    pub loss: f64,
}

/// One sublayer.
pub struct LayerTrace {
    /// The scope of the sublayer: `blocks.0.attn`.
    pub site: String,
    /// Input, before the norm, `[tokens, d]`.
    pub input: Vec<f32>,
    /// Output, `T(h0)`, `[tokens, d]`.
    pub output: Vec<f32>,
    /// The Frobenius norm of the gradient of the mean loss at its output.
    pub output_gradient: f64,
    /// The streams before it, if there are any, `[tokens, n, d]`.
    pub hidden: Option<Vec<f32>>,
    /// The coefficients of its connection, if it has any.
    pub coefficients: Option<SiteCoefficients>,
}

impl Trace {
    /// Runs a network forward and backward.
    pub fn of(network: &InspectedNetwork) -> Self {
        let mut tape = Tape::new().parallel(true);
        tape.set_probing();
        tape.set_keeping();
        tape.bind(&network.params);
        let loss = network.loss(&tape);
        tape.backward(loss, &mut Gradients::new(&network.params));
        Self::read(&tape, loss.item().into())
    }

    /// Reads a probing and keeping tape after a backward.
    fn read(tape: &Tape, loss: f64) -> Self {
        let probes = tape.probes();
        let find = |name: &str| -> Option<Var<'_>> {
            let found = probes.iter().find(|(path, _)| path == name);
            found.map(|(_, var)| *var)
        };
        let mut coefficients = SiteCoefficients::of(tape);
        let sites = probes
            .iter()
            .filter_map(|(path, _)| hooks::scope_of(path, hooks::INPUT));
        let layers = sites.map(|site| {
            let of_site = |what: &str| find(&format!("{site}.{what}"));
            let output = of_site(hooks::OUTPUT).expect("the output of a sublayer");
            let input = of_site(hooks::INPUT).expect("the input of a sublayer");
            let streams = of_site(hooks::HIDDEN)
                .filter(|hidden| hidden.shape().rank() > input.shape().rank());
            let found = coefficients.iter().position(|known| known.site == site);
            LayerTrace {
                site: site.to_owned(),
                input: input.value(),
                output: output.value(),
                output_gradient: norm(&tape.grad(output)),
                hidden: streams.map(Var::value),
                coefficients: found.map(|at| coefficients.swap_remove(at)),
            }
        });
        let layers = layers.collect();
        let embedding = find(hooks::EMBEDDING).expect("the embedding of a network");
        let reduced = find(hooks::REDUCED).expect("the end of a network");
        Self {
            dim: embedding.shape().width(),
            embedding: embedding.value(),
            layers,
            reduced: reduced.value(),
            head: find(hooks::HEAD).map(Var::value),
            loss,
        }
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.embedding.len() / self.dim
    }

    /// Number of streams, if the connections have coefficients of streams.
    pub fn rate(&self) -> Option<usize> {
        Some(self.layers.first()?.coefficients.as_ref()?.rate)
    }

    /// The weights of the streams of a token in the final sum.
    pub fn last(&self, token: usize) -> Vec<f64> {
        let rate = self.rate().unwrap_or(1);
        let Some(head) = &self.head else {
            return vec![1.0; rate];
        };
        let start = token * rate % head.len();
        let weights = head[start..start + rate].iter();
        weights.map(|&weight| weight.into()).collect()
    }

    /// The mean of [`Trace::last`] over all tokens.
    pub fn mean_last(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.rate().unwrap_or(1)];
        for token in 0..self.tokens() {
            for (mean, last) in mean.iter_mut().zip(self.last(token)) {
                *mean += last / self.tokens() as f64;
            }
        }
        mean
    }

    /// The coefficients of all sublayers for one token; `None` without streams.
    pub fn token(&self, token: usize) -> Option<Vec<LayerCoefficients>> {
        self.coefficients(|site| site.token(token))
    }

    /// The mean coefficients of all sublayers; `None` without streams.
    pub fn mean(&self) -> Option<Vec<LayerCoefficients>> {
        self.coefficients(SiteCoefficients::mean)
    }

    fn coefficients(
        &self,
        of: impl Fn(&SiteCoefficients) -> LayerCoefficients,
    ) -> Option<Vec<LayerCoefficients>> {
        let layers = self.layers.iter();
        layers
            .map(|layer| layer.coefficients.as_ref().map(&of))
            .collect()
    }

    /// C(0) to C(n) of one token: exact, since connections treat every token by itself.
    pub fn unfolded(&self, token: usize) -> Option<Unfolded> {
        Some(unfold(&self.token(token)?, &self.last(token)))
    }
}

/// The Euclidean norm, summed in f64.
pub(super) fn norm(values: &[f32]) -> f64 {
    let squares = values.iter().map(|&x| f64::from(x).powi(2));
    squares.sum::<f64>().sqrt()
}

/// The root mean square.
pub(super) fn rms(values: &[f32]) -> f64 {
    norm(values) / (values.len() as f64).sqrt()
}

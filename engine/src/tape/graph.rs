//! The graph of what a tape has recorded, for inspection.

use super::{Tape, arena::Storage};
use crate::{params::Gradients, shape::Shape};
use std::ops::Range;

/// A copy of the records of a tape, with values and gradients.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Every value that a call reads or makes, in the order of execution; a parameter
    /// that is read several times is one value.
    pub values: Vec<GraphValue>,
    /// The recorded operations, in the order of execution.
    pub calls: Vec<Call>,
}

/// Origin of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A parameter of the bound network.
    Parameter,
    /// A leaf that receives a gradient.
    Input,
    /// Anything that does not depend on what is trained.
    Constant,
    /// An output of a recorded operation.
    Computed,
}

/// A value of a [`Graph`].
#[derive(Clone, Debug)]
pub struct GraphValue {
    /// The path of a parameter, or the name under which the value was
    /// [probed](Tape::probe).
    pub name: Option<String>,
    /// Origin.
    pub origin: Origin,
    /// Shape.
    pub shape: Shape,
    /// Elements; `None` if a backward has freed them.
    pub elements: Option<Vec<f32>>,
    /// The gradient of the loss with respect to it, if one has arrived and is kept.
    pub gradient: Option<Vec<f32>>,
}

/// An operation of a [`Graph`].
#[derive(Clone, Debug)]
pub struct Call {
    /// The name of the operation.
    pub op: &'static str,
    /// The scope in which it was recorded.
    pub scope: Option<String>,
    /// Inputs: indices of values.
    pub inputs: Vec<usize>,
    /// Outputs: indices of values.
    pub outputs: Range<usize>,
}

impl Tape {
    /// Copies out what is recorded. Gradients of computed values are there after a
    /// backward of a tape that [keeps](Tape::set_keeping) them, those of parameters
    /// come from `gradients`.
    ///
    /// Operations on constants alone are not recorded: their outputs are constants.
    pub fn graph(&self, gradients: &Gradients) -> Graph {
        let inner = self.inner.borrow();
        let mut computed = vec![false; inner.values.len()];
        for record in &inner.records {
            for id in record.outputs.clone() {
                computed[id as usize] = true;
            }
        }
        let mut used = computed.clone();
        inner.edges.iter().for_each(|&id| used[id as usize] = true);

        let mut graph = Graph::default();
        let mut place = vec![0; inner.values.len()];
        let mut seen = Vec::new();
        for (id, value) in inner.values.iter().enumerate() {
            if !used[id] {
                continue;
            }
            place[id] = graph.values.len();
            let probes = inner.probes.iter().flatten();
            let probed = probes
                .rev()
                .find(|(_, probed)| *probed as usize == id)
                .map(|(name, _)| name.clone());
            let elements = match &value.storage {
                Storage::Freed => None,
                _ => Some(value.operand(&inner.params).values().to_vec()),
            };
            let (name, origin, gradient) = match value.storage {
                Storage::Param(param) => {
                    if let Some((_, first)) = seen.iter().find(|(other, _)| *other == param) {
                        place[id] = *first;
                        continue;
                    }
                    seen.push((param, graph.values.len()));
                    let entry = inner.params.as_ref().expect("bound parameters").get(param);
                    let gradient = gradients
                        .touched(param)
                        .then(|| gradients.slab()[entry.range.clone()].to_vec());
                    (Some(entry.name.clone()), Origin::Parameter, gradient)
                }
                _ => {
                    let origin = match (computed[id], value.needs_grad) {
                        (true, _) => Origin::Computed,
                        (false, true) => Origin::Input,
                        (false, false) => Origin::Constant,
                    };
                    let gradient = value.grad.as_ref().map(|grad| grad.to_vec());
                    (probed, origin, gradient)
                }
            };
            graph.values.push(GraphValue {
                name,
                origin,
                shape: value.shape,
                elements,
                gradient,
            });
        }
        for (record, op) in inner.records.iter().zip(&inner.ops) {
            let edges = &inner.edges[record.inputs.clone()];
            let first = place[record.outputs.start as usize];
            graph.calls.push(Call {
                op: op.name(),
                scope: record.scope.as_deref().map(str::to_owned),
                inputs: edges.iter().map(|&id| place[id as usize]).collect(),
                outputs: first..first + record.outputs.len(),
            });
        }
        graph
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ops::{sum, tanh},
        params::{Builder, Decay, Init, Params},
        rng::Key,
    };

    fn network() -> (Params, crate::params::ParamId) {
        let mut builder = Builder::new(Key::new(0));
        let weight = builder.param("layer.weight", [2], Decay::Yes, Init::Constant(3.0));
        (builder.finish(), weight)
    }

    /// The graph of `sum(weight x + tanh(weight))` at x = (1, -2).
    fn drawn(keeping: bool) -> Graph {
        let (params, weight) = network();
        let mut tape = Tape::new();
        tape.set_probing();
        if keeping {
            tape.set_keeping();
        }
        tape.bind(&params);
        let x = tape.input([2], &[1.0, -2.0]);
        tape.probe("x", x);
        let scope = tape.enter(&"layer".into());
        let product = tape.param(weight) * x;
        drop(scope);
        let loss = sum(product + tanh(tape.param(weight)));
        let mut gradients = Gradients::new(&params);
        tape.backward(loss, &mut gradients);
        tape.graph(&gradients)
    }

    #[test]
    fn a_graph_has_the_calls_in_order_with_their_values() {
        let graph = drawn(true);
        let ops: Vec<_> = graph.calls.iter().map(|call| call.op).collect();
        assert_eq!(ops, ["mul", "tanh", "add", "sum"]);
        assert_eq!(graph.calls[0].scope.as_deref(), Some("layer"));
        assert_eq!(graph.calls[3].scope, None);
        let weight = &graph.values[graph.calls[0].inputs[0]];
        assert_eq!(weight.name.as_deref(), Some("layer.weight"));
        assert_eq!(weight.origin, Origin::Parameter);
        let x = &graph.values[graph.calls[0].inputs[1]];
        assert_eq!((x.name.as_deref(), x.origin), (Some("x"), Origin::Input));
        let product = &graph.values[graph.calls[0].outputs.start];
        assert_eq!(product.elements.as_deref(), Some(&[3.0, -6.0][..]));
    }

    #[test]
    fn a_parameter_that_is_read_twice_is_one_value() {
        let graph = drawn(true);
        assert_eq!(graph.calls[0].inputs[0], graph.calls[1].inputs[0]);
        let slope = 1.0 - 3.0_f32.tanh().powi(2);
        let gradient = graph.values[graph.calls[1].inputs[0]].gradient.as_ref();
        for (got, expected) in gradient.unwrap().iter().zip([1.0 + slope, -2.0 + slope]) {
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
    }

    #[test]
    fn a_tape_that_keeps_has_every_gradient_and_another_has_freed_them() {
        for value in drawn(true).values {
            assert!(
                value.elements.is_some() && value.gradient.is_some(),
                "{value:?}"
            );
        }
        let graph = drawn(false);
        let product = &graph.values[graph.calls[0].outputs.start];
        assert!(product.elements.is_none() && product.gradient.is_none());
    }
}

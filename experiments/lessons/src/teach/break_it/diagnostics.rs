//! Measurements that a correct network passes; each says what it read and whether that
//! is an alarm.

use crate::{
    known_bugs::{Bug, Suspect},
    teach::{
        board::largest_difference,
        hand::{self, EPS, exact},
        stack::{Stack, apart, normal, spread},
    },
};
use engine::{
    ops::{layer_norm, mean},
    params::Gradients,
    rng::Key,
    tape::{Tape, Var},
};
use nn::hooks;
use nn::{
    connection::{PreNormConfig, Spec},
    optim::{AdamW, AdamWConfig},
};
use std::ops::Range;

const LAYERS: usize = 4;
const DIM: usize = 8;
const TOKENS: usize = 6;
const RATE: usize = 2;

/// One measurement.
pub struct Diagnostic {
    /// A short name, for the head of a column.
    pub name: &'static str,
    /// Quantity that is measured.
    pub about: &'static str,
    /// Measures it.
    pub measure: fn(&Patient) -> f64,
    /// Returns whether the measured number is an alarm.
    pub fires: fn(f64) -> bool,
}

/// A network under examination.
pub struct Patient {
    key: Key,
    suspect: Suspect,
    data: Vec<f32>,
}

/// Every diagnostic.
pub const DIAGNOSTICS: &[Diagnostic] = &[
    Diagnostic {
        name: "start",
        about: "output at initialisation minus that of pre-norm; alarm above 1e-4",
        measure: Patient::start,
        fires: |value| value > 1e-4,
    },
    Diagnostic {
        name: "hand",
        about: "one connection, random coefficients, minus Eq. 2 by hand; alarm above 1e-4",
        measure: Patient::hand,
        fires: |value| value > 1e-4,
    },
    Diagnostic {
        name: "nudge",
        about: "output moved by a nudge of A_r; alarm if 0",
        measure: Patient::nudge,
        fires: |value| value < 1e-6,
    },
    Diagnostic {
        name: "grad",
        about: "smallest gradient norm of A_m, A_r, B, the W and the s; alarm if 0 or missing",
        measure: Patient::smallest_gradient,
        fires: |value| value == 0.0,
    },
    Diagnostic {
        name: "spread",
        about: "difference of streams carried into block 2 after 5 steps of plain descent; alarm below 1e-3",
        measure: Patient::spread_after_training,
        fires: |value| value < 1e-3,
    },
    Diagnostic {
        name: "reads",
        about: "neighbouring sublayers that start reading the same streams; alarm above 0",
        measure: Patient::reads_in_a_row,
        fires: |value| value > 0.0,
    },
    Diagnostic {
        name: "drift",
        about: "B, A_m, A_r moved by 10 steps on a gradient of 0; alarm above 0",
        measure: Patient::drift,
        fires: |value| value > 0.0,
    },
    Diagnostic {
        name: "own",
        about: "row 1 of A moved by replacing stream 2; alarm above 0",
        measure: Patient::own_stream_only,
        fires: |value| value > 0.0,
    },
];

impl Patient {
    /// A network with this bug, or none.
    pub fn new(key: Key, bug: Option<Bug>) -> Self {
        Self {
            key,
            suspect: Suspect {
                rate: RATE,
                dynamic: true,
                bug,
            },
            data: normal(key.named("tokens"), TOKENS * DIM, 1.0),
        }
    }

    fn stack(&self) -> Stack {
        Stack::new(self.key.named("stack"), LAYERS, DIM, &self.suspect)
    }

    /// The network as it might be later: every number of the connections moved.
    fn trained(&self) -> Stack {
        let mut stack = self.stack();
        stack.move_connections(self.key, 0.3);
        stack
    }

    fn output<'t>(&self, stack: &Stack, tape: &'t Tape) -> Var<'t> {
        tape.bind(&stack.params);
        let x = tape.constant([TOKENS, DIM], &self.data);
        let last = stack.connected(x);
        match self.suspect.final_norm() {
            true => layer_norm(last, None, None, EPS),
            false => last,
        }
    }

    fn start(&self) -> f64 {
        let tape = Tape::new();
        let ours = self.output(&self.stack(), &tape).value();
        let plain = Stack::new(
            self.key.named("stack"),
            LAYERS,
            DIM,
            &PreNormConfig::default(),
        );
        tape.bind(&plain.params);
        let last = plain.connected(tape.constant([TOKENS, DIM], &self.data));
        let theirs = layer_norm(last, None, None, EPS).value();
        apart(&ours, &theirs)
    }

    /// The last connection alone: its coefficients, by hand from the state that it saw.
    fn hand(&self) -> f64 {
        let stack = self.trained();
        let mut tape = Tape::new();
        tape.set_probing();
        tape.bind(&stack.params);
        let state = normal(self.key.named("streams"), TOKENS * RATE * DIM, 1.0);
        let next = {
            let _scope = tape.enter(&"one".into());
            let state = tape.constant([TOKENS, RATE, DIM], &state);
            stack.apply(1, state).value()
        };
        let probes = tape.probes();
        let output = probes.iter().find(|(name, _)| name == "one.output");
        let output = exact(&output.expect("a probed output").1.value());
        let of = |name: &str| -> Vec<f64> {
            let full = format!("connections.1.{name}");
            match stack.params.part(&full) {
                Some(part) => exact(&stack.params.slab()[part.range.clone()]),
                // What a network that forgot to register it uses.
                None => vec![0.0, 1.0, 0.0, 1.0, 0.0, 1.0],
            }
        };
        let normed = hand::layer_norm(DIM, &exact(&state));
        let mut expected = Vec::new();
        for token in 0..TOKENS {
            let here = token * RATE * DIM..(token + 1) * RATE * DIM;
            let z = hand::product(
                DIM,
                RATE + 1,
                &normed[here.clone()],
                &of("dynamic_alpha_fn"),
            );
            let scale = of("dynamic_alpha_scale")[0];
            let alpha = hand::coefficient(scale, &z, &of("static_alpha"));
            let z = hand::product(DIM, 1, &normed[here.clone()], &of("dynamic_beta_fn"));
            let beta = hand::coefficient(of("dynamic_beta_scale")[0], &z, &of("static_beta"));
            let (_, mixed) = hand::width(RATE, DIM, &exact(&state[here]), &alpha);
            let output = &output[token * DIM..(token + 1) * DIM];
            expected.extend(hand::depth(DIM, &mixed, &beta, output));
        }
        largest_difference(&next, &expected)
    }

    /// Every entry of A_r of the second connection, one at a time; the smallest effect.
    fn nudge(&self) -> f64 {
        let mut stack = self.trained();
        let tape = Tape::new();
        let before = self.output(&stack, &tape).value();
        drop(tape);
        let Some(part) = stack.params.part("connections.1.static_alpha") else {
            return 0.0;
        };
        let range = part.range.clone();
        let mut smallest = f64::INFINITY;
        for at in range
            .clone()
            .filter(|at| !(at - range.start).is_multiple_of(RATE + 1))
        {
            stack.params.slab_mut()[at] += 0.1;
            let tape = Tape::new();
            let after = self.output(&stack, &tape).value();
            drop(tape);
            stack.params.slab_mut()[at] -= 0.1;
            smallest = smallest.min(apart(&before, &after));
        }
        smallest
    }

    fn smallest_gradient(&self) -> f64 {
        let stack = self.trained();
        let tape = Tape::new();
        let gradients = self.gradients(&stack, &tape);
        let norm = |values: Vec<f32>| values.iter().map(|x| x * x).sum::<f32>().sqrt();
        let mut smallest = f32::INFINITY;
        for k in 0..LAYERS {
            for name in [
                "static_alpha",
                "static_beta",
                "dynamic_alpha_fn",
                "dynamic_beta_fn",
                "dynamic_alpha_scale",
                "dynamic_beta_scale",
            ] {
                let part = stack.params.part(&format!("connections.{k}.{name}"));
                let gradient = part.map(|part| gradients.slab()[part.range.clone()].to_vec());
                let norms = match gradient {
                    None => vec![0.0],
                    // A_m and A_r apart, or a dead one hides behind the other.
                    Some(gradient) if name == "static_alpha" => {
                        let column = |c: usize| gradient[c..].iter().step_by(RATE + 1);
                        vec![
                            norm(column(0).copied().collect()),
                            norm((1..=RATE).flat_map(column).copied().collect()),
                        ]
                    }
                    Some(gradient) => vec![norm(gradient)],
                };
                smallest = norms.into_iter().fold(smallest, f32::min);
            }
        }
        smallest.into()
    }

    /// Of the mean squared distance to a random target.
    fn gradients(&self, stack: &Stack, tape: &Tape) -> Gradients {
        let target = normal(self.key.named("target"), TOKENS * DIM, 1.0);
        let miss = self.output(stack, tape) - tape.constant([TOKENS, DIM], &target);
        let mut gradients = Gradients::new(&stack.params);
        tape.backward(mean(miss * miss), &mut gradients);
        gradients.settle(&stack.params);
        gradients
    }

    /// Plain descent: Adam would make a step of what rounding leaves of a gradient of 0.
    fn spread_after_training(&self) -> f64 {
        let mut stack = self.stack();
        for _ in 0..5 {
            let tape = Tape::new();
            let gradients = self.gradients(&stack, &tape);
            drop(tape);
            let slab = stack.params.slab_mut().iter_mut();
            slab.zip(gradients.slab()).for_each(|(x, g)| *x -= 0.1 * g);
        }
        let mut tape = Tape::new();
        tape.set_probing();
        self.output(&stack, &tape);
        let probes = tape.probes();
        let hidden = probes.iter().find(|(name, _)| name == "2.hidden");
        spread(hidden.expect("a probed state").1)
    }

    fn reads_in_a_row(&self) -> f64 {
        let stack = self.stack();
        let mut tape = Tape::new();
        tape.set_probing();
        self.output(&stack, &tape);
        let reads: Vec<Vec<f32>> = tape
            .probes()
            .iter()
            .filter(|(name, _)| name.ends_with(hooks::ALPHA))
            .map(|(_, alpha)| {
                let first = alpha.value();
                (0..RATE).map(|i| first[i * (RATE + 1)]).collect()
            })
            .collect();
        let same = reads.windows(2).filter(|pair| pair[0] == pair[1]);
        same.count() as f64
    }

    fn drift(&self) -> f64 {
        let mut stack = self.stack();
        let statics: Vec<_> = stack
            .connection_parameters()
            .filter(|(name, _)| name.contains("static"))
            .map(|(_, range)| range)
            .collect();
        let before = stack.params.slab().to_vec();
        let mut zero = Gradients::new(&stack.params);
        zero.settle(&stack.params);
        let mut optimiser = AdamW::new(&stack.params, AdamWConfig::default());
        for _ in 0..10 {
            optimiser.update(&mut stack.params, &zero, 1e-2);
        }
        let moved = |range: &Range<usize>| {
            apart(&before[range.clone()], &stack.params.slab()[range.clone()])
        };
        statics.iter().map(moved).fold(0.0, f64::max)
    }

    fn own_stream_only(&self) -> f64 {
        let stack = self.trained();
        let row_1 = |replaced: bool| -> Vec<f32> {
            let mut state = normal(self.key.named("streams"), TOKENS * RATE * DIM, 1.0);
            if replaced {
                let other = normal(self.key.named("other"), DIM, 1.0);
                for token in state.chunks_mut(RATE * DIM) {
                    token[DIM..].copy_from_slice(&other);
                }
            }
            let mut tape = Tape::new();
            tape.set_probing();
            tape.bind(&stack.params);
            stack.apply(1, tape.constant([TOKENS, RATE, DIM], &state));
            let probes = tape.probes();
            let alpha = probes.iter().find(|(name, _)| name == "alpha");
            let alpha = alpha.expect("probed coefficients").1.value();
            let tokens = alpha.chunks(RATE * (RATE + 1));
            tokens.flat_map(|token| token[..=RATE].to_vec()).collect()
        };
        apart(&row_1(false), &row_1(true))
    }
}

//! Results that are deferred until they are read, and those lost with the device.

use crate::{assert_close, device, moved, options, values};
use engine::{
    backend::{Backend, Options, Traffic},
    ops,
    parallel::Shards,
    params::{Builder, Decay, Init, ParamId, Params},
    rng::Key,
    tape::{Tape, Var},
};
use engine_wgpu::WgpuBackend;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

// As many as columns, so that all values and the square weight have one shape.
const ROWS: usize = 12;
const DIM: usize = 12;
const HIDDEN: usize = 20;

struct Network {
    params: Params,
    /// `[DIM, DIM]`.
    square: ParamId,
    /// `[2 HIDDEN, DIM]`.
    gate_up: ParamId,
    /// `[DIM, HIDDEN]`.
    down: ParamId,
    /// `[DIM]`.
    bias: ParamId,
    /// `[ROWS, DIM]`.
    table: ParamId,
}

fn network() -> Network {
    let mut builder = Builder::new(Key::new(5));
    let init = Init::Normal { std: 0.3 };
    let mut param = |name, shape: &[usize]| builder.param(name, shape, Decay::Yes, init.clone());
    let square = param("square", &[DIM, DIM]);
    let gate_up = param("gate_up", &[2 * HIDDEN, DIM]);
    let down = param("down", &[DIM, HIDDEN]);
    let bias = param("bias", &[DIM]);
    let table = param("table", &[ROWS, DIM]);
    Network {
        square,
        gate_up,
        down,
        bias,
        table,
        params: builder.finish(),
    }
}

/// The loss of a micro-batch.
type Loss<'l> = &'l (dyn for<'t> Fn(&'t Tape, usize) -> Var<'t> + Sync);

/// A step of shards: the losses of the micro-batches, and the gradients.
fn step(
    shards: &mut Shards,
    params: &Params,
    micro_batches: usize,
    loss: Loss<'_>,
) -> (Vec<f32>, Vec<f32>) {
    let mut losses = vec![0.0; micro_batches];
    shards.step(params, &mut losses, |tape, micro| {
        let loss = loss(tape, micro.index);
        (loss, loss.item())
    });
    (losses, shards.gradients().slab().to_vec())
}

/// Traffic of a step that has the losses and gradients of another.
fn traffic_of(
    backend: &WgpuBackend,
    want: &(Vec<f32>, Vec<f32>),
    step: impl FnOnce() -> (Vec<f32>, Vec<f32>),
) -> Traffic {
    moved(backend, || {
        let got = step();
        assert_close(&got.0, &want.0);
        assert_close(&got.1, &want.1);
    })
}

fn shards(count: usize, params: &Params, backend: Option<&Arc<WgpuBackend>>) -> Shards {
    Shards::new(count, params, || match backend {
        Some(backend) => Tape::new().with_backend(backend.clone()),
        None => Tape::new(),
    })
}

fn feed_forward<'t>(network: &Network, tape: &'t Tape, index: usize) -> Var<'t> {
    let x = tape.constant([ROWS, DIM], &values(ROWS * DIM, 4 + index));
    let x = x * tape.param(network.table);
    let inner = ops::linear(x, tape.param(network.gate_up), None);
    let y = ops::linear(ops::swiglu(inner), tape.param(network.down), None);
    ops::sum(y * y)
}

#[test]
fn what_stands_between_two_products_stays_and_gradients_of_weights_come_back_once_a_step() {
    let Some(backend) = device() else { return };
    let backend = Arc::new(backend);
    let network = network();
    let params = &network.params;
    let forward: Loss<'_> = &|tape, index| feed_forward(&network, tape, index);
    let weights = 4 * 3 * (HIDDEN * DIM) as u64;
    let rows = 4 * (ROWS * DIM) as u64;
    for count in [1, 2] {
        let want = step(&mut shards(count, params, None), params, 6, forward);
        let mut there = shards(count, params, Some(&backend));
        for steps in 0..4 {
            let traffic = traffic_of(&backend, &want, || step(&mut there, params, 6, forward));
            // Of six micro-batches x and dy, and y and dx.
            let first = count == 1 && steps == 0;
            let sent = 12 * rows + if first { weights } else { 0 };
            assert_eq!([traffic.sent, traffic.fetched], [sent, 12 * rows + weights]);
            // How many are in use at once is a matter of chance with two shards.
            if count == 1 && steps > 1 {
                assert_eq!(traffic.buffers, 0, "a steady step makes no buffers");
            }
        }
    }
}

fn feed_forward_traffic(options: Options) -> Traffic {
    let backend = Arc::new(WgpuBackend::open(&options).unwrap());
    let network = network();
    let params = &network.params;
    let forward: Loss<'_> = &|tape, index| feed_forward(&network, tape, index);
    let want = step(&mut shards(2, params, None), params, 2, forward);
    let mut there = shards(2, params, Some(&backend));
    let mut got = None;
    let traffic = moved(&backend, || {
        got = Some(step(&mut there, params, 2, forward))
    });
    let got = got.expect("a step");
    assert_close(&got.0, &want.0);
    assert_close(&got.1, &want.1);
    traffic
}

#[test]
fn what_does_not_fit_comes_back_at_once() {
    if device().is_none() {
        return;
    }
    let tight = Options {
        budget: 1,
        ..options()
    };
    let [roomy, tight] = [options(), tight].map(feed_forward_traffic);
    assert!(roomy.fetched < tight.fetched, "{roomy:?}, {tight:?}");
}

/// What happens to values of `[ROWS, DIM]`; the numbers choose among those that there are.
#[derive(Clone, Copy, Debug)]
enum Move {
    Linear(usize),
    /// The weight of `Linear`, read by the CPU.
    Weighed(usize),
    /// `Linear` in every other micro-batch, `Weighed` in the others.
    Either(usize),
    Thin(usize),
    SwiGlu(usize),
    Gelu(usize),
    Matmul(usize, usize),
    Tanh(usize),
    Add(usize, usize),
    Mul(usize, usize),
    Biased(usize),
    Read(usize),
}

/// All values that the moves make, added up.
fn played<'t>(network: &Network, tape: &'t Tape, moves: &[Move], index: usize) -> Var<'t> {
    let x = tape.constant([ROWS, DIM], &values(ROWS * DIM, 4 + index));
    let mut all = vec![x + tape.param(network.table)];
    for &step in moves {
        let of = |i: usize| all[i % all.len()];
        let square = || tape.param(network.square);
        let made = match step {
            Move::Linear(i) => ops::linear(of(i), square(), None),
            Move::Weighed(i) => of(i) * square(),
            Move::Either(i) if index.is_multiple_of(2) => ops::linear(of(i), square(), None),
            Move::Either(i) => of(i) * square(),
            Move::Thin(i) => {
                let inner = ops::linear(of(i), tape.param(network.gate_up), None);
                let halves = ops::swiglu(inner);
                ops::linear(ops::gelu(halves), tape.param(network.down), None)
            }
            Move::SwiGlu(i) => {
                let inner = ops::linear(of(i), tape.param(network.gate_up), None);
                ops::linear(ops::swiglu(inner), tape.param(network.down), None)
            }
            Move::Gelu(i) => ops::gelu(of(i)),
            Move::Matmul(i, j) => ops::scale(ops::matmul(of(i), of(j)), 0.1),
            Move::Tanh(i) => ops::tanh(of(i)),
            Move::Add(i, j) => of(i) + of(j),
            Move::Mul(i, j) => ops::tanh(of(i)) * of(j),
            Move::Biased(i) => ops::linear(of(i), square(), Some(tape.param(network.bias))),
            Move::Read(i) => {
                assert!(of(i).value().iter().all(|x| x.is_finite()));
                continue;
            }
        };
        all.push(ops::tanh(made));
        all.push(made);
        if all.len() > 7 {
            all.remove(1);
        }
    }
    let sum = all.into_iter().reduce(|sum, x| sum + ops::tanh(x));
    ops::sum(sum.expect("one value at least"))
}

#[test]
fn any_network_has_the_losses_and_gradients_of_the_cpu() {
    let Some(backend) = device() else { return };
    let backend = Arc::new(backend);
    let network = network();
    let params = &network.params;
    let one = any::<usize>;
    let moves = prop_oneof![
        one().prop_map(Move::Linear),
        one().prop_map(Move::Weighed),
        one().prop_map(Move::Either),
        one().prop_map(Move::Thin),
        one().prop_map(Move::SwiGlu),
        one().prop_map(Move::Gelu),
        (one(), one()).prop_map(|(i, j)| Move::Matmul(i, j)),
        one().prop_map(|i| Move::Matmul(i, i)),
        one().prop_map(Move::Tanh),
        (one(), one()).prop_map(|(i, j)| Move::Add(i, j)),
        (one(), one()).prop_map(|(i, j)| Move::Mul(i, j)),
        one().prop_map(Move::Biased),
        one().prop_map(Move::Read),
    ];
    let cases = (prop::collection::vec(moves, 1..9), 1..4_usize, 1..3_usize);
    let there = [1, 2].map(|count| Mutex::new(shards(count, params, Some(&backend))));
    let mut runner = TestRunner::new(Config::with_cases(60));
    let result = runner.run(&cases, |(moves, micro_batches, count)| {
        let forward: Loss<'_> = &|tape, index| played(&network, tape, &moves, index);
        let want = step(
            &mut shards(count, params, None),
            params,
            micro_batches,
            forward,
        );
        let got = step(
            &mut there[count - 1].lock().unwrap(),
            params,
            micro_batches,
            forward,
        );
        prop_assert_eq!(backend.failure(), None);
        for (got, want) in [(&got.0, &want.0), (&got.1, &want.1)] {
            let size = want.iter().fold(0.0_f32, |size, x| size.max(x.abs()));
            for (got, want) in got.iter().zip(want) {
                let error = (got - want).abs() / size;
                prop_assert!(error < 1e-4, "{got}, {want} of {size}");
            }
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn a_step_that_was_lost_with_the_device_is_computed_again_by_the_cpu() {
    if device().is_none() {
        return;
    }
    let network = network();
    let params = &network.params;
    // In the midst of the last of four micro-batches: what the others have left is lost.
    for lost_after in [0, 1, 2] {
        let backend = Arc::new(WgpuBackend::open(&options()).unwrap());
        let lost = AtomicBool::new(false);
        let forward: Loss<'_> = &|tape, index| {
            let x = tape.constant([ROWS, DIM], &values(ROWS * DIM, 4 + index));
            let inner = ops::linear(x, tape.param(network.gate_up), None);
            let parts = [
                inner,
                ops::swiglu(inner),
                ops::linear(ops::swiglu(inner), tape.param(network.down), None),
            ];
            if index == 3 && !lost.swap(true, Ordering::Relaxed) {
                backend.destroy();
            }
            ops::sum(ops::tanh(parts[lost_after]))
        };
        let mut there = shards(2, params, Some(&backend));
        let got = step(&mut there, params, 4, forward);
        assert!(backend.failure().is_some());
        let want = step(&mut shards(2, params, None), params, 4, forward);
        assert_close(&got.0, &want.0);
        assert_close(&got.1, &want.1);
    }
}

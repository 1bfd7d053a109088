//! What is sent, and what stays on the device.

use crate::{DIM, ROWS, assert_close, device, moved, network, options, step, values};
use engine::{
    backend::{Backend, CpuBackend, Job, Layout, Options, Product},
    ops,
    params::{Builder, Decay, Gradients, Init, Params},
    rng::Key,
    tape::Tape,
};
use engine_wgpu::WgpuBackend;
use std::sync::Arc;

#[test]
fn operands_are_sent_once_and_weights_again_only_when_they_have_changed() {
    let Some(backend) = device() else { return };
    let backend = Arc::new(backend);
    let (mut params, weight) = network();
    let mut tape = Tape::new();
    tape.set_backend(backend.clone());
    let sent = |tape: &mut Tape, params: &Params| {
        moved(&backend, || drop(step(tape, params, weight))).sent
    };
    // x goes over in the forward and serves the gradient of the weight, the weight serves
    // the gradient of x, and the gradient of y serves both.
    let (input, matrix) = (4 * ROWS as u64 * DIM as u64, 4 * DIM as u64 * DIM as u64);
    assert_eq!(sent(&mut tape, &params), 2 * input + matrix);
    assert_eq!(sent(&mut tape, &params), 2 * input);
    params.slab_mut()[3] += 1.0;
    assert_eq!(sent(&mut tape, &params), 2 * input + matrix);

    let on_device = step(&mut tape, &params, weight);
    let on_cpu = step(&mut Tape::new(), &params, weight);
    assert_close(&on_device.0, &on_cpu.0);
    assert_close(&on_device.1, &on_cpu.1);
}

#[test]
fn a_result_stays_for_the_next_product_and_its_backward() {
    let Some(backend) = device() else { return };
    let backend = Arc::new(backend);
    let (params, weight) = network();
    let forward = |tape: &Tape, activated: bool| {
        let x = tape.input([ROWS, DIM], &values(ROWS * DIM, 4));
        let weight = tape.param(weight);
        let inner = ops::linear(x, weight, None);
        let inner = if activated { ops::gelu(inner) } else { inner };
        let y = ops::linear(inner, weight, None);
        let mut gradients = Gradients::new(&params);
        tape.backward(ops::sum(y * y), &mut gradients);
        (tape.grad(x), gradients.slab()[..DIM * DIM].to_vec())
    };
    let mut tape = Tape::new();
    tape.set_backend(backend.clone());
    let (input, matrix) = (4 * (ROWS * DIM) as u64, 4 * (DIM * DIM) as u64);
    // x and the two gradients of outputs, and the inner value where the CPU has made it.
    for (activated, sent, weights) in [(false, 3, 1), (true, 4, 0), (false, 3, 0)] {
        let mut on_device = None;
        let traffic = moved(&backend, || {
            tape.bind(&params);
            on_device = Some(forward(&tape, activated));
            tape.reset();
        });
        assert_eq!(traffic.sent, sent * input + weights * matrix, "{activated}");
        let on_cpu = Tape::new();
        on_cpu.bind(&params);
        let on_cpu = forward(&on_cpu, activated);
        let (dx, dw) = on_device.expect("a step");
        assert_close(&dx, &on_cpu.0);
        assert_close(&dw, &on_cpu.1);
    }
}

#[test]
fn products_that_are_wanted_together_go_in_one_submission_and_share_operands() {
    let Some(backend) = device() else { return };
    let product = Product::new(Layout::Nt, 5, 8, 7);
    let (x, weights) = (values(5 * 8, 1), values(20 * 7 * 8, 2));
    let mut c = vec![0.0; 20 * 5 * 7];
    let traffic = moved(&backend, || {
        let jobs = weights.chunks(7 * 8).zip(c.chunks_mut(5 * 7));
        let jobs = jobs.map(|(w, c)| Job::new(product, &x[..], w, c));
        (&backend as &dyn Backend).batched(jobs, false);
    });
    assert_eq!(traffic.submissions, 1);
    assert_eq!(traffic.sent, 4 * (x.len() + weights.len()) as u64);
    assert_eq!(traffic.fetched, 4 * c.len() as u64);
}

#[test]
fn the_matrices_of_experts_stay_on_the_device() {
    let Some(backend) = device() else { return };
    let mut builder = Builder::new(Key::new(5));
    let init = Init::Normal { std: 0.2 };
    let weight = builder.param("experts", [3, 4, 8], Decay::Yes, init);
    let mut params = builder.finish();
    let product = Product::new(Layout::Nt, 5, 8, 4);
    let x = values(5 * 8, 1);
    let step = |params: &Params| {
        moved(&backend, || {
            let all = params.operand(weight);
            for expert in [2, 0, 1, 2] {
                let matrix = all.part(expert * 32..(expert + 1) * 32);
                let (mut got, mut want) = ([0.0; 20], [0.0; 20]);
                let job = Job::new(product, &x[..], matrix, &mut got[..]);
                backend.compute(&mut [Some(job)], false);
                CpuBackend.matmul(product, &x, matrix.values(), &mut want, false);
                assert_close(&got, &want);
            }
        })
    };
    let input = 4 * 4 * x.len() as u64;
    assert_eq!(step(&params).sent, input + 4 * 96);
    assert_eq!(step(&params).sent, input);
    params.slab_mut()[40] += 1.0;
    assert_eq!(step(&params).sent, input + 4 * 96);
}

#[test]
fn a_steady_step_makes_no_buffers() {
    let Some(backend) = device() else { return };
    let backend = Arc::new(backend);
    let (mut params, weight) = network();
    let mut tape = Tape::new();
    tape.set_backend(backend.clone());
    let mut step = |tape: &mut Tape| {
        params.slab_mut()[0] += 1.0;
        moved(&backend, || drop(step(tape, &params, weight)))
    };
    assert!(step(&mut tape).buffers > 0);
    step(&mut tape);
    for _ in 0..3 {
        assert_eq!(step(&mut tape).buffers, 0);
    }
}

#[test]
fn what_does_not_fit_the_budget_makes_room_and_stays_right() {
    if device().is_none() {
        return;
    }
    let tight = Options {
        budget: 1,
        ..options()
    };
    let (params, weight) = network();
    let mut tape = Tape::new();
    tape.set_backend(Arc::new(WgpuBackend::open(&tight).unwrap()));
    let on_cpu = step(&mut Tape::new(), &params, weight);
    for _ in 0..3 {
        let on_device = step(&mut tape, &params, weight);
        assert_close(&on_device.0, &on_cpu.0);
        assert_close(&on_device.1, &on_cpu.1);
    }
}

#[test]
fn threads_that_need_a_changed_weight_send_it_once_and_together() {
    const WIDE: usize = 600;
    let Some(backend) = device() else { return };
    let mut builder = Builder::new(Key::new(5));
    let init = Init::Normal { std: 0.2 };
    // Some blocks, the last of which is a short one.
    let weight = builder.param("weight", [WIDE, WIDE], Decay::Yes, init);
    let mut params = builder.finish();
    let x = values(WIDE, 1);
    let product = Product::new(Layout::Nt, 1, WIDE, WIDE);
    for change in 0..5 {
        params.slab_mut()[WIDE * WIDE - 1] += 1.0;
        let mut want = [0.0; WIDE];
        CpuBackend.matmul(product, &x, params.value(weight), &mut want, false);
        let barrier = std::sync::Barrier::new(4);
        let traffic = moved(&backend, || {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut got = [0.0; WIDE];
                        barrier.wait();
                        let operand = params.operand(weight);
                        let job = Job::new(product, &x[..], operand, &mut got[..]);
                        backend.compute(&mut [Some(job)], false);
                        assert_close(&got, &want);
                    });
                }
            });
        });
        let once = (WIDE * WIDE + 4 * WIDE) as u64 * 4;
        assert_eq!(traffic.sent, once, "change {change}");
    }
}

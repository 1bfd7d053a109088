//! Where the time of a training step goes: `train --profile`.

use super::{Trainer, plan::role};
use engine::profile::Times;
use figures::{
    table::Table,
    terminal::{Colour, stdout_width, wrapped},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Steps that fill the pools.
const WARM_UP: u32 = 3;
/// Steps that are measured.
const MEASURED: u32 = 10;
/// Operations that are products of matrices.
const PRODUCTS: [&str; 3] = ["linear", "matmul", "experts"];

/// Times of operations by kind of place, and what share is not matrix products.
pub fn profile(trainer: &mut Trainer) -> String {
    for _ in 0..WARM_UP {
        trainer.step();
    }
    trainer.set_profiling();
    let started = Instant::now();
    for _ in 0..MEASURED {
        trainer.step();
    }
    let wall = started.elapsed() / MEASURED;

    let mut sums: BTreeMap<(&str, String), Times> = BTreeMap::new();
    for (op, scope, times) in trainer.take_profile().iter() {
        let sum = sums
            .entry((op, scope.map(role).unwrap_or_default()))
            .or_default();
        sum.calls += times.calls;
        sum.forward += times.forward;
        sum.backward += times.backward;
    }
    let time = |times: &Times| times.forward + times.backward;
    let all: Duration = sums.values().map(time).sum();
    let mut rows: Vec<_> = sums.iter().collect();
    rows.sort_by_key(|(_, times)| std::cmp::Reverse(time(times)));

    let ms = |time: Duration| time.as_secs_f64() * 1e3 / f64::from(MEASURED);
    let share = |time: Duration| 100.0 * time.as_secs_f64() / all.as_secs_f64();
    let table = Table::of(&rows)
        .left("operation", |((op, _), _)| *op)
        .left("in", |((_, scope), _)| scope)
        .right("calls", |(_, of)| {
            (of.calls / u64::from(MEASURED)).to_string()
        })
        .right("forward (ms)", |(_, of)| format!("{:.2}", ms(of.forward)))
        .right("backward (ms)", |(_, of)| format!("{:.2}", ms(of.backward)))
        .right("share (%)", |(_, of)| format!("{:.1}", share(time(of))))
        .table();
    let share_of = |wanted: &dyn Fn(&str) -> bool| {
        let kept = rows.iter().filter(|((op, _), _)| wanted(op));
        share(kept.map(|(_, times)| time(times)).sum())
    };
    let products = share_of(&|op| PRODUCTS.contains(&op));
    let attention = share_of(&|op| op == "attention");
    let mut text = table.to_text(stdout_width(), Colour::for_stdout());
    text.push('\n');
    let sentences = [
        format!(
            "per step {:.1} ms of wall time, {:.1} ms in operations over all threads, the mean of \
             {MEASURED}",
            wall.as_secs_f64() * 1e3,
            ms(all)
        ),
        format!(
            "matrix products {products:.1} %, attention {attention:.1} %, everything else {:.1} %",
            100.0 - products - attention
        ),
    ];
    text.extend(sentences.map(|sentence| wrapped(&sentence, stdout_width())));
    text
}

//! `--dry-run`: what a run would be.

use engine::params::{Decay, Param};
use figures::{
    table::{Align, Cell, Table},
    terminal::{Colour, stdout_width, wrapped},
};
use lab::{
    data::{Data, LISTED_WHEN_ASKED},
    memory::{available, readable},
    train::Trainer,
};
use std::{collections::BTreeMap, fmt::Write, path::Path};

/// Settings, parameters, operations, memory and data.
pub(super) fn describe(trainer: &Trainer, data: &Data, directory: &Path) -> String {
    let mut text = trainer.config().to_table().to_string();
    let _ = writeln!(text, "\n{}", parameters(trainer));
    let _ = writeln!(text, "{}", operations(trainer));
    let train = &trainer.config().train;
    let tokens = train.batch * trainer.task().network().tokens();
    let account = trainer.account();
    let in_flight = train.micro_batch * trainer.task().network().tokens();
    let memory = account.training_bytes(train.shards, in_flight);
    let all = tokens as u128 * train.steps as u128;
    let work = 3.0 * account.flops.total() as f64 * all as f64;
    let sentences = [
        format!(
            "{} steps of {tokens} tokens, {all} in all, about {work:.1e} operations",
            train.steps
        ),
        format!(
            "memory about {}, data {}; this machine has {}",
            readable(memory),
            readable(data.bytes() as u64),
            readable(available())
        ),
    ];
    let files = format!("files would be in {}", directory.display());
    let account = data.account().lines(LISTED_WHEN_ASKED);
    for sentence in sentences.into_iter().chain(account).chain([files]) {
        text.push_str(&wrapped(&sentence, stdout_width()));
    }
    text
}

/// Tensors of the same role in every block together, with their optimiser group.
fn parameters(trainer: &Trainer) -> String {
    let decays_all = trainer.config().optim.decay_everything;
    let group = |param: &Param| match (param.trainable, decays_all, param.decay) {
        (false, ..) => "frozen",
        (true, true, _) | (true, _, Decay::Yes) => "decay",
        (true, false, Decay::No) => "no decay",
    };
    let mut rows: Vec<(String, &str, usize, usize)> = Vec::new();
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, param) in trainer.params().iter() {
        let group = group(param);
        *sums.entry(group).or_default() += param.shape.len();
        for part in &param.parts {
            let role = role(&part.name);
            let known = rows.iter_mut().find(|row| row.0 == role && row.1 == group);
            match known {
                Some(row) => {
                    row.2 += 1;
                    row.3 += part.shape.len();
                }
                None => rows.push((role, group, 1, part.shape.len())),
            }
        }
    }
    let mut table = Table::new([
        ("parameter", Align::Left),
        ("group", Align::Left),
        ("tensors", Align::Right),
        ("elements", Align::Right),
    ]);
    let cells = |name: &str, group: &str, tensors: String, elements: usize| {
        [name, group, &tensors, &elements.to_string()].map(Cell::from)
    };
    for (role, group, tensors, elements) in &rows {
        table.push(cells(role, group, tensors.to_string(), *elements));
    }
    for (group, elements) in &sums {
        table.push(cells("all", group, String::new(), *elements));
    }
    table.to_text(stdout_width(), Colour::for_stdout())
}

/// The path with `*` for the number of the block.
pub(super) fn role(path: &str) -> String {
    let part = |part: &str| match part.parse::<usize>() {
        Ok(_) => "*".to_owned(),
        Err(_) => part.to_owned(),
    };
    path.split('.').map(part).collect::<Vec<_>>().join(".")
}

fn operations(trainer: &Trainer) -> String {
    let flops = trainer.account().flops;
    let mut table = Table::new([
        ("forward", Align::Left),
        ("FLOPs per token", Align::Right),
        ("share (%)", Align::Right),
    ]);
    for (name, count) in [
        ("attention", flops.attention),
        ("feed-forward", flops.feed_forward),
        ("connections", flops.connections),
        ("head", flops.head),
        ("patches", flops.embedding),
        ("conditioning", flops.conditioning),
        ("all", flops.total()),
    ] {
        let share = 100.0 * count as f64 / flops.total() as f64;
        table.push([name, &count.to_string(), &format!("{share:.2}")].map(Cell::from));
    }
    table.to_text(stdout_width(), Colour::for_stdout())
}

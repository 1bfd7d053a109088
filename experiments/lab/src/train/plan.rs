//! Sizes and costs of a run before it begins: `train --dry-run`.

use super::Trainer;
use crate::{
    data::{Data, LISTED_WHEN_ASKED},
    memory::{available, readable},
};
use engine::params::{Decay, Param};
use figures::{
    table::Table,
    terminal::{Colour, stdout_width, wrapped},
};
use std::{collections::BTreeMap, path::Path};

/// Settings, parameters, operations, memory and data.
pub fn describe(trainer: &Trainer, data: &Data, directory: &Path) -> String {
    let mut text = trainer.config().to_table().to_string();
    for table in [parameters(trainer), operations(trainer)] {
        text += "\n";
        text += &table.to_text(stdout_width(), Colour::for_stdout());
    }
    text += "\n";
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
fn parameters(trainer: &Trainer) -> Table {
    let decays_all = trainer.config().optim.decay_everything;
    let group = |param: &Param| match (param.trainable, decays_all, param.decay) {
        (false, ..) => "frozen",
        (true, true, _) | (true, _, Decay::Yes) => "decay",
        (true, false, Decay::No) => "no decay",
    };
    let mut rows: Vec<(String, &str, Option<usize>, usize)> = Vec::new();
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, param) in trainer.params().iter() {
        let group = group(param);
        *sums.entry(group).or_default() += param.shape.len();
        for part in &param.parts {
            let (role, elements) = (role(&part.name), part.shape.len());
            match rows.iter_mut().find(|row| row.0 == role && row.1 == group) {
                Some((.., tensors, sum)) => {
                    *tensors = tensors.map(|tensors| tensors + 1);
                    *sum += elements;
                }
                None => rows.push((role, group, Some(1), elements)),
            }
        }
    }
    let sums = sums.into_iter();
    rows.extend(sums.map(|(group, elements)| ("all".to_owned(), group, None, elements)));
    Table::of(&rows)
        .left("parameter", |row| &row.0)
        .left("group", |row| row.1)
        .right("tensors", |row| {
            row.2
                .map_or_else(String::new, |tensors| tensors.to_string())
        })
        .right("elements", |row| row.3.to_string())
        .table()
}

/// The path with `*` for the number of the block.
pub(super) fn role(path: &str) -> String {
    let part = |part| match str::parse::<usize>(part) {
        Ok(_) => "*",
        Err(_) => part,
    };
    path.split('.').map(part).collect::<Vec<_>>().join(".")
}

fn operations(trainer: &Trainer) -> Table {
    let flops = trainer.account().flops;
    let rows = [
        ("attention", flops.attention),
        ("feed-forward", flops.feed_forward),
        ("connections", flops.connections),
        ("head", flops.head),
        ("patches", flops.embedding),
        ("conditioning", flops.conditioning),
        ("all", flops.total()),
    ];
    let all = flops.total() as f64;
    Table::of(&rows)
        .left("forward", |row| row.0)
        .right("FLOPs per token", |row| row.1.to_string())
        .right("share (%)", |row| {
            format!("{:.2}", 100.0 * row.1 as f64 / all)
        })
        .table()
}

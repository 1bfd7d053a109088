//! Checkpoints of other programs on a terminal.

use super::{
    align::Alignment,
    checkpoint::CheckpointView,
    summary::patterns,
    terminal::{heat_map, side_by_side},
};
use checkpoints::{Checkpoint, SiteAnalysis};
use figures::{
    table::{Align, Cell, Table},
    terminal::{Colour, wrapped},
};
use std::fmt::Write;

/// Sites up to which all matrices are shown on a terminal.
const SHOWN: usize = 24;

impl CheckpointView {
    /// All sites as a person reads them on a terminal, or one of them.
    pub fn text(&self, site: Option<usize>, width: usize, colour: Colour) -> String {
        if let Some(k) = site {
            return self.one_site(k, width, colour);
        }
        let mut text = self.table(&self.analysis.sites).to_text(width, colour);
        let said = "Reach: by how many logits a random input of unit root mean square moves read, \
             write and mix. Distances of A_r (static) are root mean squares over its entries; \
             defect: the largest difference of a row or column sum from 1.";
        text += &wrapped(said, width);
        let views = self.analysis.sites.iter().map(SiteAnalysis::views).max();
        if let Some(views @ 2..) = views {
            text += &wrapped(
                &format!(
                    "Sublayers read up to {views} mixtures of the streams: shown are the means of \
                     these reads; --tensors and the JSON of --out have them all."
                ),
                width,
            );
        }
        if !self.analysis.predicted.is_empty() {
            text += "\nLayers that predict further tokens:\n";
            text += &self.table(&self.analysis.predicted).to_text(width, colour);
        }
        if self.sites() <= SHOWN && self.layers.is_some() {
            text += &wrapped(
                "\n[A_m | A_r] of every site and below it B; row = source stream, column = \
                 destination stream.",
                width,
            );
            let shown = (0..self.sites()).filter_map(|k| self.site_matrices(k).pop());
            text += &side_by_side(&shown.collect::<Vec<_>>(), width, colour);
        }
        text += "\n";
        text += &wrapped(&format!("At the end: {}.", self.analysis.end.what), width);
        if let Some((_, _, found)) = &self.unfolded {
            if self.sites() <= SHOWN {
                text += &heat_map(&self.unfolded_matrices()[0], width, colour);
            }
            text += "\n";
            text += &patterns(found, width, colour);
        } else if !self.checkpoint.whole() {
            text += &wrapped("Not all sites are here, so nothing is unfolded.", width);
        }
        for other in &self.compared {
            text += &wrapped(&compared(&other.name, other.alignment.as_ref()), width);
        }
        if self.sites() <= SHOWN {
            let pairs = (0..self.sites()).flat_map(|k| {
                let theirs = self.compared_matrices(k);
                let mine = self.site_matrices(k).pop().filter(|_| !theirs.is_empty());
                mine.into_iter().chain(theirs)
            });
            text += &side_by_side(&pairs.collect::<Vec<_>>(), width, colour);
        }
        text
    }

    fn table(&self, sites: &[SiteAnalysis]) -> Table {
        let heads = [
            "",
            "site",
            "read",
            "write",
            "reach",
            "identity",
            "permutation",
            "uniform",
            "defect",
            "saturation",
            "gain forward",
            "gain backward",
        ];
        let right = |name| (name, Align::Right);
        let mut table = Table::new(heads.map(|name| match name {
            "site" => (name, Align::Left),
            name => right(name),
        }));
        for (k, site) in sites.iter().enumerate() {
            let mean = site.mean().unwrap_or_default();
            let list = |of: &[f64]| {
                let numbers = of.iter().map(|x| format!("{x:.2}"));
                numbers.collect::<Vec<_>>().join(" ")
            };
            let mix = |of: fn(&checkpoints::MixMeasures) -> f64| {
                site.mix
                    .as_ref()
                    .map_or_else(String::new, |mix| format!("{:.2}", of(mix)))
            };
            let same = sites.len() == self.gains.len();
            let gain = self.gains.get(k).filter(|_| same).map(|gain| gain.composed);
            let two = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x:.2}"));
            let defect = site.mix.as_ref().map(|mix| format!("{:.0e}", mix.defect));
            table.push(
                [
                    (k + 1).to_string(),
                    site.label.clone(),
                    list(&mean.read),
                    list(&mean.write),
                    list(&site.reach),
                    mix(|mix| mix.identity),
                    mix(|mix| mix.permutation),
                    mix(|mix| mix.uniform),
                    defect.unwrap_or_default(),
                    two(site.saturation),
                    two(gain.map(|gain| gain.forward)),
                    two(gain.map(|gain| gain.backward)),
                ]
                .map(Cell::from),
            );
        }
        table.without_empty_columns()
    }

    fn one_site(&self, k: usize, width: usize, colour: Colour) -> String {
        let site = &self.analysis.sites[k];
        let what = format!(
            "Site {}, {}: [A_m | A_r] and below it B; row = source stream, column = destination \
             stream.",
            k + 1,
            site.name
        );
        let mut matrices = self.site_matrices(k);
        matrices.extend(self.compared_matrices(k));
        let mut text = wrapped(&what, width) + &side_by_side(&matrices, width, colour);
        text += &heat_map(&self.reach(k), width, colour);
        text
    }
}

/// What was recognised, said before anything else.
pub fn recognised(of: &Checkpoint, width: usize) -> String {
    let dialect = of.dialect;
    let how = if of.named { "" } else { ", by names alone" };
    let size = match of.width {
        Some(d) => format!("{} streams of width {d}", of.streams),
        None => format!("{} streams", of.streams),
    };
    let mut lines = vec![
        format!(
            "{}: {} ({}{how})",
            of.path().display(),
            dialect.title,
            dialect.name
        ),
        format!(
            "{} {}, {size}",
            of.sites.len(),
            if of.sites.len() == 1 { "site" } else { "sites" }
        ),
    ];
    let settings = of.settings.iter().map(|one| {
        let value = match one.value {
            small if small != 0.0 && small.abs() < 1e-3 => format!("{small:e}"),
            value => value.to_string(),
        };
        let assumed = if one.key.is_some() { "" } else { " (assumed)" };
        format!("{} {value}{assumed}", one.name)
    });
    let settings: Vec<_> = settings.collect();
    if !settings.is_empty() {
        lines.push(settings.join(", "));
    }
    let shapes = of.shapes().into_iter();
    let shapes = shapes.map(|(role, shape, count)| format!("{count} {role} {shape:?}"));
    lines.push(format!(
        "tensors: {}",
        shapes.collect::<Vec<_>>().join(", ")
    ));
    lines.push(format!("shards: {}", shards(of)));
    if !of.predicted.is_empty() {
        lines.push(format!(
            "{} sites of layers that predict further tokens",
            of.predicted.len()
        ));
    }
    if of.delayed {
        lines.push("reads act one site later; read of sublayer 0 = e_0, the last = output".into());
    }
    if !dialect.has_matrices() {
        let why = "no static matrices exist in this family; write gains need --states";
        lines.push(why.into());
    }
    if !of.missing.is_empty() {
        lines.push(format!("missing: {}", of.missing.join(", ")));
    }
    if !of.to_fetch.is_empty() {
        lines.push(format!("to download: {}", of.to_fetch.join(", ")));
    }
    lines
        .iter()
        .map(|line| wrapped(line, width))
        .collect::<String>()
        + "\n"
}

/// The number of tensors in each shard; shards with as many as the one before are said together.
fn shards(of: &Checkpoint) -> String {
    let mut runs: Vec<(usize, String, Option<String>)> = Vec::new();
    for (shard, count) in of.shards() {
        match runs.last_mut() {
            Some((same, _, last)) if *same == count => *last = Some(shard),
            _ => runs.push((count, shard, None)),
        }
    }
    let said = runs.iter().map(|(count, first, last)| match last {
        Some(last) => format!("{count} each of {first} to {last}"),
        None => format!("{count} of {first}"),
    });
    said.collect::<Vec<_>>().join(", ")
}

/// The dialects with the endings of their names and their sources.
pub fn dialects(width: usize) -> String {
    let mut text = String::new();
    for dialect in checkpoints::DIALECTS {
        text += &wrapped(&format!("{}: {}", dialect.name, dialect.title), width);
        let names = wrapped(
            &format!("names: {}", dialect.names().join(", ")),
            width.saturating_sub(2),
        );
        let source = wrapped(
            &format!("source: {}", dialect.source),
            width.saturating_sub(2),
        );
        for line in names.lines().chain(source.lines()) {
            writeln!(text, "  {line}").expect("a string");
        }
    }
    text
}

fn compared(name: &str, aligned: Option<&Alignment>) -> String {
    let Some(aligned) = aligned else {
        return format!("{name}: other numbers of streams or sites, so it is not compared");
    };
    let streams: Vec<String> = aligned.permutation.iter().map(usize::to_string).collect();
    format!(
        "{name}: its streams {} stand for 1 to {}; coefficients differ by {:.3} (rms), as they are \
         {:.3}, by chance {:.3}",
        streams.join(" "),
        streams.len(),
        aligned.distance,
        aligned.distance_as_they_are,
        aligned.distance_by_chance
    )
}

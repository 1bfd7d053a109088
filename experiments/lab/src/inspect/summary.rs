//! An inspection as a person reads it on a terminal.

use super::{
    inspection::{Inspection, ORIENTATION},
    interventions::Intervention,
    matrix::{Matrix, PARTS, short},
    measures::Band,
    patterns::{LAMBDA, NOTHING, Patterns},
    terminal::{heat_map, side_by_side},
};
use crate::ablation::signed;
use figures::{
    table::Table,
    terminal::{Colour, wrapped},
};

/// Remark on a network whose connection has no coefficients of streams.
const WITHOUT_STREAMS: &str = "This connection has no read, mix and write of streams, so there is nothing to unfold: \
     what follows are similarity, norms and gradients alone.";

/// Definition of the gains in the table by depth.
const GAINS: &str = "Gains are of all mixes up to the sublayer, mean over the tokens: forward, the \
     largest sum of magnitudes that goes into one stream (a column of A_r); backward, that comes \
     out of one (a row).";

/// The unfolded matrix, patterns, depth, interventions and comparisons; of one sublayer its
/// parts, or else the mean coefficients of all; for a terminal of `width` columns.
pub fn summary(found: &Inspection, layer: Option<usize>, width: usize, colour: Colour) -> String {
    let subject = format!(
        "{}: {}, {} sublayers",
        found.name,
        found.label,
        found.sites.len()
    );
    let loss = format!(
        "loss {:.4} {} on {} {} of {}",
        found.loss, found.unit, found.tokens, found.kind_of_tokens, found.data
    );
    let mut text = wrapped(&subject, width) + &wrapped(&loss, width) + "\n";
    let mut put = |part: &str| {
        text.push_str(part);
        text.push('\n');
    };
    if found.rate.is_none() {
        put(&wrapped(WITHOUT_STREAMS, width));
    }
    if let Some(k) = layer {
        put(&one_layer(found, k, width, colour));
        return text;
    }
    if let Some(unfolded) = &found.unfolded {
        put(&heat_map(&found.unfolded_matrices()[0], width, colour));
        if let Some(contributions) = found.contributions() {
            put(&heat_map(&contributions, width, colour));
        }
        put(&patterns(&unfolded.patterns, width, colour));
        let what = "Mean coefficients of every sublayer, [A_m | A_r] and below it B:";
        put(&(wrapped(what, width) + &wrapped(&format!("{ORIENTATION}."), width)));
        let layers = (0..found.layers.len()).map(|k| found.layer_matrix(k, PARTS[0]));
        put(&side_by_side(&layers.collect::<Vec<_>>(), width, colour));
    }
    put(&depth(found, width, colour));
    if !found.interventions.is_empty() {
        put(&interventions(&found.interventions, width, colour));
    }
    if !found.compared.is_empty() {
        put(&compared(found, width));
    }
    text
}

fn one_layer(found: &Inspection, k: usize, width: usize, colour: Colour) -> String {
    let what = format!(
        "Sublayer {}, {}: [A_m | A_r] and below it B; {ORIENTATION}.",
        k + 1,
        short(&found.sites[k])
    );
    let parts = "mean: what acts, over all tokens; static: its part that is the same for all; \
        dynamic, spread: mean and standard deviation of the rest; change: mean minus \
        initialisation.";
    let mut text = wrapped(&what, width) + &wrapped(parts, width) + "\n";
    let parts = PARTS.map(|part| Matrix {
        title: part.0.to_owned(),
        ..found.layer_matrix(k, part)
    });
    text.push_str(&side_by_side(&parts, width, colour));
    text
}

/// The table of patterns.
pub(super) fn patterns(found: &Patterns, width: usize, colour: Colour) -> String {
    let number = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.2}"));
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let joined = |all: Vec<String>, between: &str| match &*all {
        [] => "none".to_owned(),
        all => all.join(between),
    };
    let list = |all: &[usize]| joined(all.iter().map(usize::to_string).collect(), " ");
    let pairs = found.sign_pairs.iter();
    let pairs = pairs.map(|(i, j, cosine)| format!("{i} and {j} ({cosine:.2})"));
    let rows = [
        (
            "Lambda shape",
            format!(
                "{} (decay {}, above {}; bottom access {}, above {})",
                found
                    .decay
                    .and(found.bottom_access)
                    .map_or("-", |_| yes(found.lambda)),
                number(found.decay),
                LAMBDA[0],
                number(found.bottom_access),
                LAMBDA[1]
            ),
        ),
        (
            "embedding eliminated",
            format!(
                "{} (in the output {:.2}, in the layers {:.2})",
                yes(found.embedding_eliminated),
                found.embedding_in_output,
                found.embedding_in_layers
            ),
        ),
        (
            "parallel-like pairs",
            format!("{} (not read by the next)", list(&found.parallel_pairs)),
        ),
        (
            "long range",
            format!(
                "attention {}, feed-forward {}",
                number(found.attention_long_range),
                number(found.feed_forward_long_range)
            ),
        ),
        ("sign-paired streams", joined(pairs.collect(), ", ")),
        ("wasted sublayers", list(&found.wasted)),
        ("counts as nothing", format!("less than {NOTHING}")),
        ("definitions", "docs/inspection.md".to_owned()),
    ];
    let what = "Patterns of the contributions (1 everywhere in pre-norm):";
    wrapped(what, width)
        + &Table::of(&rows)
            .left("pattern", |row| row.0)
            .left("", |row| &row.1)
            .table()
            .to_text(width, colour)
}

fn depth(found: &Inspection, width: usize, colour: Colour) -> String {
    let two = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x:.2}"));
    let band = |k: usize| found.similarity.get(k);
    let gain = |k: usize| found.gains.get(k).map(|gain| gain.composed);
    let rows: Vec<_> = found.depth.iter().enumerate().collect();
    let mut text = Table::of(&rows)
        .right("", |(k, _)| (k + 1).to_string())
        .left("sublayer", |(_, view)| view.site.replace("blocks.", ""))
        .right("cosine to next", |(k, _)| two(band(*k).map(|b| b.median)))
        .right("5 to 95 %", |(k, _)| {
            let ends = |band: &Band| format!("{:.2} {:.2}", band.low, band.high);
            band(*k).map_or_else(String::new, ends)
        })
        .right("input rms", |(_, view)| format!("{:.2}", view.input_rms))
        .right("output gradient", |(_, view)| {
            format!("{:.4}", view.output_gradient)
        })
        .right("streams cosine", |(_, view)| two(view.mean_cosine()))
        .right("gain forward", |(k, _)| two(gain(*k).map(|g| g.forward)))
        .right("gain backward", |(k, _)| two(gain(*k).map(|g| g.backward)))
        .table()
        .to_text(width, colour);
    if !found.gains.is_empty() {
        text.push_str(&wrapped(GAINS, width));
    }
    text
}

fn interventions(all: &[Intervention], width: usize, colour: Colour) -> String {
    Table::of(all)
        .left("change", |one| one.change.describe())
        .left("where", |one| match &one.site {
            Some(site) => site.replace("blocks.", ""),
            None => "everywhere".into(),
        })
        .right("loss", |one| format!("{:.4}", one.loss))
        .right("difference", |one| signed(one.difference, 4))
        .table()
        .to_text(width, colour)
}

fn compared(found: &Inspection, width: usize) -> String {
    let mean = |bands: &[Band]| {
        bands.iter().map(|band| band.median).sum::<f64>() / bands.len().max(1) as f64
    };
    let here = mean(&found.similarity);
    let networks = found.compared.iter().map(|other| {
        let mut what = format!(
            "{} ({}): loss {:.4}, here {:.4}; mean cosine of adjacent inputs {:.2}, here {here:.2}",
            other.name,
            other.label,
            other.loss,
            found.loss,
            mean(&other.similarity)
        );
        if let Some(aligned) = &other.alignment {
            let streams: Vec<String> = aligned.permutation.iter().map(usize::to_string).collect();
            what += &format!(
                "; its streams {} stand for 1 to {}: coefficients differ by {:.3} (rms), as they \
                 are {:.3}, by chance {:.3}",
                streams.join(" "),
                streams.len(),
                aligned.distance,
                aligned.distance_as_they_are,
                aligned.distance_by_chance
            );
        }
        wrapped(&what, width)
    });
    networks.collect()
}

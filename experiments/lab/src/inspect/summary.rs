//! An inspection as a person reads it on a terminal.

use super::{
    Inspection, Intervention, LAMBDA, Matrix, NOTHING, ORIENTATION, PARTS, Patterns, heat_map,
    short, side_by_side,
};
use figures::{
    table::{Align, Cell, Table},
    terminal::{Colour, wrapped},
};
use std::fmt::Write;

/// What is said of a network whose connection has no coefficients of streams.
pub const WITHOUT_STREAMS: &str = "This connection has no read, mix and write of streams, so there is nothing to unfold: \
     what follows are similarity, norms and gradients alone.";

/// What the gains of the table by depth are.
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

fn patterns(found: &Patterns, width: usize, colour: Colour) -> String {
    let number = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.2}"));
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let list = |all: &[usize]| match all {
        [] => "none".to_owned(),
        all => all
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(" "),
    };
    let pairs: Vec<String> = found
        .sign_pairs
        .iter()
        .map(|(i, j, cosine)| format!("{i} and {j} ({cosine:.2})"))
        .collect();
    let pairs = if pairs.is_empty() {
        "none".to_owned()
    } else {
        pairs.join(", ")
    };
    let rows: [(&str, String); 8] = [
        (
            "Lambda shape",
            format!(
                "{} (decay {}, above {}; bottom access {}, above {})",
                yes(found.lambda),
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
            format!("{} (unheard by the next)", list(&found.parallel_pairs)),
        ),
        (
            "long range",
            format!(
                "attention {}, feed-forward {}",
                number(found.attention_long_range),
                number(found.feed_forward_long_range)
            ),
        ),
        ("sign-paired streams", pairs),
        ("wasted sublayers", list(&found.wasted)),
        ("as nothing counts", format!("less than {NOTHING}")),
        ("definitions", "docs/inspection.md".to_owned()),
    ];
    let mut table = Table::new([("pattern", Align::Left), ("", Align::Left)]);
    for (name, value) in rows {
        table.push([name, &value].map(Cell::from));
    }
    let what = "Patterns of the contributions (1 everywhere in pre-norm):";
    wrapped(what, width) + &table.to_text(width, colour)
}

fn depth(found: &Inspection, width: usize, colour: Colour) -> String {
    let mut table = Table::new([
        ("", Align::Right),
        ("sublayer", Align::Left),
        ("cosine to next", Align::Right),
        ("5 to 95 %", Align::Right),
        ("input rms", Align::Right),
        ("output gradient", Align::Right),
        ("streams cosine", Align::Right),
        ("gain forward", Align::Right),
        ("gain backward", Align::Right),
    ]);
    for (k, view) in found.depth.iter().enumerate() {
        let gain = found.gains.get(k).map(|gain| gain.composed);
        let band = found.similarity.get(k);
        let or_blank = |x: Option<String>| x.unwrap_or_default();
        table.push(
            [
                (k + 1).to_string(),
                view.site.replace("blocks.", ""),
                or_blank(band.map(|band| format!("{:.2}", band.median))),
                or_blank(band.map(|band| format!("{:.2} {:.2}", band.low, band.high))),
                format!("{:.2}", view.input_rms),
                format!("{:.4}", view.output_gradient),
                or_blank(view.mean_cosine().map(|cosine| format!("{cosine:.2}"))),
                or_blank(gain.map(|gain| format!("{:.2}", gain.forward))),
                or_blank(gain.map(|gain| format!("{:.2}", gain.backward))),
            ]
            .map(Cell::from),
        );
    }
    let mut text = table.to_text(width, colour);
    if !found.gains.is_empty() {
        text.push_str(&wrapped(GAINS, width));
    }
    text
}

fn interventions(all: &[Intervention], width: usize, colour: Colour) -> String {
    let mut table = Table::new([
        ("change", Align::Left),
        ("where", Align::Left),
        ("loss", Align::Right),
        ("difference", Align::Right),
    ]);
    for one in all {
        let site = one.site.as_deref().map(|site| site.replace("blocks.", ""));
        table.push(
            [
                one.change.describe(),
                site.unwrap_or_else(|| "everywhere".into()),
                format!("{:.4}", one.loss),
                format!("{:+.4}", one.difference),
            ]
            .map(Cell::from),
        );
    }
    table.to_text(width, colour)
}

fn compared(found: &Inspection, width: usize) -> String {
    let mut text = String::new();
    for other in &found.compared {
        let medians = |bands: &[super::Band]| {
            bands.iter().map(|band| band.median).sum::<f64>() / bands.len().max(1) as f64
        };
        let mut what = format!(
            "{} ({}): loss {:.4}, here {:.4}; mean cosine of adjacent inputs {:.2}, here {:.2}",
            other.name,
            other.label,
            other.loss,
            found.loss,
            medians(&other.similarity),
            medians(&found.similarity)
        );
        if let Some(aligned) = &other.alignment {
            let streams: Vec<String> = aligned.permutation.iter().map(usize::to_string).collect();
            write!(
                what,
                "; its streams {} stand for 1 to {}: coefficients differ by {:.3} (rms), as they \
                 are {:.3}, by chance {:.3}",
                streams.join(" "),
                streams.len(),
                aligned.distance,
                aligned.distance_as_they_are,
                aligned.distance_by_chance
            )
            .expect("a string");
        }
        text.push_str(&wrapped(&what, width));
    }
    text
}

//! Checkpoints of other programs, shown as the networks of this one are.

use super::{
    align::{Alignment, align},
    gain::{LayerGain, gains},
    patterns::{Patterns, relative},
};
use checkpoints::{Analysis, Checkpoint, CheckpointError, Coefficients, SiteAnalysis, layer};
use figures::unfold::{LayerCoefficients, Unfolded, unfold};

/// The parts of the coefficients in the order of the logits.
pub(super) const PARTS: [&str; 3] = ["read", "write", "mix"];

/// The connections of a checkpoint with everything that is shown of them.
#[derive(Debug)]
pub struct CheckpointView {
    pub(super) name: String,
    pub(super) checkpoint: Checkpoint,
    pub(super) analysis: Analysis,
    /// The mean coefficients of every site; `None` without matrices.
    pub(super) layers: Option<Vec<LayerCoefficients>>,
    pub(super) gains: Vec<LayerGain>,
    pub(super) unfolded: Option<(Unfolded, Vec<Vec<f64>>, Patterns)>,
    pub(super) compared: Vec<Compared>,
}

/// Another checkpoint beside this one.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) name: String,
    pub(super) alignment: Option<Alignment>,
    /// Coefficients with streams in the order of this one's; none without an alignment.
    pub(super) layers: Vec<LayerCoefficients>,
}

impl CheckpointView {
    /// Computes everything of a checkpoint.
    pub fn of(name: &str, checkpoint: Checkpoint, analysis: Analysis) -> Self {
        let layers = analysis.layers().filter(|layers| !layers.is_empty());
        let tokens = per_token(&analysis);
        let gains = match (&tokens, &layers) {
            (Some(tokens), _) => gains(tokens),
            (None, Some(layers)) => gains(std::slice::from_ref(layers)),
            (None, None) => Vec::new(),
        };
        let whole = layers.as_ref().filter(|_| checkpoint.whole());
        let unfolded = whole.map(|layers| {
            let unfolded = match &tokens {
                Some(tokens) => mean_unfolded(tokens, &analysis),
                None => unfold(layers, &analysis.last()),
            };
            // The sizes of the outputs are not known without the network.
            let sizes = vec![1.0; layers.len() + 1];
            let contributions = relative(&unfolded.inputs, &sizes);
            let patterns = Patterns::of(&unfolded.inputs, &unfolded.streams, &sizes);
            (unfolded, contributions, patterns)
        });
        Self {
            name: name.to_owned(),
            checkpoint,
            analysis,
            layers,
            gains,
            unfolded,
            compared: Vec::new(),
        }
    }

    /// Matches the streams of another checkpoint to those of this one.
    pub fn compare(&mut self, other: &Self) {
        let both = self.layers.as_deref().zip(other.layers.as_deref());
        let alignment = both.and_then(|(mine, theirs)| align(mine, theirs));
        let theirs = other.layers.iter().flatten();
        self.compared.push(Compared {
            name: other.name.clone(),
            layers: alignment.as_ref().map_or_else(Vec::new, |alignment| {
                theirs.map(|layer| alignment.applied(layer)).collect()
            }),
            alignment,
        });
    }

    /// The number of sites.
    pub fn sites(&self) -> usize {
        self.analysis.sites.len()
    }
}

/// Opens and computes a checkpoint, without states.
///
/// # Errors
/// As of [`Checkpoint::open`] and [`Analysis::of`].
pub fn opened(
    name: &str,
    path: &std::path::Path,
    dialect: Option<&str>,
) -> Result<CheckpointView, CheckpointError> {
    let checkpoint = Checkpoint::open(path, dialect)?;
    let analysis = Analysis::of(&checkpoint, None)?;
    Ok(CheckpointView::of(name, checkpoint, analysis))
}

/// The coefficients of all sites for every token, if all sites have as many.
pub(super) fn per_token(analysis: &Analysis) -> Option<Vec<Vec<LayerCoefficients>>> {
    let tokens = analysis.sites.first()?.tokens.len();
    let same = |site: &SiteAnalysis| site.tokens.len() == tokens;
    if tokens == 0 || !analysis.sites.iter().all(same) {
        return None;
    }
    let of = |t: usize| -> Option<Vec<LayerCoefficients>> {
        let sites = analysis.sites.iter();
        sites.map(|site| layer(&site.tokens[t])).collect()
    };
    (0..tokens).map(of).collect()
}

fn mean_unfolded(tokens: &[Vec<LayerCoefficients>], analysis: &Analysis) -> Unfolded {
    let last = |t: usize| analysis.end.tokens.get(t).unwrap_or(&analysis.end.fixed);
    let mut all = tokens
        .iter()
        .enumerate()
        .map(|(t, layers)| unfold(layers, last(t)));
    let mut mean = all.next().expect("there are tokens");
    for mut one in all {
        let entries = mean.entries_mut().zip(one.entries_mut());
        entries.for_each(|(mean, entry)| *mean += *entry);
    }
    mean.entries_mut()
        .for_each(|entry| *entry /= tokens.len() as f64);
    mean
}

/// The standard deviation over the tokens.
pub(super) fn spread(tokens: &[Coefficients], mean: &Coefficients) -> Coefficients {
    type Of = fn(&Coefficients) -> &Vec<f64>;
    let of = |part: Of| {
        let deviation = |(i, mean): (usize, &f64)| {
            let squares = tokens.iter().map(|one| (part(one)[i] - mean).powi(2));
            (squares.sum::<f64>() / tokens.len() as f64).sqrt()
        };
        part(mean).iter().enumerate().map(deviation).collect()
    };
    Coefficients {
        read: of(|one| &one.read),
        views: of(|one| &one.views),
        write: of(|one| &one.write),
        mix: of(|one| &one.mix),
    }
}

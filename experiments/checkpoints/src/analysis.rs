//! Coefficients of all sites of a checkpoint, and what they say.

use crate::{
    Checkpoint, CheckpointError,
    dialects::Last,
    files::StateFile,
    form::{self, Coefficients, Form},
    measures::{MixMeasures, part},
    site::{Kind, Site},
};
use figures::unfold::LayerCoefficients;

/// Everything that the tensors of a checkpoint say.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The sites of the trunk in the order of execution, their reads where they act.
    pub sites: Vec<SiteAnalysis>,
    /// The sites of layers that predict further tokens.
    pub predicted: Vec<SiteAnalysis>,
    /// The weights of the streams at the end.
    pub end: End,
    /// Sites, from 0, of which the file of states has none.
    pub without_states: Vec<usize>,
}

/// The weights of the streams at the end of the network.
#[derive(Clone, Debug)]
pub struct End {
    /// With every predictor at 0, or fixed.
    pub fixed: Vec<f64>,
    /// For every token of the states, where they are learned.
    pub tokens: Vec<Vec<f64>>,
    /// In words: the mean, the sum, learned.
    pub what: &'static str,
}

impl End {
    /// Whether the weights are those of tensors.
    pub fn is_learned(&self) -> bool {
        matches!(self.what, LEARNED | LAST_READ)
    }
}

const LEARNED: &str = "learned";
const LAST_READ: &str = "the read of the last site";

/// One site.
#[derive(Clone, Debug)]
pub struct SiteAnalysis {
    /// The name in the checkpoint.
    pub name: String,
    /// The name in tables: `layer 3 attn`.
    pub label: String,
    /// The sublayer.
    pub kind: Kind,
    /// The coefficients with the predictor at 0; `None` if the family has none.
    pub fixed: Option<Coefficients>,
    /// The coefficients of every token of the states; empty without states.
    pub tokens: Vec<Coefficients>,
    /// The reach of the dynamic part: the largest over the logits of read, write and mix.
    pub reach: [f64; 3],
    /// The reach of each logit by source stream; logits of read, write and mix.
    pub reach_by_stream: Vec<Vec<f64>>,
    /// The share of gates beyond 0.05 and 0.95 with the predictor at 0.
    pub saturation: Option<f64>,
    /// Measures of the mix with the predictor at 0.
    pub mix: Option<MixMeasures>,
}

impl SiteAnalysis {
    /// The mean coefficients over the tokens, or those with the predictor at 0.
    pub fn mean(&self) -> Option<Coefficients> {
        form::mean(self.tokens.iter().cloned()).or_else(|| self.fixed.clone())
    }

    /// The number of views that the sublayer reads.
    pub fn views(&self) -> usize {
        let of = self.fixed.as_ref().or(self.tokens.first());
        of.map_or(1, |of| (of.views.len() / of.write.len().max(1)).max(1))
    }
}

/// In the layout of the unfolding; `None` if reads have no weights.
pub fn layer(of: &Coefficients) -> Option<LayerCoefficients> {
    let n = of.write.len();
    if of.read.len() != n || of.mix.len() != n * n {
        return None;
    }
    let rows = of.read.iter().zip(of.mix.chunks_exact(n));
    let alpha = rows.flat_map(|(read, row)| [*read].into_iter().chain(row.iter().copied()));
    Some(LayerCoefficients {
        alpha: alpha.map(|x| x as f32).collect(),
        beta: of.write.iter().map(|&x| x as f32).collect(),
    })
}

impl Analysis {
    /// Reads and computes site by site.
    ///
    /// # Errors
    /// Errors of [`Checkpoint::ready`] and [`Checkpoint::form`], and of the file of states.
    pub fn of(
        checkpoint: &Checkpoint,
        states: Option<&StateFile>,
    ) -> Result<Self, CheckpointError> {
        checkpoint.ready()?;
        let mut without_states = Vec::new();
        let mut sites = Vec::new();
        for (k, site) in checkpoint.sites.iter().enumerate() {
            let form = checkpoint.form(site)?;
            let found = match states {
                Some(file) => tokens(&form, checkpoint, file, &format!("site.{k}.states"))?,
                None => None,
            };
            if states.is_some() && found.is_none() {
                without_states.push(k);
            }
            sites.push(analysed(checkpoint, site, &form, found.unwrap_or_default()));
        }
        if let Some(file) = states
            && without_states.len() == sites.len()
        {
            let last = sites.len().saturating_sub(1);
            let reason =
                format!("it has no site.K.states, K from 0 to {last}: docs/checkpoints.md");
            return Err(CheckpointError::malformed(file.path(), reason));
        }
        let predicted = checkpoint.predicted.iter().map(|site| {
            let form = checkpoint.form(site)?;
            Ok(analysed(checkpoint, site, &form, Vec::new()))
        });
        let predicted = predicted.collect::<Result<Vec<_>, CheckpointError>>()?;
        let end = match checkpoint.delayed {
            true => delay(&mut sites, checkpoint.streams),
            false => end(checkpoint, states)?,
        };
        Ok(Self {
            sites,
            predicted,
            end,
            without_states,
        })
    }

    /// The mean coefficients of all sites in the layout of the unfolding; `None` if a site has no
    /// matrices.
    pub fn layers(&self) -> Option<Vec<LayerCoefficients>> {
        self.sites.iter().map(|site| layer(&site.mean()?)).collect()
    }

    /// The mean weights at the end.
    pub fn last(&self) -> Vec<f64> {
        let count = self.end.tokens.len();
        if count == 0 {
            return self.end.fixed.clone();
        }
        let mean = |i: usize| self.end.tokens.iter().map(|w| w[i]).sum::<f64>() / count as f64;
        (0..self.end.fixed.len()).map(mean).collect()
    }
}

/// The coefficients of every token of an array `[tokens, n, d]`; `None` if there is none.
fn tokens(
    form: &Form,
    checkpoint: &Checkpoint,
    file: &StateFile,
    name: &str,
) -> Result<Option<Vec<Coefficients>>, CheckpointError> {
    let Some(states) = file.read(name)? else {
        return Ok(None);
    };
    let width = checkpoint
        .width
        .or(states.shape.last().copied())
        .unwrap_or(0);
    match states.shape[..] {
        [count, n, d] if n == form.streams && d == width && count * n * d > 0 => {}
        _ => {
            return Err(CheckpointError::Tensor {
                name: name.to_owned(),
                file: file.path().to_owned(),
                reason: format!(
                    "the shape is {:?}, expected [tokens, {}, {width}]",
                    states.shape, form.streams
                ),
            });
        }
    }
    let each = states.values.chunks_exact(form.streams * width);
    Ok(Some(each.map(|streams| form.of_token(streams)).collect()))
}

fn analysed(
    checkpoint: &Checkpoint,
    site: &Site,
    form: &Form,
    tokens: Vec<Coefficients>,
) -> SiteAnalysis {
    let fixed = checkpoint.dialect.fixed.then(|| form.fixed());
    let reach_by_stream = form.reach();
    let mut reach = [0.0_f64; 3];
    for (logit, by_stream) in reach_by_stream.iter().enumerate() {
        let length = by_stream.iter().map(|x| x * x).sum::<f64>().sqrt();
        let part = &mut reach[part(logit, form.streams)];
        *part = part.max(length);
    }
    let label = match site.layer {
        Some(layer) if site.kind != Kind::Unknown => format!("layer {layer} {}", site.kind.short()),
        _ => site.name.clone(),
    };
    let mix = fixed.as_ref().map(|of| MixMeasures::of(&of.mix));
    SiteAnalysis {
        name: site.name.clone(),
        label,
        kind: site.kind,
        mix: mix.filter(|_| !form.mixes_nothing()),
        saturation: fixed.as_ref().and_then(|_| form.saturation()),
        fixed,
        tokens,
        reach,
        reach_by_stream,
    }
}

fn end(checkpoint: &Checkpoint, states: Option<&StateFile>) -> Result<End, CheckpointError> {
    let n = checkpoint.streams;
    let fixed = |weight, what| End {
        fixed: vec![weight; n],
        tokens: Vec::new(),
        what,
    };
    if let Some(form) = checkpoint.head_form()? {
        let found = match states {
            Some(file) => tokens(&form, checkpoint, file, "head.states")?,
            None => None,
        };
        let found = found.unwrap_or_default().into_iter();
        return Ok(End {
            fixed: form.fixed().read,
            tokens: found.map(|of| of.read).collect(),
            what: LEARNED,
        });
    }
    if !checkpoint.dialect.has_matrices() {
        let what = "a mixer with a weight for every channel, none for a whole stream";
        return Ok(fixed(1.0 / n as f64, what));
    }
    Ok(match checkpoint.dialect.last {
        Last::Sum => fixed(1.0, "the sum of the streams"),
        Last::Mean => fixed(1.0 / n as f64, "the mean of the streams"),
        Last::Learned => fixed(
            1.0 / n as f64,
            "learned, but its tensors are not here: shown with equal weights",
        ),
    })
}

/// Moves every read one site later; the first is `e_0`, the last is the end.
fn delay(sites: &mut [SiteAnalysis], n: usize) -> End {
    let mut first = vec![0.0; n];
    if let Some(weight) = first.first_mut() {
        *weight = 1.0;
    }
    let count = sites.first().map_or(0, |site| site.tokens.len());
    let mut fixed = first.clone();
    let mut tokens = vec![first; count];
    for site in sites {
        if let Some(of) = &mut site.fixed {
            std::mem::swap(&mut of.read, &mut fixed);
        }
        if site.tokens.len() == tokens.len() {
            let reads = site.tokens.iter_mut().map(|of| &mut of.read);
            reads
                .zip(&mut tokens)
                .for_each(|(of, read)| std::mem::swap(of, read));
        } else {
            // Without the states of one site, the reads of the next are unknown.
            site.tokens.iter_mut().for_each(|of| of.read.clear());
            tokens.clear();
        }
    }
    End {
        fixed,
        tokens,
        what: LAST_READ,
    }
}

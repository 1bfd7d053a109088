//! What an inspection holds, as named matrices: the one form that every output is made of.

use super::{Inspection, LayerView};
use figures::unfold::LayerCoefficients;

/// A matrix with its names.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// A name for files: `unfolded_0`.
    pub name: String,
    /// What is to be seen, with what rows and columns are.
    pub title: String,
    /// The names of the rows.
    pub rows: Vec<String>,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The entries; `None` where there cannot be one.
    pub values: Vec<Vec<Option<f64>>>,
}

impl Matrix {
    /// The largest magnitude, where there are numbers.
    pub fn largest(&self) -> f64 {
        let entries = self.values.iter().flatten().flatten();
        let finite = entries.filter(|x| x.is_finite());
        finite.fold(0.0, |max, x| f64::max(max, x.abs()))
    }

    /// C(i), with the embedding as column 0 and the end as the last row.
    pub fn unfolded(name: &str, title: &str, last: &str, values: &[Vec<f64>]) -> Self {
        let count = values.len() - 1;
        let rows = (1..=count).map(|k| k.to_string()).chain([last.to_owned()]);
        let kept = values.iter().enumerate().map(|(k, row)| {
            let entries = row.iter().enumerate();
            entries.map(|(j, &c)| (j <= k).then_some(c)).collect()
        });
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            rows: rows.collect(),
            columns: (0..=count).map(|j| j.to_string()).collect(),
            values: kept.collect(),
        }
    }

    /// The matrix HC of Eq. 1 without its corner that is always 0: `[A_m | A_r]` by source
    /// stream, and below it B.
    pub fn coefficients(name: &str, title: &str, layer: &LayerCoefficients) -> Self {
        let n = layer.rate();
        let numbers = || (1..=n).map(|i| i.to_string());
        let mut values: Vec<Vec<Option<f64>>> = layer
            .alpha
            .chunks_exact(n + 1)
            .map(|row| row.iter().map(|&x| Some(x.into())).collect())
            .collect();
        let write = layer.beta.iter().map(|&b| Some(b.into()));
        values.push([None].into_iter().chain(write).collect());
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            rows: numbers().chain(["write".to_owned()]).collect(),
            columns: ["read".to_owned()].into_iter().chain(numbers()).collect(),
            values,
        }
    }

    fn table(name: &str, title: &str, rows: &[String], columns: &[(&str, Vec<f64>)]) -> Self {
        let row = |k: usize| columns.iter().map(|(_, of)| of.get(k).copied()).collect();
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            rows: rows.to_vec(),
            columns: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            values: (0..rows.len()).map(row).collect(),
        }
    }
}

/// A part of the coefficients of a sublayer: its name, and where it is.
type Part = (&'static str, fn(&LayerView) -> &LayerCoefficients);

/// The parts that the coefficients of a sublayer are shown in.
pub const PARTS: [Part; 5] = [
    ("mean", |view| &view.mean),
    ("static", |view| &view.fixed),
    ("dynamic", |view| &view.dynamic),
    ("spread", |view| &view.spread),
    ("change", |view| &view.change),
];

impl Inspection {
    /// C(0) of the mean of all tokens, then C(1) to C(n); none without streams.
    pub fn unfolded_matrices(&self) -> Vec<Matrix> {
        let Some(unfolded) = &self.unfolded else {
            return Vec::new();
        };
        let of_tokens = &unfolded.mean_of_tokens;
        let inputs = Matrix::unfolded(
            "unfolded_0",
            "C(0): what every sublayer (row) reads of every output (column, 0 = embedding)",
            "out",
            &of_tokens.inputs,
        );
        let streams = of_tokens.streams.iter().enumerate().map(|(i, values)| {
            let i = i + 1;
            let title = format!("C({i}): what stream {i} holds once sublayer (row) has mixed");
            Matrix::unfolded(&format!("unfolded_{i}"), &title, "end", values)
        });
        [inputs].into_iter().chain(streams).collect()
    }

    /// C(0) as relative contributions.
    pub fn contributions(&self) -> Option<Matrix> {
        let title = "relative contributions: entries of C(0) times the rms of their output, over \
                     the rms of the row";
        let values = &self.unfolded.as_ref()?.contributions;
        Some(Matrix::unfolded("contributions", title, "out", values))
    }

    /// C(0) of the arrangements to compare with.
    pub fn reference_matrices(&self) -> Vec<Matrix> {
        let references = self.references.iter();
        references
            .map(|(name, values)| {
                let file = format!("reference_{}", name.replace([' ', '-'], "_"));
                Matrix::unfolded(&file, &format!("C(0) of {name}"), "out", values)
            })
            .collect()
    }

    /// One part of the coefficients of a sublayer.
    pub fn layer_matrix(&self, layer: usize, (part, of): Part) -> Matrix {
        let view = &self.layers[layer];
        let name = format!("{}_{part}", view.site.replace('.', "_"));
        let title = format!("{} {}: {part}", layer + 1, short(&view.site));
        Matrix::coefficients(&name, &title, of(view))
    }

    /// Everything.
    pub fn matrices(&self) -> Vec<Matrix> {
        let mut all = self.unfolded_matrices();
        if let Some(unfolded) = &self.unfolded {
            all.push(self.contributions().expect("beside the unfolded matrix"));
            all.push(Matrix::unfolded(
                "unfolded_0_of_mean",
                "C(0) of the mean coefficients",
                "out",
                &unfolded.of_mean.inputs,
            ));
        }
        all.extend(self.reference_matrices());
        let layers = 0..self.layers.len();
        all.extend(layers.flat_map(|k| PARTS.map(|part| self.layer_matrix(k, part))));
        let similarity = |of: fn(&super::Band) -> f64| self.similarity.iter().map(of).collect();
        all.push(Matrix::table(
            "similarity",
            "cosine of the inputs of a sublayer and the next, over the tokens",
            &self.sites[..self.similarity.len()],
            &[
                ("p5", similarity(|band| band.low)),
                ("median", similarity(|band| band.median)),
                ("p95", similarity(|band| band.high)),
            ],
        ));
        let depth = |of: fn(&super::DepthView) -> f64| self.depth.iter().map(of).collect();
        all.push(Matrix::table(
            "depth",
            "norms and gradients by sublayer",
            &self.sites,
            &[
                ("input rms", depth(|view| view.input_rms)),
                ("output rms", depth(|view| view.output_rms)),
                ("output gradient", depth(|view| view.output_gradient)),
                (
                    "stream cosine",
                    depth(|view| view.mean_cosine().unwrap_or(f64::NAN)),
                ),
            ],
        ));
        if self.gains.is_empty() {
            return all;
        }
        let gain = |of: fn(&super::LayerGain) -> f64| self.gains.iter().map(of).collect();
        all.push(Matrix::table(
            "gain",
            "gains of the mixes by sublayer, single and composed from the first",
            &self.sites,
            &[
                ("forward", gain(|g| g.single.forward)),
                ("backward", gain(|g| g.single.backward)),
                ("spectral norm", gain(|g| g.single.spectral_norm)),
                ("smallest", gain(|g| g.single.smallest)),
                ("effective rank", gain(|g| g.single.effective_rank)),
                ("composed forward", gain(|g| g.composed.forward)),
                ("composed backward", gain(|g| g.composed.backward)),
                ("composed spectral norm", gain(|g| g.composed.spectral_norm)),
                ("composed smallest", gain(|g| g.composed.smallest)),
                (
                    "composed effective rank",
                    gain(|g| g.composed.effective_rank),
                ),
                ("read usage", gain(|g| g.read_usage)),
                ("write usage", gain(|g| g.write_usage)),
            ],
        ));
        let n = self.rate.unwrap_or(0);
        let streams: Vec<String> = (1..=n).map(|i| i.to_string()).collect();
        type PerStream<'a> = (&'a str, &'a str, Vec<&'a [f64]>);
        let per_stream: [PerStream<'_>; 3] = [
            (
                "stream_rms",
                "root mean square of every stream before a sublayer",
                self.depth.iter().map(|view| &*view.stream_rms).collect(),
            ),
            (
                "row_sums",
                "row sums of A_r: what leaves each source stream",
                self.gains.iter().map(|gain| &*gain.row_sums).collect(),
            ),
            (
                "column_sums",
                "column sums of A_r: what each destination stream receives",
                self.gains.iter().map(|gain| &*gain.column_sums).collect(),
            ),
        ];
        for (name, title, rows) in per_stream {
            all.push(Matrix {
                name: name.to_owned(),
                title: title.to_owned(),
                rows: self.sites.clone(),
                columns: streams.clone(),
                values: rows
                    .iter()
                    .map(|row| row.iter().map(|&x| Some(x)).collect())
                    .collect(),
            });
        }
        all
    }
}

/// `blocks.3.attn` as `attention of block 3`, and so on.
pub fn short(site: &str) -> String {
    let parts: Vec<&str> = site.split('.').collect();
    match parts[..] {
        ["blocks", block, "attn"] => format!("attention, block {block}"),
        ["blocks", block, "ffn"] => format!("feed-forward, block {block}"),
        _ => site.to_owned(),
    }
}

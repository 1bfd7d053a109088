//! An inspection as named matrices, from which all other outputs are made; CSV and NPY.

use super::{
    gain::LayerGain,
    inspection::Inspection,
    measures::{Band, DepthView, LayerView, Measure},
};
use figures::unfold::{LayerCoefficients, Unfolded};
use std::fmt::Write;

/// A matrix with its names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// A name for files: `unfolded_0`.
    pub name: String,
    /// Title, with the meaning of rows and columns.
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

    /// The same with a name for files and a title.
    pub(super) fn named(self, name: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            ..self
        }
    }

    /// C(i), with the embedding as column 0 and the end as the last row.
    pub(super) fn unfolded(last: &str, values: &[Vec<f64>]) -> Self {
        let count = values.len() - 1;
        let rows = (1..=count).map(|k| k.to_string()).chain([last.to_owned()]);
        let kept = values.iter().enumerate().map(|(k, row)| {
            let entries = row.iter().enumerate();
            entries.map(|(j, &c)| (j <= k).then_some(c)).collect()
        });
        Self {
            rows: rows.collect(),
            columns: (0..=count).map(|j| j.to_string()).collect(),
            values: kept.collect(),
            ..Self::default()
        }
    }

    /// C(0), then C(1) to C(n).
    pub(super) fn all_unfolded(unfolded: &Unfolded) -> Vec<Self> {
        let title = "C(0): what every sublayer (row) reads of every output (column, 0 = embedding)";
        let inputs = Self::unfolded("out", &unfolded.inputs).named("unfolded_0", title);
        let streams = unfolded.streams.iter().zip(1..).map(|(values, i)| {
            let title = format!("C({i}): what stream {i} holds once sublayer (row) has mixed");
            Self::unfolded("end", values).named(format!("unfolded_{i}"), title)
        });
        [inputs].into_iter().chain(streams).collect()
    }

    /// One column after the other, each with its name and an entry for every row.
    pub(super) fn of_columns(rows: Vec<String>, columns: Vec<(String, Vec<Option<f64>>)>) -> Self {
        let row = |k: usize| columns.iter().map(|(_, of)| of[k]).collect();
        let values = (0..rows.len()).map(row).collect();
        Self {
            rows,
            values,
            columns: columns.into_iter().map(|(name, _)| name).collect(),
            ..Self::default()
        }
    }

    /// The matrix HC of Eq. 1 without its corner that is always 0: `[A_m | A_r]` by source
    /// stream, and below it B.
    pub(super) fn coefficients(layer: &LayerCoefficients) -> Self {
        let n = layer.rate();
        let numbers = || (1..=n).map(|i| i.to_string());
        let some = |row: &[f32]| row.iter().map(|&x| Some(x.into())).collect();
        let mut values: Vec<Vec<_>> = layer.alpha.chunks_exact(n + 1).map(some).collect();
        let write: Vec<_> = some(&layer.beta);
        values.push([None].into_iter().chain(write).collect());
        Self {
            rows: numbers().chain(["write".to_owned()]).collect(),
            columns: ["read".to_owned()].into_iter().chain(numbers()).collect(),
            values,
            ..Self::default()
        }
    }

    /// One row for each of `of`, one column for each measure.
    fn table<T>(sites: &[String], of: &[T], columns: &[Measure<T>]) -> Self {
        let row = |one| columns.iter().map(|(_, value)| Some(value(one))).collect();
        Self {
            rows: sites[..of.len()].to_vec(),
            columns: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            values: of.iter().map(row).collect(),
            ..Self::default()
        }
    }

    /// One row for each of `of`, one column for each stream.
    fn by_stream<T>(sites: &[String], of: &[T], values: fn(&T) -> &[f64]) -> Self {
        let row = |one| values(one).iter().map(|&x| Some(x)).collect();
        let streams = of.first().map_or(0, |one| values(one).len());
        Self {
            rows: sites.to_vec(),
            columns: (1..=streams).map(|i| i.to_string()).collect(),
            values: of.iter().map(row).collect(),
            ..Self::default()
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

/// The percentiles of a band.
pub(super) const PERCENTILES: [Measure<Band>; 3] = [
    ("p5", |band| band.low),
    ("median", |band| band.median),
    ("p95", |band| band.high),
];

impl Inspection {
    /// C(0) of the mean of all tokens, then C(1) to C(n); none without streams.
    pub fn unfolded_matrices(&self) -> Vec<Matrix> {
        let unfolded = self.unfolded.as_ref();
        unfolded.map_or_else(Vec::new, |unfolded| {
            Matrix::all_unfolded(&unfolded.mean_of_tokens)
        })
    }

    /// C(0) as relative contributions.
    pub fn contributions(&self) -> Option<Matrix> {
        let title = "relative contributions: entries of C(0) times the rms of their output, over \
                     the rms of the row";
        let values = &self.unfolded.as_ref()?.contributions;
        Some(Matrix::unfolded("out", values).named("contributions", title))
    }

    /// C(0) of the arrangements to compare with.
    pub fn reference_matrices(&self) -> impl Iterator<Item = Matrix> {
        self.references.iter().map(|(name, values)| {
            let file = format!("reference_{}", name.replace([' ', '-'], "_"));
            Matrix::unfolded("out", values).named(file, format!("C(0) of {name}"))
        })
    }

    /// One part of the coefficients of a sublayer.
    pub fn layer_matrix(&self, layer: usize, (part, of): Part) -> Matrix {
        let view = &self.layers[layer];
        let name = format!("{}_{part}", view.site.replace('.', "_"));
        let title = format!("{} {}: {part}", layer + 1, short(&view.site));
        Matrix::coefficients(of(view)).named(name, title)
    }

    /// Everything.
    pub fn matrices(&self) -> Vec<Matrix> {
        let mut all = self.unfolded_matrices();
        all.extend(self.contributions());
        all.extend(self.unfolded.iter().map(|unfolded| {
            let title = "C(0) of the mean coefficients";
            Matrix::unfolded("out", &unfolded.of_mean.inputs).named("unfolded_0_of_mean", title)
        }));
        all.extend(self.reference_matrices());
        let layers = 0..self.layers.len();
        all.extend(layers.flat_map(|k| PARTS.map(|part| self.layer_matrix(k, part))));
        let (sites, depth, gains) = (&self.sites, &self.depth, &self.gains);
        let title = "cosine of the inputs of a sublayer and the next, over the tokens";
        let similarity = Matrix::table(sites, &self.similarity, &PERCENTILES);
        all.push(similarity.named("similarity", title));
        let by_depth: &[Measure<DepthView>] = &[
            ("input rms", |view| view.input_rms),
            ("output rms", |view| view.output_rms),
            ("output gradient", |view| view.output_gradient),
            ("stream cosine", |view| {
                view.mean_cosine().unwrap_or(f64::NAN)
            }),
        ];
        let by_depth = Matrix::table(sites, depth, by_depth);
        all.push(by_depth.named("depth", "norms and gradients by sublayer"));
        if gains.is_empty() {
            return all;
        }
        let of_mixes: &[Measure<LayerGain>] = &[
            ("forward", |g| g.single.forward),
            ("backward", |g| g.single.backward),
            ("spectral norm", |g| g.single.spectral_norm),
            ("smallest", |g| g.single.smallest),
            ("effective rank", |g| g.single.effective_rank),
            ("composed forward", |g| g.composed.forward),
            ("composed backward", |g| g.composed.backward),
            ("composed spectral norm", |g| g.composed.spectral_norm),
            ("composed smallest", |g| g.composed.smallest),
            ("composed effective rank", |g| g.composed.effective_rank),
            ("read usage", |g| g.read_usage),
            ("write usage", |g| g.write_usage),
        ];
        let title = "gains of the mixes by sublayer, single and composed from the first";
        all.push(Matrix::table(sites, gains, of_mixes).named("gain", title));
        let title = "root mean square of every stream before a sublayer";
        let streams = Matrix::by_stream(sites, depth, |view| &view.stream_rms);
        all.push(streams.named("stream_rms", title));
        let title = "row sums of A_r: what leaves each source stream";
        let rows = Matrix::by_stream(sites, gains, |gain| &gain.row_sums);
        all.push(rows.named("row_sums", title));
        let title = "column sums of A_r: what each destination stream receives";
        let columns = Matrix::by_stream(sites, gains, |gain| &gain.column_sums);
        all.push(columns.named("column_sums", title));
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

/// All matrices as one table: matrix, row, column, value; entries that cannot be are left out.
pub fn to_csv(matrices: &[Matrix]) -> String {
    let mut text = String::from("matrix,row,column,value\n");
    for matrix in matrices {
        for (row, values) in matrix.rows.iter().zip(&matrix.values) {
            for (column, value) in matrix.columns.iter().zip(values) {
                if let Some(value) = value {
                    writeln!(text, "{},{row},{column},{value}", matrix.name).expect("a string");
                }
            }
        }
    }
    text
}

/// A matrix in NumPy's format (version 1.0): f64, little endian, C order, NaN where there is no
/// entry.
pub fn to_npy(matrix: &Matrix) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    let (rows, columns) = (matrix.rows.len(), matrix.columns.len());
    let header =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // The data begin at a multiple of 64 bytes, after a line break.
    let before = MAGIC.len() + 2;
    let width = (before + header.len() + 1).next_multiple_of(64) - before - 1;
    let header = format!("{header:<width$}\n");
    let mut bytes = MAGIC.to_vec();
    let length = u16::try_from(header.len()).expect("a short header");
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.as_bytes());
    let entries = matrix.values.iter().flatten();
    bytes.extend(entries.flat_map(|x| x.unwrap_or(f64::NAN).to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        Matrix {
            name: "m".into(),
            title: String::new(),
            rows: vec!["1".into(), "write".into()],
            columns: vec!["read".into(), "1".into(), "2".into()],
            values: vec![
                vec![Some(-1.5), Some(2.25), Some(0.1)],
                vec![None, Some(3.0), Some(4.0)],
            ],
        }
    }

    #[test]
    fn csv_has_a_line_for_every_entry() {
        let expected = "matrix,row,column,value\nm,1,read,-1.5\nm,1,1,2.25\nm,1,2,0.1\n\
                        m,write,1,3\nm,write,2,4\n";
        assert_eq!(to_csv(&[matrix()]), expected);
    }

    #[test]
    fn npy_is_what_its_specification_says() {
        let bytes = to_npy(&matrix());
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + header) % 64, 0);
        let text = std::str::from_utf8(&bytes[10..10 + header]).unwrap();
        assert!(text.contains("'shape': (2, 3)") && text.ends_with('\n'));
        let data = &bytes[10 + header..];
        assert_eq!(data.len(), 6 * 8);
        let entry = |i: usize| f64::from_le_bytes(data[8 * i..8 * i + 8].try_into().unwrap());
        assert_eq!((entry(0), entry(1), entry(5)), (-1.5, 2.25, 4.0));
        assert!(entry(3).is_nan());
    }
}

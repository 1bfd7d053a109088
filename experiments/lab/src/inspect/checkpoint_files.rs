//! Checkpoints of other programs as matrices, JSON and a page.

use super::{
    checkpoint::{CheckpointView, Compared, PARTS, per_token, spread},
    matrix::{Matrix, PERCENTILES},
    measures::{Band, difference},
    page::{LETTERS, filled, round, six_digits, thousandths},
    patterns::Reference,
};
use checkpoints::{Checkpoint, Coefficients, Kind, MixMeasures, SiteAnalysis, layer};
use figures::unfold::Unfolded;
use serde::Serialize;
use serde_json::{Value, json};

impl CheckpointView {
    /// The matrices of one site: static, and of states the standard deviation and the mean; the
    /// last is what acts.
    pub(super) fn site_matrices(&self, k: usize) -> Vec<Matrix> {
        let site = &self.analysis.sites[k];
        let mut parts = Vec::new();
        parts.extend(site.fixed.clone().map(|fixed| ("static", fixed)));
        if let (Some(mean), false) = (site.mean(), site.tokens.is_empty()) {
            parts.push(("spread", spread(&site.tokens, &mean)));
            parts.push(("mean", mean));
        }
        let matrices = parts.into_iter().filter_map(|(part, of)| {
            let title = format!("{} {}: {part}", k + 1, site.label);
            let name = format!("site_{k}_{part}");
            Some(Matrix::coefficients(&layer(&of)?).named(name, title))
        });
        matrices.collect()
    }

    /// The same site of every checkpoint that this one is compared with, streams aligned.
    pub(super) fn compared_matrices(&self, k: usize) -> Vec<Matrix> {
        let others = self.compared.iter().zip(1..);
        let matrices = others.filter_map(|(other, number)| {
            let title = format!("{} of {}", k + 1, other.name);
            let matrix = Matrix::coefficients(other.layers.get(k)?);
            Some(matrix.named(format!("with_{number}_site_{k}"), title))
        });
        matrices.collect()
    }

    /// The reach of each logit of a site by source stream.
    pub(super) fn reach(&self, k: usize) -> Matrix {
        let n = self.checkpoint.streams;
        let rows = &self.analysis.sites[k].reach_by_stream;
        let named = |i: usize| match i / n.max(1) {
            part @ (0 | 1) => format!("{} {}", PARTS[part], i % n + 1),
            _ => format!("mix {}", i - 2 * n + 1),
        };
        Matrix {
            name: format!("site_{k}_reach"),
            title: format!("{}: reach of each logit (row) by source stream", k + 1),
            rows: (0..rows.len()).map(named).collect(),
            columns: (1..=n).map(|i| i.to_string()).collect(),
            values: rows
                .iter()
                .map(|row| row.iter().map(|&x| Some(x)).collect())
                .collect(),
        }
    }

    pub(super) fn unfolded_matrices(&self) -> Vec<Matrix> {
        let Some((unfolded, contributions, _)) = &self.unfolded else {
            return Vec::new();
        };
        let title = "relative contributions: entries of C(0) over the rms of the row";
        let relative = Matrix::unfolded("out", contributions).named("contributions", title);
        let mut all = Matrix::all_unfolded(unfolded);
        all.push(relative);
        all
    }

    /// Measures of every site, one column each.
    fn measures(&self) -> Matrix {
        let sites = &self.analysis.sites;
        let mut columns: Vec<(String, Vec<Option<f64>>)> = Vec::new();
        let mut put = |name: &str, of: &dyn Fn(usize, &SiteAnalysis) -> Option<f64>| {
            let values = sites.iter().enumerate().map(|(k, site)| of(k, site));
            columns.push((name.to_owned(), values.collect()));
        };
        for (part, name) in PARTS.iter().enumerate() {
            put(&format!("reach of the {name}"), &|_, site| {
                Some(site.reach[part])
            });
        }
        put("distance to identity", &|_, site| {
            Some(site.mix.as_ref()?.identity)
        });
        put("distance to a permutation", &|_, site| {
            Some(site.mix.as_ref()?.permutation)
        });
        put("distance to uniform", &|_, site| {
            Some(site.mix.as_ref()?.uniform)
        });
        put("doubly stochastic defect", &|_, site| {
            Some(site.mix.as_ref()?.defect)
        });
        put("saturation", &|_, site| site.saturation);
        let gain = |k: usize| self.gains.get(k);
        put("forward", &|k, _| Some(gain(k)?.single.forward));
        put("backward", &|k, _| Some(gain(k)?.single.backward));
        put("spectral norm", &|k, _| Some(gain(k)?.single.spectral_norm));
        put("composed forward", &|k, _| Some(gain(k)?.composed.forward));
        put("composed backward", &|k, _| {
            Some(gain(k)?.composed.backward)
        });
        put("composed spectral norm", &|k, _| {
            Some(gain(k)?.composed.spectral_norm)
        });
        put("read usage", &|k, _| Some(gain(k)?.read_usage));
        put("write usage", &|k, _| Some(gain(k)?.write_usage));
        Matrix::of_columns(self.site_names(), columns).named("sites", "measures by site")
    }

    fn site_names(&self) -> Vec<String> {
        let sites = self.analysis.sites.iter();
        sites.map(|site| site.name.clone()).collect()
    }

    /// Bands over the tokens of what acts, by stream and site: reads, writes, and the share that
    /// a stream keeps of itself. Empty without states; `None` at sites without.
    pub(super) fn bands(&self) -> Vec<(&'static str, Vec<Vec<Option<Band>>>)> {
        let (n, sites) = (self.checkpoint.streams, &self.analysis.sites);
        type Of = fn(&Coefficients, usize) -> Option<f64>;
        let parts: [(&str, Of); 3] = [
            ("read", |of, i| of.read.get(i).copied()),
            ("write", |of, i| of.write.get(i).copied()),
            ("keep", |of, i| {
                of.mix.get(i * (of.write.len() + 1)).copied()
            }),
        ];
        let bands = parts.into_iter().map(|(part, of)| {
            let band = |site: &SiteAnalysis, i: usize| {
                let values: Option<Vec<f64>> = site.tokens.iter().map(|one| of(one, i)).collect();
                values.filter(|values| !values.is_empty()).map(Band::of)
            };
            let stream = |i| sites.iter().map(|site| band(site, i)).collect::<Vec<_>>();
            (part, (0..n).map(stream).collect::<Vec<_>>())
        });
        let some = |(_, streams): &(_, Vec<Vec<Option<Band>>>)| {
            streams.iter().flatten().any(Option::is_some)
        };
        bands.filter(some).collect()
    }

    /// The bands as one matrix, three columns for each stream.
    fn bands_matrix(&self) -> Option<Matrix> {
        let mut columns: Vec<(String, Vec<Option<f64>>)> = Vec::new();
        for (part, streams) in self.bands() {
            for (i, sites) in streams.iter().enumerate() {
                columns.extend(PERCENTILES.map(|(end, of)| {
                    let values = sites.iter().map(|band| band.as_ref().map(of));
                    (format!("{part} {} {end}", i + 1), values.collect())
                }));
            }
        }
        let title = "percentiles over the tokens of reads, writes and what a stream keeps";
        (!columns.is_empty())
            .then(|| Matrix::of_columns(self.site_names(), columns).named("bands", title))
    }

    /// Measures over depth as charts.
    pub(super) fn charts(&self) -> [Chart; 3] {
        let sites = &self.analysis.sites;
        let parts = PARTS.iter().enumerate();
        let reach =
            parts.flat_map(|(part, name)| by_kind(sites, name, &|site| Some(site.reach[part])));
        type Of = fn(&MixMeasures) -> f64;
        let of_mix = |name: &str, of: Of| by_kind(sites, name, &|s| s.mix.as_ref().map(of));
        let distances = [
            of_mix("identity", |mix| mix.identity),
            of_mix("a permutation", |mix| mix.permutation),
            of_mix("uniform", |mix| mix.uniform),
        ];
        let chart = |file, title, series, log| Chart {
            file,
            title,
            series,
            log,
        };
        [
            chart(
                "reach",
                "Reach of the dynamic part, in logits",
                reach.collect(),
                true,
            ),
            chart(
                "distances",
                "Distance of the static mix to",
                distances.concat(),
                false,
            ),
            chart(
                "defect",
                "Doubly stochastic defect of the static mix",
                of_mix("defect", |mix| mix.defect),
                true,
            ),
        ]
    }

    /// The bands as charts of the page.
    fn band_charts(&self) -> Vec<Value> {
        let charts = self.bands().into_iter().map(|(part, streams)| {
            let series = streams.iter().zip(1..).map(|(sites, i)| {
                let points = sites.iter().zip(1..).filter_map(|(band, k)| {
                    let band = band.as_ref()?;
                    Some(json!({"x": k, "y": band.median, "low": band.low, "high": band.high}))
                });
                json!({"name": format!("stream {i}"), "points": points.collect::<Vec<_>>()})
            });
            let title = format!("{part} of every stream: median, 5 to 95 % of the tokens");
            json!({"title": title, "series": series.collect::<Vec<_>>()})
        });
        charts.collect()
    }

    /// All matrices.
    pub fn matrices(&self) -> Vec<Matrix> {
        let mut all = self.unfolded_matrices();
        all.push(self.measures());
        all.extend(self.bands_matrix());
        for k in 0..self.sites() {
            all.extend(self.site_matrices(k));
            all.extend(self.compared_matrices(k));
            all.push(self.reach(k));
        }
        all
    }

    /// The page of an inspection with what is known without the network.
    pub fn page(&self) -> String {
        let of = &self.checkpoint;
        let sites = &self.analysis.sites;
        let shown = |one: &Coefficients| layer(one);
        let parts = |site: &SiteAnalysis| {
            let mean = shown(&site.mean()?)?;
            let fixed = shown(site.fixed.as_ref()?)?;
            let dynamic = difference(&mean, &fixed);
            let spread = shown(&spread(&site.tokens, &site.mean()?))?;
            Some(json!({"mean": mean, "static": fixed, "dynamic": dynamic, "spread": spread}))
        };
        let layers: Option<Vec<Value>> = sites.iter().map(parts).collect();
        let unfolded = self.unfolded.as_ref();
        let matrices = unfolded.map(|(unfolded, ..)| {
            let Unfolded { inputs, streams } = unfolded;
            [inputs].into_iter().chain(streams).collect::<Vec<_>>()
        });
        let contributions = unfolded.map(|(_, contributions, _)| contributions);
        let rate = layers.as_ref().and(contributions).map(|_| of.streams);
        let references = Reference::ALL.map(|known| (known.name(), known.matrix(sites.len())));
        let aligned = |other: &&Compared| !other.layers.is_empty();
        let others = self.compared.iter().filter(aligned);
        let others = others.map(|other| json!({"name": other.name, "layers": other.layers}));
        let others: Vec<Value> = others.collect();
        let mut data = json!({
            "name": self.name, "label": of.dialect.title, "rate": rate,
            "about": format!(
                "{} sites of {} streams; {}", sites.len(), of.streams,
                match self.tokens() {
                    0 => "static coefficients, the network was not run".to_owned(),
                    tokens => format!("means over {tokens} tokens of the states"),
                }
            ),
            "sites": sites.iter().map(|site| &site.label).collect::<Vec<_>>(),
            "layers": layers, "unfolded": matrices, "contributions": contributions,
            "patterns": unfolded.map(|(.., patterns)| patterns), "references": references,
            "last": self.analysis.last(), "similarity": [], "depth": [], "interventions": [],
            "gains": self.gains, "steps": [],
            "bands": self.band_charts(),
            "charts": self.charts(), "others": others,
        });
        round(&mut data, six_digits);
        let mut text = json!(self.token_view());
        round(&mut text, thousandths);
        data["text"] = text;
        filled(&data)
    }

    /// The number of tokens of the states at the first site.
    fn tokens(&self) -> usize {
        self.analysis
            .sites
            .first()
            .map_or(0, |site| site.tokens.len())
    }

    /// The coefficients of the first tokens, which have numbers for letters.
    fn token_view(&self) -> Option<Value> {
        let tokens = per_token(&self.analysis)?;
        let count = tokens.len().min(LETTERS);
        let of_site = |k: usize| {
            let all = || tokens[..count].iter().map(|layers| &layers[k]);
            let alpha: Vec<f32> = all().flat_map(|of| of.alpha.iter().copied()).collect();
            let beta: Vec<f32> = all().flat_map(|of| of.beta.iter().copied()).collect();
            json!({"alpha": alpha, "beta": beta})
        };
        let sites: Vec<Value> = (0..self.sites()).map(of_site).collect();
        let letters: Vec<String> = (1..=count).map(|t| format!("{t} ")).collect();
        Some(json!({"letters": letters, "window": count, "sites": sites}))
    }

    /// As JSON: what was recognised, and everything computed.
    pub fn to_json(&self) -> Vec<u8> {
        let coefficients = |of: &Coefficients| {
            let mut json = json!({"read": of.read, "write": of.write, "mix": of.mix});
            if !of.views.is_empty() {
                json["views"] = json!(of.views.chunks(of.write.len()).collect::<Vec<_>>());
            }
            json
        };
        let site = |site: &SiteAnalysis| {
            let mix = site.mix.as_ref().map(|mix| {
                json!({
                    "identity": mix.identity, "permutation": mix.permutation,
                    "uniform": mix.uniform, "defect": mix.defect,
                })
            });
            json!({
                "name": site.name, "kind": site.kind.short(), "reach": site.reach,
                "reach_by_stream": site.reach_by_stream, "saturation": site.saturation,
                "static": site.fixed.as_ref().map(coefficients), "mix": mix,
                "mean": site.mean().as_ref().map(coefficients),
                "tokens": site.tokens.iter().map(coefficients).collect::<Vec<_>>(),
            })
        };
        let sites = |of: &[SiteAnalysis]| of.iter().map(site).collect::<Vec<Value>>();
        let Checkpoint {
            dialect,
            settings,
            streams,
            width,
            missing,
            ..
        } = &self.checkpoint;
        let settings = settings
            .iter()
            .map(|one| json!({"name": one.name, "value": one.value, "key": one.key}));
        let unfolded = self.unfolded.as_ref();
        let compared = self.compared.iter();
        let compared: Vec<_> = compared
            .map(|other| (&other.name, &other.alignment))
            .collect();
        let all = json!({
            "name": self.name, "dialect": dialect.name, "title": dialect.title,
            "streams": streams, "width": width, "settings": settings.collect::<Vec<_>>(),
            "missing": missing, "sites": sites(&self.analysis.sites),
            "predicted": sites(&self.analysis.predicted),
            "end": {"what": self.analysis.end.what, "static": self.analysis.end.fixed,
                "tokens": self.analysis.end.tokens},
            "gains": self.gains, "unfolded": unfolded.map(|(unfolded, ..)| unfolded),
            "contributions": unfolded.map(|(_, contributions, _)| contributions),
            "patterns": unfolded.map(|(.., patterns)| patterns),
            "compared": compared,
        });
        serde_json::to_vec(&all).expect("plain data becomes JSON")
    }
}

/// A measure of every site over depth.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    /// A name for files.
    #[serde(skip)]
    pub(super) file: &'static str,
    pub(super) title: &'static str,
    pub(super) series: Vec<(String, Vec<Option<f64>>)>,
    /// Whether its values are drawn by their logarithms.
    pub(super) log: bool,
}

/// A series for a chart of each kind of site, null at the others.
fn by_kind(
    sites: &[SiteAnalysis],
    name: &str,
    of: &dyn Fn(&SiteAnalysis) -> Option<f64>,
) -> Vec<(String, Vec<Option<f64>>)> {
    let kinds = [Kind::Attention, Kind::FeedForward, Kind::Unknown].into_iter();
    let there = kinds.filter(|&kind| sites.iter().any(|site| site.kind == kind));
    let series = there.map(|kind| {
        let value = |site: &SiteAnalysis| of(site).filter(|_| site.kind == kind);
        let label = match kind {
            Kind::Unknown => name.to_owned(),
            kind => format!("{name}, {}", kind.short()),
        };
        (label, sites.iter().map(value).collect())
    });
    series.collect()
}

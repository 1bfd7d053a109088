//! The coefficients of connections of streams, as a probing forward shows them.

use engine::tape::Tape;
use figures::unfold::LayerCoefficients;
use nn::hooks;

/// The coefficients of one sublayer over some tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteCoefficients {
    /// The scope of the sublayer: `blocks.0.attn`.
    pub site: String,
    /// Number of streams.
    pub rate: usize,
    /// `[A_m | A_r]` of every token, `[tokens, n, n + 1]`, row = source stream; of one token
    /// where they are the same for all.
    pub alpha: Vec<f32>,
    /// B of every token, `[tokens, n]`, or of one.
    pub beta: Vec<f32>,
}

impl SiteCoefficients {
    /// The coefficients of a forward on a [probing](Tape::set_probing) tape, in
    /// the order of the sublayers: of every site whose `hidden` is `[.., n, d]`, whose `input`
    /// is `[.., d]`, and whose `alpha` is `[.., n, n + 1]`. Empty for networks without streams.
    pub fn of(tape: &Tape) -> Vec<Self> {
        let probes = tape.probes();
        let find = |site: &str, what: &str| {
            let name = format!("{site}.{what}");
            let found = probes.iter().find(|(path, _)| *path == name);
            found.map(|(_, var)| *var)
        };
        let site_of = |name: &str| hooks::scope_of(name, hooks::ALPHA).map(str::to_owned);
        let sites = probes.iter().filter_map(|(name, _)| site_of(name));
        sites
            .filter_map(|site| {
                let (hidden, input) = (find(&site, hooks::HIDDEN)?, find(&site, hooks::INPUT)?);
                let (alpha, beta) = (find(&site, hooks::ALPHA)?, find(&site, hooks::BETA)?);
                let (&[.., rate, d], &[.., width]) = (hidden.shape().dims(), input.shape().dims())
                else {
                    return None;
                };
                let of_streams = hidden.shape().len() == rate * input.shape().len()
                    && (width, alpha.shape().width()) == (d, rate + 1);
                of_streams.then(|| Self {
                    site,
                    rate,
                    alpha: alpha.value(),
                    beta: beta.value(),
                })
            })
            .collect()
    }

    /// Number of tokens with coefficients of their own; 1 where they are static.
    pub fn tokens(&self) -> usize {
        self.beta.len() / self.rate
    }

    /// The coefficients of one token.
    pub fn token(&self, token: usize) -> LayerCoefficients {
        let token = token % self.tokens();
        let part = |all: &[f32], len: usize| all[token * len..(token + 1) * len].to_vec();
        LayerCoefficients {
            alpha: part(&self.alpha, self.rate * (self.rate + 1)),
            beta: part(&self.beta, self.rate),
        }
    }

    /// Means over the tokens, summed in f64.
    pub fn mean(&self) -> LayerCoefficients {
        let mean = |all: &[f32], len| moments(all, len).map(|(mean, _)| mean as f32).collect();
        LayerCoefficients {
            alpha: mean(&self.alpha, self.rate * (self.rate + 1)),
            beta: mean(&self.beta, self.rate),
        }
    }

    /// Standard deviations over the tokens.
    pub fn deviation(&self) -> LayerCoefficients {
        let deviation = |all: &[f32], len| {
            let moments = moments(all, len);
            moments.map(|(_, deviation)| deviation as f32).collect()
        };
        LayerCoefficients {
            alpha: deviation(&self.alpha, self.rate * (self.rate + 1)),
            beta: deviation(&self.beta, self.rate),
        }
    }
}

/// Mean and (population) standard deviation of each column of rows of length `len`.
fn moments(all: &[f32], len: usize) -> impl Iterator<Item = (f64, f64)> {
    let rows = (all.len() / len) as f64;
    (0..len).map(move |column| {
        let values = || all[column..].iter().step_by(len).map(|&x| f64::from(x));
        let mean = values().sum::<f64>() / rows;
        let square = values().map(|x| (x - mean).powi(2)).sum::<f64>() / rows;
        (mean, square.sqrt())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two tokens with one stream.
    #[test]
    fn moments_are_over_the_tokens_and_those_of_a_population() {
        let site = SiteCoefficients {
            site: "blocks.0.attn".into(),
            rate: 1,
            alpha: vec![1.0, 2.0, 3.0, 8.0],
            beta: vec![0.5, 1.5],
        };
        assert_eq!(site.tokens(), 2);
        assert_eq!(site.token(1).alpha, [3.0, 8.0]);
        assert_eq!(
            (site.mean().alpha, site.mean().beta),
            (vec![2.0, 5.0], vec![1.0])
        );
        let deviation = site.deviation();
        assert_eq!(
            (deviation.alpha, deviation.beta),
            (vec![1.0, 3.0], vec![0.5])
        );
    }
}

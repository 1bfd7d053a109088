//! Norms whose constant under the root is not small.

use super::Finding;
use crate::norm::{NormConfig, NormKind};
use engine::tape::{Tape, Var};

/// The constant under the root of a norm is large above this part of what the root is taken of.
pub const LARGE_EPS: f32 = 0.05;

/// Where the constant under the root is not small against what the norms normalise, among the
/// values of a forward on a [probing](Tape::set_probing) tape: what every sublayer and the final
/// norm read. Such a norm shrinks small states, and connections that differ in the scale of
/// their state can no longer be compared.
pub fn large_eps(tape: &Tape, norm: NormConfig) -> Vec<Finding> {
    let reads = tape.probes().into_iter().filter_map(|(name, var)| {
        let site = match name.as_str() {
            "reduced" => "the final norm",
            name => name.strip_suffix(".input")?,
        };
        Some((site.to_owned(), var))
    });
    let findings = reads.filter_map(|(site, var)| {
        let share = share_of_eps(var, norm);
        (share > LARGE_EPS).then_some(Finding::LargeEps {
            site,
            share,
            eps: norm.eps,
        })
    });
    findings.collect()
}

/// The part that eps has in what a norm takes the root of, in the mean over the tokens.
fn share_of_eps(x: Var<'_>, norm: NormConfig) -> f32 {
    let (width, eps) = (x.shape().width(), f64::from(norm.eps));
    let share = |row: &[f32]| {
        let mean_of = |f: &dyn Fn(f64) -> f64| {
            row.iter().map(|&x| f(f64::from(x))).sum::<f64>() / row.len() as f64
        };
        let centre = match norm.kind {
            NormKind::LayerNorm => mean_of(&|x| x),
            NormKind::RmsNorm => 0.0,
        };
        eps / (mean_of(&|x| (x - centre).powi(2)) + eps)
    };
    x.with_value(|x| {
        let rows = x.chunks_exact(width);
        let count = rows.len();
        (rows.map(share).sum::<f64>() / count as f64) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn found(kind: NormKind, eps: f32, x: &[f32]) -> Vec<(String, f32)> {
        let mut tape = Tape::new();
        tape.set_probing();
        let var = tape.constant([1, x.len() / 2, 2], x);
        {
            let _scope = tape.enter(&Arc::from("blocks.3.attn"));
            tape.probe("input", var);
        }
        tape.probe("reduced", var);
        let findings = large_eps(&tape, NormConfig { kind, eps }).into_iter();
        let shares = findings.map(|finding| match finding {
            Finding::LargeEps { site, share, .. } => (site, share),
            other => panic!("{other}"),
        });
        shares.collect()
    }

    #[test]
    fn an_eps_as_large_as_what_is_normalised_is_named_where_it_acts() {
        let small = [1e-3, -1e-3];
        let named = found(NormKind::RmsNorm, 1e-6, &small);
        let sites: Vec<&str> = named.iter().map(|(site, _)| site.as_str()).collect();
        assert_eq!(sites, ["blocks.3.attn", "the final norm"]);
        assert!((named[0].1 - 0.5).abs() < 1e-3, "{named:?}");
        assert_eq!(found(NormKind::RmsNorm, 1e-12, &small), []);
        assert_eq!(found(NormKind::RmsNorm, 1e-6, &[1.0, -1.0]), []);
    }

    #[test]
    fn a_layer_norm_is_judged_by_the_variance() {
        let beside_a_mean = [1.001, 0.999];
        assert_eq!(found(NormKind::RmsNorm, 1e-6, &beside_a_mean), []);
        assert_eq!(found(NormKind::LayerNorm, 1e-6, &beside_a_mean).len(), 2);
    }

    #[test]
    fn the_share_is_the_mean_over_the_tokens() {
        let named = found(NormKind::RmsNorm, 1.0, &[1.0, 1.0, 1e6, 1e6]);
        assert!((named[0].1 - 0.25).abs() < 1e-3, "{named:?}");
    }
}

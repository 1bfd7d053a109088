//! Interventions: the loss with a part of the connections taken away.

use super::{measures::LayerView, network::InspectedNetwork};
use engine::tape::Edit;
use figures::unfold::LayerCoefficients;
use nn::hooks;
use serde::Serialize;

/// A change of the coefficients, in one sublayer or in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// Nothing enters or leaves a stream (from 1): its row of `[A_m | A_r]`, its column of A_r
    /// and its entry of B are 0.
    RemoveStream {
        /// Number of the stream.
        stream: usize,
    },
    /// `A_r = I`.
    FreezeMix,
    /// Every token has the coefficients that the tokens have in the mean.
    TokenMean,
}

impl Change {
    /// Description for people.
    pub fn describe(self) -> String {
        match self {
            Self::RemoveStream { stream } => format!("stream {stream} removed"),
            Self::FreezeMix => "mix frozen to identity".into(),
            Self::TokenMean => "coefficients replaced by their token mean".into(),
        }
    }

    /// Changes `[A_m | A_r]` of all tokens.
    fn alpha(self, rate: usize, mean: &LayerCoefficients, alpha: &mut [f32]) {
        for (at, value) in alpha.iter_mut().enumerate() {
            let columns = rate + 1;
            let (row, column) = (at / columns % rate, at % columns);
            match self {
                Self::RemoveStream { stream } if row + 1 == stream || column == stream => {
                    *value = 0.0;
                }
                Self::FreezeMix if column > 0 => *value = f32::from(column == row + 1),
                Self::TokenMean => *value = mean.alpha[row * columns + column],
                _ => {}
            }
        }
    }

    /// Changes B of all tokens.
    fn beta(self, rate: usize, mean: &LayerCoefficients, beta: &mut [f32]) {
        for (at, value) in beta.iter_mut().enumerate() {
            let stream = at % rate;
            match self {
                Self::RemoveStream { stream: removed } if stream + 1 == removed => *value = 0.0,
                Self::TokenMean => *value = mean.beta[stream],
                _ => {}
            }
        }
    }
}

/// A change and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intervention {
    /// The change.
    #[serde(flatten)]
    pub change: Change,
    /// The sublayer; `None` for all of them.
    pub site: Option<String>,
    /// The mean loss with it.
    pub loss: f64,
    /// Difference to the loss without it.
    pub difference: f64,
}

/// Every change in all sublayers, and the last two in each by itself. Empty without streams.
pub fn interventions(
    network: &InspectedNetwork,
    views: &[LayerView],
    loss: f64,
) -> Vec<Intervention> {
    let Some(first) = views.first() else {
        return Vec::new();
    };
    let streams = 1..=first.mean.rate();
    let dynamic = views.iter().any(|view| {
        let spread = [&view.spread.alpha, &view.spread.beta];
        spread
            .into_iter()
            .flatten()
            .any(|&deviation| deviation > 0.0)
    });
    let mut kinds = vec![Change::FreezeMix];
    kinds.extend(dynamic.then_some(Change::TokenMean));
    let mut plan: Vec<(Change, Option<&LayerView>)> = streams
        .map(|stream| (Change::RemoveStream { stream }, None))
        .collect();
    for kind in kinds {
        plan.push((kind, None));
        plan.extend(views.iter().map(|view| (kind, Some(view))));
    }
    plan.into_iter()
        .map(|(change, only)| {
            let site = only.map(|view| view.site.clone());
            let found = network.edited_loss(edit(views, change, site.clone()));
            Intervention {
                change,
                site,
                loss: found,
                difference: found - loss,
            }
        })
        .collect()
}

fn edit(views: &[LayerView], change: Change, only: Option<String>) -> Edit {
    let means: Vec<(String, LayerCoefficients)> = views
        .iter()
        .filter(|view| only.as_ref().is_none_or(|site| *site == view.site))
        .map(|view| (view.site.clone(), view.mean.clone()))
        .collect();
    Box::new(move |path, _, values| {
        let Some((site, what)) = path.rsplit_once('.') else {
            return false;
        };
        let Some((_, mean)) = means.iter().find(|(known, _)| known == site) else {
            return false;
        };
        match what {
            hooks::ALPHA => change.alpha(mean.rate(), mean, values),
            hooks::BETA => change.beta(mean.rate(), mean, values),
            _ => return false,
        }
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[A_m | A_r]` and B of two tokens with two streams after a change, from 1, 2, ... on.
    fn changed(change: Change) -> ([f32; 12], [f32; 4]) {
        let mean = LayerCoefficients {
            alpha: vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
            beta: vec![0.7, 0.8],
        };
        let mut alpha = std::array::from_fn(|i| i as f32 + 1.0);
        let mut beta = std::array::from_fn(|i| i as f32 + 1.0);
        change.alpha(2, &mean, &mut alpha);
        change.beta(2, &mean, &mut beta);
        (alpha, beta)
    }

    #[test]
    fn nothing_enters_or_leaves_a_removed_stream() {
        let (alpha, beta) = changed(Change::RemoveStream { stream: 2 });
        let expected = [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 7.0, 8.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(alpha, expected);
        assert_eq!(beta, [1.0, 0.0, 3.0, 0.0]);
    }

    #[test]
    fn a_frozen_mix_is_the_identity_with_read_and_write_as_they_are() {
        let (alpha, beta) = changed(Change::FreezeMix);
        let expected = [1.0, 1.0, 0.0, 4.0, 0.0, 1.0, 7.0, 1.0, 0.0, 10.0, 0.0, 1.0];
        assert_eq!(alpha, expected);
        assert_eq!(beta, [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn the_mean_of_the_tokens_is_given_to_every_token() {
        let (alpha, beta) = changed(Change::TokenMean);
        assert_eq!(alpha[..6], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        assert_eq!(alpha[..6], alpha[6..]);
        assert_eq!(beta, [0.7, 0.8, 0.7, 0.8]);
    }
}

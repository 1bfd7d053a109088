//! LayerScale: a residual branch behind one learned factor per channel.

use super::{
    Connection, Cost, Site, Spec, State, Sublayer, expect_number, ops::add_scaled_channels,
};
use engine::params::{Builder, Decay, Init, ParamId};

settings! {
    /// `x + diag(lambda) f(norm x)`.
    ///
    /// Source: Touvron et al., Going deeper with Image Transformers, ICCV 2021, arXiv
    /// 2103.17239.
    pub struct LayerScaleConfig {
        /// Initial lambda. Without it, the paper's rule: 0.1 for networks of up to 18
        /// blocks, 1e-5 for up to 24, 1e-6 for deeper ones.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub init: Option<f32> = None,
    }
}

impl LayerScaleConfig {
    fn start(&self, sublayers: usize) -> f32 {
        self.init.unwrap_or(match sublayers / 2 {
            0..=18 => 0.1,
            19..=24 => 1e-5,
            _ => 1e-6,
        })
    }
}

impl Spec for LayerScaleConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let start = Init::Constant(self.start(site.count));
        Box::new(LayerScale {
            lambda: b.param("lambda", [site.dim], Decay::No, start),
            dim: site.dim,
        })
    }

    fn label(&self) -> String {
        "LayerScale".into()
    }

    fn citation(&self) -> &'static str {
        "Touvron et al., Going deeper with Image Transformers, ICCV 2021, arXiv 2103.17239"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        self.init.map_or(Ok(()), |init| expect_number("init", init))
    }
}

#[derive(Debug)]
struct LayerScale {
    lambda: ParamId,
    dim: usize,
}

impl Connection for LayerScale {
    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let x = state.hidden;
        let lambda = x.tape().param(self.lambda);
        State::new(add_scaled_channels(x, lambda, sublayer.pre_normed(x)))
    }

    fn cost(&self) -> Cost {
        Cost::new(2 * self.dim, self.dim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_follows_the_depth_unless_it_is_set() {
        let rule = LayerScaleConfig::default();
        assert_eq!(
            [12, 18, 24, 36].map(|blocks| rule.start(2 * blocks)),
            [0.1, 0.1, 1e-5, 1e-6]
        );
        assert_eq!(LayerScaleConfig { init: Some(0.5) }.start(100), 0.5);
    }
}

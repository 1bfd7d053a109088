//! Networks of equal size: the width of the feed-forward layers that makes up for a connection.

use crate::config::ConfigError;
use models::model::ModelConfig;

/// Sets the width of the feed-forward layers so that the network has as nearly as possible
/// `wanted` trained parameters. They are an affine function of that width.
///
/// # Errors
/// If one of the networks cannot be built.
pub(super) fn match_parameters(model: &mut ModelConfig, wanted: u64) -> Result<(), ConfigError> {
    let counted = |model: &ModelConfig| -> Result<f64, ConfigError> {
        Ok(model.account()?.parameters.trained as f64)
    };
    let now = counted(model)?;
    let hidden = model.ffn().hidden();
    let mut wider = model.clone();
    wider.ffn_mut().set_hidden(hidden.saturating_add(1));
    let for_each = counted(&wider)? - now;
    let more = ((wanted as f64 - now) / for_each).round();
    let fitting = (hidden as f64 + more).max(1.0) as usize;
    model.ffn_mut().set_hidden(fitting);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::connection::ConnectionConfig;

    fn trained(model: &ModelConfig) -> u64 {
        model.account().expect("it can be built").parameters.trained
    }

    #[test]
    fn every_connection_is_brought_to_the_parameters_of_the_baseline() {
        let mut model = ModelConfig::default();
        let wanted = trained(&model);
        for connection in ConnectionConfig::all() {
            let ModelConfig::Transformer(config) = &mut model else {
                panic!("the default is a transformer");
            };
            config.connection = connection.clone();
            match_parameters(&mut model, wanted).expect("it can be built");
            let found = trained(&model);
            let off = found as f64 / wanted as f64 - 1.0;
            assert!(off.abs() < 4e-3, "{connection:?}: {off}");
        }
    }
}

//! Equal numbers of parameters.

use models::{config::ConfigError, model::ModelConfig};

/// Sets the width of the feed-forward layers so that the network has as nearly as possible
/// `wanted` trained parameters. They are an affine function of that width.
///
/// # Errors
/// If one of the networks cannot be built.
pub(super) fn match_parameters(model: &mut ModelConfig, wanted: u64) -> Result<(), ConfigError> {
    let counted = |model: &ModelConfig| model.trained_parameters().map(|count| count as f64);
    let now = counted(model)?;
    let hidden = model.ffn().hidden();
    let mut wider = model.clone();
    wider.ffn_mut().set_hidden(hidden + 1);
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

    #[test]
    fn every_connection_is_brought_to_the_parameters_of_the_baseline() {
        let mut model = ModelConfig::default();
        let wanted = model.trained_parameters().expect("the default");
        for connection in ConnectionConfig::all() {
            let ModelConfig::Transformer(config) = &mut model else {
                panic!("the default is a transformer");
            };
            config.connection = connection.clone();
            match_parameters(&mut model, wanted).expect("it can be built");
            let found = model.trained_parameters().expect("it can be built");
            let off = found as f64 / wanted as f64 - 1.0;
            assert!(off.abs() < 4e-3, "{connection:?}: {off}");
        }
    }
}

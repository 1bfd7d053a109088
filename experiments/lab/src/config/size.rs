//! Whether a run fits into the memory of this machine, asked before any of it is taken.

use super::{ConfigError, RunConfig};
use crate::memory::available;
use models::{
    config::FfnConfig,
    network::{MOST_PARAMETERS, Objective},
};

/// A parameter in training: itself, its gradient and two moments.
const TRAINED_PARAMETER: f64 = 16.0;
/// Elements of a batch are held in single precision (or as tokens), inputs and targets.
const BATCH_ELEMENT: u64 = 8;

/// Bytes that training this configuration takes: network, optimiser, activations and batch, and
/// the images where they are drawn.
///
/// # Errors
/// [`ConfigError::TooLarge`] if that is more than this process can have; [`ConfigError::Invalid`]
/// if the network cannot be built.
pub fn of_training(config: &RunConfig) -> Result<u64, ConfigError> {
    let rough = TRAINED_PARAMETER * config.model.rough_parameters();
    // From here on no size overflows.
    fits(rough as u64, config)?;
    let train = &config.train;
    let account = config.model.account()?;
    let micro_batch = train.micro_batch.saturating_mul(config.model.tokens());
    let patches = config.model.objective().patches();
    let elements = match patches {
        None => config.model.tokens(),
        Some(patches) => patches.elements(),
    };
    let batch = (train.batch as u64).saturating_mul(BATCH_ELEMENT * elements as u64);
    let images = match (patches, config.data.path()) {
        (Some(_), None) => config.data.drawn.counts().iter().sum::<usize>() * elements,
        _ => 0,
    };
    let bytes = account
        .training_bytes(train.shards, micro_batch)
        .saturating_add(batch)
        .saturating_add(images as u64);
    fits(bytes, config)?;
    Ok(bytes)
}

fn fits(needed: u64, config: &RunConfig) -> Result<(), ConfigError> {
    match available() {
        available if needed <= available => Ok(()),
        available => Err(ConfigError::TooLarge {
            needed,
            available,
            settings: sizes(config),
        }),
    }
}

/// A network so large that its sizes cannot be computed is in no machine's memory.
pub(crate) fn conceivable(config: &RunConfig) -> Result<(), ConfigError> {
    let parameters = config.model.rough_parameters();
    if parameters <= MOST_PARAMETERS {
        return Ok(());
    }
    Err(ConfigError::TooLarge {
        needed: (TRAINED_PARAMETER * parameters) as u64,
        available: available(),
        settings: sizes(config),
    })
}

/// Returns whether the weights of a network and the states of one window of its input can be held:
/// the least that anybody who uses it takes.
pub(crate) fn usable(config: &RunConfig) -> Result<(), ConfigError> {
    conceivable(config)?;
    let model = &config.model;
    let states = model.tokens() as f64 * model.dim() as f64;
    let elements = model.rough_parameters() + states;
    fits((size_of::<f32>() as f64 * elements) as u64, config)
}

/// Settings that the memory depends on: `model.dim 1000000000, model.layers 6, ..`.
fn sizes(config: &RunConfig) -> String {
    let model = &config.model;
    let mut sizes = vec![
        ("model.dim", model.dim()),
        ("model.layers", model.layers()),
        ("model.ffn.hidden", model.ffn().hidden()),
    ];
    if let FfnConfig::Moe(moe) = model.ffn() {
        sizes.push(("model.ffn.experts", moe.experts));
    }
    sizes.extend(match model.objective() {
        Objective::NextToken { vocabulary } => [
            ("model.vocab_size", vocabulary),
            ("model.seq", model.tokens()),
        ],
        Objective::Class(patches) | Objective::Noise(patches) => [
            ("model.image", patches.image),
            ("model.channels", patches.channels),
        ],
    });
    sizes.extend([
        ("train.batch", config.train.batch),
        ("train.micro_batch", config.train.micro_batch),
        ("train.shards", config.train.shards),
    ]);
    let size = |(key, value): &(&str, usize)| format!("{key} {value}");
    sizes.iter().map(size).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::{PRESETS, Preset};

    fn asked(preset: &str, settings: &[&str]) -> Result<u64, ConfigError> {
        let preset = Preset::named(preset).expect("a preset");
        let layers = preset.layers().set(settings)?;
        of_training(&layers.resolve()?)
    }

    #[test]
    fn every_preset_is_counted_without_building_it() {
        for preset in PRESETS.iter() {
            let config = preset.config();
            let account = config.model.account().expect("it can be built");
            assert!(account.parameters.total > 0, "{}", preset.name);
        }
    }

    /// Some are more than 64 bits hold, some only more than a machine has.
    #[test]
    fn a_network_larger_than_the_memory_is_refused_with_both_sizes() {
        for (preset, setting) in [
            ("smoke", "model.dim=1000000000"),
            ("smoke", "model.dim=9223372036854775804"),
            ("smoke", "model.dim=400000"),
            ("smoke", "model.vocab_size=9223372036854775807"),
            ("smoke", "model.vocab_size=100000000000"),
            ("smoke", "model.seq=9223372036854775807"),
            ("smoke", "model.seq=1000000000"),
            ("smoke", "model.ffn.hidden=9223372036854775807"),
            ("smoke", "model.ffn.hidden=2000000000"),
            ("smoke", "model.layers=9223372036854775807"),
            ("moe-smoke", "model.ffn.experts=9223372036854775807"),
            ("moe-smoke", "model.ffn.experts=1000000000"),
            ("vit-smoke", "model.image=1000000000"),
            ("vit-smoke", "model.classes=9223372036854775807"),
            ("dit-smoke", "model.image=9223372036854775804"),
            ("dit-smoke", "model.timestep_features=9223372036854775806"),
        ] {
            let error = asked(preset, &[setting]).expect_err(setting);
            assert!(
                matches!(error, ConfigError::TooLarge { .. }),
                "{setting}: {error}"
            );
            let (key, value) = setting.split_once('=').expect("a setting");
            let text = error.to_string();
            assert!(text.contains("this machine has"), "{setting}: {text}");
            if !key.contains("classes") && !key.contains("timestep") {
                assert!(
                    text.contains(&format!("{key} {value}")),
                    "{setting}: {text}"
                );
            }
        }
    }

    #[test]
    fn batches_larger_than_the_memory_are_refused() {
        const LARGE: &str = "1152921504606846976";
        for settings in [
            &["train.batch", "train.micro_batch"][..],
            &["train.batch", "train.shards"],
            &["train.batch"],
        ] {
            let settings: Vec<String> = settings
                .iter()
                .map(|key| format!("{key}={LARGE}"))
                .collect();
            let shown: Vec<&str> = settings.iter().map(String::as_str).collect();
            let error = asked("smoke", &shown).expect_err(&settings[0]);
            assert!(
                matches!(
                    error,
                    ConfigError::TooLarge { .. } | ConfigError::Invalid { .. }
                ),
                "{error}"
            );
        }
    }

    /// Tables of positions are as long as the window, and no parameters.
    #[test]
    fn a_window_larger_than_the_memory_is_refused_where_weights_are_read() {
        let layers = Preset::named("smoke").expect("a preset").layers();
        let config = |seq: &str| {
            let layers = layers.clone().set(&[format!("model.seq={seq}")]);
            layers.expect("a setting").read().expect("settings")
        };
        usable(&config("64")).expect("it is small");
        for seq in ["1000000000000", "9223372036854775807"] {
            let error = usable(&config(seq)).expect_err(seq);
            assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
        }
    }

    /// Streams, slots and the like are bounded by the connections themselves.
    #[test]
    fn no_size_of_a_connection_overflows() {
        use nn::connection::ConnectionConfig;
        const LARGE: [i64; 4] = [i64::MAX, 1 << 32, 100_000, 257];
        for connection in ConnectionConfig::all() {
            let table = toml::Table::try_from(&connection).expect("TOML");
            let kind = table["type"].as_str().expect("a type").to_owned();
            for (key, value) in &table {
                if !value.is_integer() {
                    continue;
                }
                for large in LARGE {
                    let setting =
                        format!("model.connection={{ type = \"{kind}\", {key} = {large} }}");
                    // Either a sentence or bytes, but an answer.
                    let _ = asked("smoke", &[&setting, "model.layers=3"]);
                }
            }
        }
    }
}

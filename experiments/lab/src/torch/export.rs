//! From a run to a PyTorch program.

use super::{MODEL_FILE, TorchError, VALIDATION_FILE, check_free};
use crate::{
    config::RunConfig,
    data::Data,
    run_dir::{CONFIG_FILE, RunError, Status, WEIGHTS_FILE, read_summary, write_atomically},
    train::{TrainError, new_task},
    trained::Trained,
};
use engine::{params::Params, rng::Key, shape::Shape};
use models::{
    model::ModelConfig,
    transformer::Transformer,
    vit::Vit,
    weights::{Values, named_to_bytes, to_bytes},
};
use nn::connection::{ConnectionConfig, HyperConfig, PreNormConfig};
use serde::Serialize;
use std::{fs, path::Path};

/// Results of an export.
#[derive(Debug)]
pub struct Exported {
    /// The validation loss of the run, if it has ended with these weights.
    pub loss: Option<f64>,
    /// What there is to say about it.
    pub remarks: Vec<String>,
}

/// Writes the network of a run, or of a file of weights, into a new directory.
///
/// # Errors
/// [`TorchError`]; nothing is written then but for errors of writing.
pub fn export(from: &Path, to: &Path) -> Result<Exported, TorchError> {
    check_free(to)?;
    let trained = Trained::open(from)?;
    let config = &trained.config;
    let mut params = parameters(&config.model)?;
    trained.load_into(&mut params)?;
    let summary = if from.is_dir() {
        read_summary(from)?
    } else {
        None
    };
    let ended = summary.filter(|summary| summary.status == Status::Ok);
    let loss = ended.and_then(|summary| summary.final_val_loss);
    let mut remarks = trained.remarks().to_vec();
    let validation = match validation(config) {
        Ok(tensors) => Some(tensors),
        Err(error) => {
            remarks.push(format!("no {VALIDATION_FILE}: {error}"));
            None
        }
    };
    fs::create_dir_all(to).map_err(|error| RunError::writing(to, error))?;
    let put = |name: &str, content: &[u8]| write_atomically(&to.join(name), content);
    put(CONFIG_FILE, config.to_table().to_string().as_bytes())?;
    put(WEIGHTS_FILE, &to_bytes(&params, &config.model))?;
    if let Some(tensors) = validation {
        #[derive(Serialize)]
        struct Metadata {
            #[serde(skip_serializing_if = "Option::is_none")]
            loss: Option<String>,
        }
        let loss = loss.map(|loss| loss.to_string());
        put(
            VALIDATION_FILE,
            &named_to_bytes(&Metadata { loss }, &tensors),
        )?;
    }
    put(MODEL_FILE, include_bytes!("model.py"))?;
    Ok(Exported { loss, remarks })
}

/// Says which connection the program cannot express.
fn check(model: &ModelConfig) -> Result<(), TorchError> {
    match model.connection() {
        // Every setting, so that a new one is looked at here.
        ConnectionConfig::PreNorm(PreNormConfig {})
        | ConnectionConfig::Hyper(HyperConfig {
            rate: _,
            dynamic: _,
            tanh: _,
            norm: _,
            frozen: _,
            scale_init: _,
            read_init: _,
            output_init_scale: _,
            reduction: _,
            expansion: _,
            delayed_reads: _,
        }) => Ok(()),
        other => {
            let json = serde_json::to_value(other).unwrap_or_default();
            let kind = json["type"].as_str().unwrap_or_default();
            let what = format!("connection.type {kind}");
            Err(TorchError::NotExpressible { what })
        }
    }
}

fn parameters(model: &ModelConfig) -> Result<Params, TorchError> {
    check(model)?;
    // Initial values are sampled, and then replaced by those of the file.
    let key = Key::new(0);
    let built = match model {
        ModelConfig::Transformer(config) => Transformer::new(config, key).map(|(_, params)| params),
        ModelConfig::Vit(config) => Vit::new(config, key).map(|(_, params)| params),
        ModelConfig::Dit(_) => {
            let what = "model.type dit".to_owned();
            return Err(TorchError::NotExpressible { what });
        }
    };
    built.map_err(|error| TrainError::from(error).into())
}

/// Data that the run validates with.
fn validation(config: &RunConfig) -> Result<Vec<(String, Shape, Values)>, TrainError> {
    let (task, _) = new_task(config, Data::open(config)?, Key::new(0))?;
    Ok(task.validation_data())
}

//! From the weights of a PyTorch program to a run that has not taken a step.

use super::{TorchError, check_free};
use crate::{
    config::RunConfig,
    data::Data,
    invocation::arguments,
    run_dir::{CONFIG_FILE, Environment, RunDir, RunId, WEIGHTS_FILE},
    train::{TrainError, Trainer},
};
use engine::backend::CpuBackend;
use models::{model::ModelConfig, weights::TensorFile};
use std::path::Path;

/// Makes a run directory of a directory that [`export`](super::export) has written, with the
/// weights that are in it now; a file of weights in it may be named instead. A training of the run
/// begins with them.
///
/// # Errors
/// [`TorchError`]; nothing is written then but for errors of writing.
pub fn import(from: &Path, to: &Path) -> Result<RunConfig, TorchError> {
    check_free(to)?;
    let weights = match from.is_dir() {
        true => from.join(WEIGHTS_FILE),
        false => from.to_owned(),
    };
    let weights = TensorFile::open(&weights)?;
    let config = RunConfig::of_run(&weights.path().with_file_name(CONFIG_FILE))?;
    // Others write none.
    if weights.metadata("config").is_some() && weights.config::<ModelConfig>()? != config.model {
        return Err(TorchError::OtherNetwork {
            weights: weights.path().to_owned(),
        });
    }
    weights.check("", &config.model.shapes().map_err(TrainError::from)?)?;
    let data = Data::open(&config).map_err(TrainError::from)?;
    let mut trainer = Trainer::new(&config, &data)?;
    trainer.start_from(&weights)?;
    let directory = RunDir::open(&RunId {
        arm: "import".to_owned(),
        seed: config.train.seed,
        path: to.to_owned(),
    })?;
    directory.set_config(&config.to_table())?;
    directory.set_command(&arguments())?;
    directory.set_environment(&Environment {
        data: Some(data.account().clone()),
        ..Environment::current(rayon::current_num_threads(), &CpuBackend)
    })?;
    trainer.save_start(&directory)?;
    Ok(config)
}

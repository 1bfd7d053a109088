//! A run goes on with the data it was begun with.

use super::TrainError;
use crate::{
    data::DataAccount,
    files::read_text,
    run_dir::{ENVIRONMENT_FILE, Environment, read_summary},
};
use std::path::Path;

/// Whether these are the data that the run in a directory was begun with, as far as its files say.
///
/// # Errors
/// [`TrainError::OtherData`]; [`TrainError::Run`] if its summary is damaged.
pub fn check_same_data(directory: &Path, data: &DataAccount) -> Result<(), TrainError> {
    let environment = read_text(&directory.join(ENVIRONMENT_FILE)).ok();
    let environment: Option<Environment> =
        environment.and_then(|text| serde_json::from_str(&text).ok());
    let begun_with = environment.and_then(|environment| environment.data);
    let stored = match begun_with {
        Some(account) => Some(account.fingerprint),
        None => read_summary(directory)?.map(|summary| summary.corpus_fingerprint),
    };
    match stored.filter(|stored| *stored != data.fingerprint) {
        None => Ok(()),
        Some(stored) => Err(TrainError::OtherData {
            path: directory.to_owned(),
            name: data.name.clone(),
            stored,
            wanted: data.fingerprint.clone(),
        }),
    }
}

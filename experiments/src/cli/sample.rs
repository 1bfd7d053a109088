//! `sample`: text from a trained network.

use super::Failure;
use crate::{
    sample::{Choice, continue_text},
    trained::Trained,
};
use engine::rng::Key;
use models::transformer::Transformer;
use std::{
    io::{Write, stdout},
    path::PathBuf,
};

/// Continue a prompt with a network trained on text.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run directory, or a safetensors file with weights and their configuration
    #[arg(value_name = "RUN")]
    from: PathBuf,
    /// How the text begins
    #[arg(long, default_value = "\n")]
    prompt: String,
    /// Bytes to add
    #[arg(long, default_value_t = 500)]
    tokens: usize,
    /// Below 1 safer, above 1 wilder, 0 always the most probable byte
    #[arg(long, default_value_t = 0.8)]
    temperature: f64,
    /// Consider this many of the most probable bytes; 0 considers all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Seed of the choice
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Args {
    /// Prints the prompt and its continuation.
    pub fn run(self) -> Result<(), Failure> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(Failure::Usage(format!(
                "--temperature is {}, expected 0 or more",
                self.temperature
            )));
        }
        if self.prompt.is_empty() {
            return Err(Failure::Usage(
                "--prompt is empty: a text begins with one byte at least".into(),
            ));
        }
        let trained = Trained::open(&self.from)?;
        let config = trained.config.model.transformer()?;
        let (model, mut params) = Transformer::new(config, Key::new(0))?;
        trained.load_into(&mut params)?;
        let vocabulary = model.config().vocab_size;
        if vocabulary < 256 {
            return Err(Failure::Failed(format!(
                "{} has a vocabulary of {vocabulary}: it was not trained on bytes",
                self.from.display()
            )));
        }
        let choice = Choice {
            temperature: self.temperature,
            top_k: self.top_k,
            seed: self.seed,
        };
        let prompt = self.prompt.as_bytes();
        let mut text = prompt.to_vec();
        text.extend(continue_text(&model, &params, prompt, self.tokens, choice));
        writeln!(stdout(), "{}", String::from_utf8_lossy(&text))?;
        Ok(())
    }
}

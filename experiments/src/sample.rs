//! `sample`: text or images from a trained network.

use super::{Failure, remark};
use engine::rng::Key;
use figures::terminal::{stdout_width, wrapped};
use lab::{
    data::{TokenKind, VOCABULARY, Vocabulary, images::ImageBatches},
    run_dir::write_atomically,
    sample::{Choice, Drawing, Grid, continue_text, draw_images},
    trained::Trained,
};
use models::{
    dit::{Dit, DitConfig},
    model::ModelConfig,
    transformer::{Transformer, TransformerConfig},
};
use rayon::prelude::*;
use std::{
    io::{Write, stdout},
    path::{Path, PathBuf},
};

/// More fit into no picture.
const MOST_PER_CLASS: usize = 1000;

/// Continue a prompt with a network trained on text, or draw images with a diffusion transformer:
/// a PNG with one row a class.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run directory, or a safetensors file with weights and their configuration
    #[arg(value_name = "RUN")]
    from: PathBuf,
    /// Seed of the choice of bytes, or of the noise that images begin as
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten, next_help_heading = "Text")]
    text: TextArgs,
    #[command(flatten, next_help_heading = "Images")]
    images: ImageArgs,
}

#[derive(Debug, clap::Args)]
#[group(id = "text", multiple = true, conflicts_with = "images")]
struct TextArgs {
    /// How the text begins; of a network of tokens, their ids or, with a meta.pkl that has it, text [default: a line break; token 0]
    #[arg(long)]
    prompt: Option<String>,
    /// Bytes, or tokens, to add [default: 500]
    #[arg(long)]
    tokens: Option<usize>,
    /// Below 1 safer, above 1 wilder, 0 always the most probable [default: 0.8]
    #[arg(long)]
    temperature: Option<f64>,
    /// Consider this many of the most probable; 0 considers all [default: 0]
    #[arg(long)]
    top_k: Option<usize>,
}

#[derive(Debug, clap::Args)]
#[group(id = "images", multiple = true)]
struct ImageArgs {
    /// Where the picture goes [default: samples.png in or beside RUN]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Images of each class [default: 8]
    #[arg(long, value_name = "N")]
    per_class: Option<usize>,
    /// Only this class; can be repeated [default: all]
    #[arg(long)]
    class: Vec<u32>,
    /// DDIM steps from noise to image [default: 50]
    #[arg(long)]
    steps: Option<usize>,
    /// Weight of the class: 1 guides nothing, more exaggerates [default: 1.5]
    #[arg(long)]
    guidance: Option<f32>,
    /// Noise added on the way: 0 none, 1 as DDPM [default: 0]
    #[arg(long)]
    eta: Option<f64>,
}

impl Args {
    /// Prints a text or writes a picture, as the network is.
    pub fn run(self) -> Result<(), Failure> {
        let trained = Trained::open(&self.from)?;
        remark(trained.remarks());
        match &trained.config.model {
            ModelConfig::Transformer(config) if !self.images.is_given() => {
                self.text.run(&trained, config, &self.from, self.seed)
            }
            ModelConfig::Dit(config) if !self.text.is_given() => {
                self.images.run(&trained, config, &self.from, self.seed)
            }
            ModelConfig::Vit(_) => Err(Failure::Usage(format!(
                "{} is a vit, which tells images apart and makes none",
                self.from.display()
            ))),
            other => {
                let [flags, kind] = match self.text.is_given() {
                    true => ["--prompt, --tokens, --temperature and --top-k", "text"],
                    false => [
                        "--out, --per-class, --class, --steps, --guidance and --eta",
                        "images",
                    ],
                };
                Err(Failure::Usage(format!(
                    "{flags} are for networks that make {kind}; {} is a {}",
                    self.from.display(),
                    other.kind()
                )))
            }
        }
    }
}

impl TextArgs {
    fn is_given(&self) -> bool {
        self.prompt.is_some()
            || self.tokens.is_some()
            || self.temperature.is_some()
            || self.top_k.is_some()
    }

    /// Prints the prompt and its continuation.
    fn run(
        &self,
        trained: &Trained,
        config: &TransformerConfig,
        from: &Path,
        seed: u64,
    ) -> Result<(), Failure> {
        let choice = Choice {
            temperature: self.temperature.unwrap_or(0.8),
            top_k: self.top_k.unwrap_or(0),
            seed,
        };
        if !(choice.temperature.is_finite() && choice.temperature >= 0.0) {
            return Err(Failure::Usage(format!(
                "--temperature is {}, expected 0 or more",
                choice.temperature
            )));
        }
        let kind = trained.config.data.tokens;
        let data = trained.config.data.path();
        // Data that are gone or changed only cost the texts of the tokens.
        let texts = data.filter(|_| !kind.is_bytes()).and_then(|folder| {
            let vocabulary = Vocabulary::of(&folder).ok()?;
            Some((folder, vocabulary))
        });
        let prompt = match kind {
            TokenKind::Bytes => {
                let text = self.prompt.as_deref().unwrap_or("\n");
                text.bytes().map(u32::from).collect()
            }
            TokenKind::Ids => {
                let prompt = self.prompt.as_deref().unwrap_or("0");
                ids(prompt, config.vocab_size, texts.as_ref())?
            }
        };
        if prompt.is_empty() {
            return Err(Failure::Usage(
                "--prompt is empty: a text begins with one byte or token at least".into(),
            ));
        }
        let (model, mut params) = Transformer::new(config, Key::new(0))?;
        trained.load_into(&mut params)?;
        let vocabulary = model.config().vocab_size;
        let alphabet = match kind {
            TokenKind::Bytes => VOCABULARY,
            TokenKind::Ids => vocabulary,
        };
        if vocabulary < alphabet {
            return Err(Failure::Failed(format!(
                "{} has a vocabulary of {vocabulary}: it was not trained on bytes",
                from.display()
            )));
        }
        let count = self.tokens.unwrap_or(500);
        let mut text = prompt.clone();
        text.extend(continue_text(
            &model, &params, &prompt, alphabet, count, choice,
        ));
        match kind {
            TokenKind::Bytes => {
                let bytes: Vec<u8> = text.iter().map(|&token| token as u8).collect();
                writeln!(stdout(), "{}", String::from_utf8_lossy(&bytes))?;
            }
            TokenKind::Ids => {
                let decoded = texts.and_then(|(folder, vocabulary)| {
                    let text = vocabulary.decode(&text)?;
                    let said = format!(
                        "the tokens are decoded with meta.pkl in {}",
                        folder.display()
                    );
                    Some((said, text))
                });
                let (said, text) = decoded.unwrap_or_else(|| {
                    let said = "ids of tokens, since the network learnt from tokens and no meta.pkl \
                                with their texts (itos) is where its data were";
                    let words: Vec<String> = text.iter().map(u32::to_string).collect();
                    (said.to_owned(), words.join(" "))
                });
                remark(&[said]);
                writeln!(stdout(), "{text}")?;
            }
        }
        Ok(())
    }
}

/// The tokens of a prompt that names their ids, `198 464`, or else of its text, if the texts of
/// tokens are known.
fn ids(
    prompt: &str,
    vocabulary: usize,
    texts: Option<&(PathBuf, Vocabulary)>,
) -> Result<Vec<u32>, Failure> {
    let words = prompt.split([' ', ',']).filter(|word| !word.is_empty());
    let id = |word: &str| {
        let id = word.parse().ok();
        id.filter(|&id: &u32| (id as usize) < vocabulary)
            .ok_or_else(|| {
                Failure::Usage(format!(
                    "--prompt: this network reads the ids of tokens, numbers from 0 to {}, and \
                     {word} is none",
                    vocabulary - 1
                ))
            })
    };
    words.map(id).collect::<Result<_, _>>().or_else(|failure| {
        let encoded = texts.and_then(|(_, texts)| texts.encode(prompt));
        let known = |ids: &Vec<u32>| ids.iter().all(|&id| (id as usize) < vocabulary);
        encoded.filter(known).ok_or(failure)
    })
}

impl ImageArgs {
    fn is_given(&self) -> bool {
        self.out.is_some()
            || self.per_class.is_some()
            || !self.class.is_empty()
            || self.steps.is_some()
            || self.guidance.is_some()
            || self.eta.is_some()
    }

    /// How to draw, if that is possible with this network.
    fn drawing(&self, config: &DitConfig, seed: u64) -> Result<Drawing, Failure> {
        let drawing = Drawing {
            steps: self.steps.unwrap_or(50.min(config.noise.timesteps)),
            guidance: self.guidance.unwrap_or(1.5),
            eta: self.eta.unwrap_or(0.0),
            seed,
        };
        let usage = |message: String| Err(Failure::Usage(message));
        let last = config.noise.timesteps;
        if !(1..=last).contains(&drawing.steps) {
            return usage(format!(
                "--steps is {}, expected 1 to {last}: the network has {last} timesteps",
                drawing.steps
            ));
        }
        if !drawing.guidance.is_finite() {
            return usage(format!("--guidance is {}", drawing.guidance));
        }
        if !(0.0..=1.0).contains(&drawing.eta) {
            return usage(format!("--eta is {}, expected 0 to 1", drawing.eta));
        }
        if let Some(class) = self.class.iter().find(|&&c| c as usize >= config.classes) {
            return usage(format!(
                "--class is {class}, expected 0 to {}",
                config.classes - 1
            ));
        }
        match self.per_class {
            None | Some(1..=MOST_PER_CLASS) => {}
            Some(wrong) => {
                let message = format!("--per-class is {wrong}, expected 1 to {MOST_PER_CLASS}");
                return usage(message);
            }
        }
        Ok(drawing)
    }

    /// Writes the picture and says where it is.
    fn run(
        &self,
        trained: &Trained,
        config: &DitConfig,
        from: &Path,
        seed: u64,
    ) -> Result<(), Failure> {
        let drawing = self.drawing(config, seed)?;
        let (model, mut params) = Dit::new(config, Key::new(0))?;
        trained.load_into(&mut params)?;
        let classes = match self.class.is_empty() {
            true => (0..config.no_class()).collect(),
            false => self.class.clone(),
        };
        let count = self.per_class.unwrap_or(8);
        let pixels = ImageBatches::centred(config.channels);
        let rows = classes.par_iter().map(|&class| {
            let images = draw_images(&model, &params, class, count, drawing);
            let images = images.chunks_exact(config.patches().elements());
            images.map(|image| pixels.to_bytes(image)).collect()
        });
        let grid = Grid {
            side: config.image,
            channels: config.channels,
            rows: rows.collect(),
        };
        let png = grid.to_png()?;
        let path = self.out.clone().unwrap_or_else(|| {
            let directory = if from.is_dir() {
                Some(from)
            } else {
                from.parent()
            };
            directory.unwrap_or(Path::new("")).join("samples.png")
        });
        write_atomically(&path, &png)?;
        let [width, height] = grid.sizes();
        let classes: Vec<String> = classes.iter().map(u32::to_string).collect();
        let what = format!(
            "{}: {width} x {height}, rows are classes {}; {} DDIM steps, guidance {}, eta {}, \
             seed {seed}",
            path.display(),
            classes.join(" "),
            drawing.steps,
            drawing.guidance,
            drawing.eta
        );
        write!(stdout(), "{}", wrapped(&what, stdout_width()))?;
        Ok(())
    }
}

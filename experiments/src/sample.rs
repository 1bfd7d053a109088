//! `sample`: text or images from a trained network.

use super::output::{Failure, note, print, say, usage};
use engine::rng::Key;
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
use std::path::{Path, PathBuf};

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
    text: Option<TextArgs>,
    #[command(flatten, next_help_heading = "Images")]
    images: Option<ImageArgs>,
}

#[derive(Debug, Default, clap::Args)]
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

#[derive(Debug, Default, clap::Args)]
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
        note(trained.remarks());
        let from = self.from.display();
        let [flags, kind] = match (&trained.config.model, self.text, self.images) {
            (ModelConfig::Transformer(config), text, None) => {
                let text = text.unwrap_or_default();
                return text.run(&trained, config, &self.from, self.seed);
            }
            (ModelConfig::Dit(config), None, images) => {
                let images = images.unwrap_or_default();
                return images.run(&trained, config, &self.from, self.seed);
            }
            (ModelConfig::Vit(_), ..) => {
                return Err(usage(format!(
                    "{from} is a vit, which tells images apart and makes none"
                )));
            }
            (_, Some(_), _) => ["--prompt, --tokens, --temperature and --top-k", "text"],
            (_, None, _) => [
                "--out, --per-class, --class, --steps, --guidance and --eta",
                "images",
            ],
        };
        Err(usage(format!(
            "{flags} are for networks that make {kind}; {from} is a {}",
            trained.config.model.kind()
        )))
    }
}

impl TextArgs {
    /// Prints the prompt and its continuation.
    fn run(
        &self,
        trained: &Trained,
        config: &TransformerConfig,
        from: &Path,
        seed: u64,
    ) -> Result<(), Failure> {
        let temperature = self.temperature.unwrap_or(0.8);
        if !(temperature.is_finite() && temperature >= 0.0) {
            let message = format!("--temperature is {temperature}, expected 0 or more");
            return Err(usage(message));
        }
        let choice = Choice {
            temperature,
            top_k: self.top_k.unwrap_or(0),
            seed,
        };
        let vocabulary = config.vocab_size;
        let bytes = trained.config.data.tokens == TokenKind::Bytes;
        let data = trained.config.data.path().filter(|_| !bytes);
        // Data that are gone or changed only cost the texts of the tokens.
        let texts = data.and_then(|folder| {
            let texts = Vocabulary::of(&folder).ok()?;
            // A larger vocabulary is of other data.
            (texts.size <= config.vocab_size).then_some((folder, texts))
        });
        let prompt = match (bytes, self.prompt.as_deref()) {
            (true, text) => text.unwrap_or("\n").bytes().map(u32::from).collect(),
            (false, text) => ids(text.unwrap_or("0"), vocabulary, texts.as_ref())?,
        };
        if prompt.is_empty() {
            let message = "--prompt is empty: a text begins with one byte or token at least";
            return Err(usage(message));
        }
        let (model, mut params) = Transformer::new(config, Key::new(0))?;
        trained.load_into(&mut params)?;
        let alphabet = if bytes { VOCABULARY } else { vocabulary };
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
        if bytes {
            let bytes: Vec<u8> = text.iter().map(|&token| token as u8).collect();
            return print(&(String::from_utf8_lossy(&bytes).into_owned() + "\n"));
        }
        let decoded = texts.and_then(|(folder, texts)| {
            let from = format!(
                "the tokens are decoded with meta.pkl in {}",
                folder.display()
            );
            Some((from, texts.decode(&text)?))
        });
        let (from, text) = decoded.unwrap_or_else(|| {
            let from = "ids of tokens, since the network learnt from tokens and no meta.pkl with \
                        their texts (itos) is where its data were";
            let words: Vec<String> = text.iter().map(u32::to_string).collect();
            (from.to_owned(), words.join(" "))
        });
        note(&[from]);
        print(&(text + "\n"))
    }
}

/// The tokens of a prompt that names their ids, `198 464`, or else of its text, if the texts of
/// tokens are known.
fn ids(
    prompt: &str,
    vocabulary: usize,
    texts: Option<&(PathBuf, Vocabulary)>,
) -> Result<Vec<u32>, Failure> {
    let known = |id: &u32| (*id as usize) < vocabulary;
    let words = prompt.split([' ', ',']).filter(|word| !word.is_empty());
    let ids = words.map(|word| word.parse().ok().filter(known).ok_or(word));
    ids.collect::<Result<_, _>>().or_else(|word| {
        let encoded = texts.and_then(|(_, texts)| texts.encode(prompt));
        encoded.filter(|ids| ids.iter().all(known)).ok_or_else(|| {
            let last = vocabulary - 1;
            usage(format!(
                "--prompt: this network reads the ids of tokens, numbers from 0 to {last}, and \
                 {word} is none"
            ))
        })
    })
}

impl ImageArgs {
    /// Settings of the sampler, checked against the network.
    fn drawing(&self, config: &DitConfig, seed: u64) -> Result<Drawing, Failure> {
        let last = config.noise.timesteps;
        let drawing = Drawing {
            steps: self.steps.unwrap_or(50.min(last)),
            guidance: self.guidance.unwrap_or(1.5),
            eta: self.eta.unwrap_or(0.0),
            seed,
        };
        let Drawing {
            steps,
            guidance,
            eta,
            ..
        } = drawing;
        let mut classes = self.class.iter();
        let unknown = classes.find(|&&class| class as usize >= config.classes);
        let count = self.per_class.unwrap_or(1);
        Err(usage(if !(1..=last).contains(&steps) {
            format!("--steps is {steps}, expected 1 to {last}: the network has {last} timesteps")
        } else if !guidance.is_finite() {
            format!("--guidance is {guidance}")
        } else if !(0.0..=1.0).contains(&eta) {
            format!("--eta is {eta}, expected 0 to 1")
        } else if let Some(class) = unknown {
            let last = config.classes - 1;
            format!("--class is {class}, expected 0 to {last}")
        } else if !(1..=MOST_PER_CLASS).contains(&count) {
            format!("--per-class is {count}, expected 1 to {MOST_PER_CLASS}")
        } else {
            return Ok(drawing);
        }))
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
            let beside = || from.parent().unwrap_or(Path::new(""));
            let directory = if from.is_dir() { from } else { beside() };
            directory.join("samples.png")
        });
        write_atomically(&path, &png)?;
        let [width, height] = grid.sizes();
        let classes: Vec<String> = classes.iter().map(u32::to_string).collect();
        say(&format!(
            "{}: {width} x {height}, rows are classes {}; {} DDIM steps, guidance {}, eta {}, \
             seed {seed}",
            path.display(),
            classes.join(" "),
            drawing.steps,
            drawing.guidance,
            drawing.eta
        ))
    }
}

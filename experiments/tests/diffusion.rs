//! A diffusion transformer learns and draws, by the same trainer and the same commands as
//! everything else.

use lab::{
    config::{Layers, RunConfig},
    data::{
        Data,
        images::{ImageSet, ImageSizes, ImageSource},
    },
    run_dir::{NOISE_LEVELS, read_metrics, read_summary},
    train::Trainer,
};
use nn::guard::{WATCHED_STEPS, remarks};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

const TINY: [&str; 9] = [
    "model.type=dit",
    "model.image=8",
    "model.patch=2",
    "model.dim=16",
    "model.layers=2",
    "model.heads=2",
    "model.ffn.hidden=32",
    "train.batch=16",
    "train.micro_batch=4",
];

const SHC_2: [&str; 3] = [
    "model.connection.type=hyper",
    "model.connection.rate=2",
    "model.connection.dynamic=false",
];

fn config(more: &[&str]) -> Result<RunConfig, String> {
    let layers = Layers::defaults().set(&[&TINY[..], more].concat());
    let config = layers.and_then(Layers::resolve);
    config.map_err(|error| error.to_string())
}

fn trainer(more: &[&str]) -> Trainer {
    let config = config(more).expect("a valid configuration");
    let sizes = ImageSizes {
        side: 8,
        channels: 1,
    };
    let shapes = ImageSet::open(&ImageSource::new(None, sizes)).expect("shapes");
    let shapes = Data::Images(Arc::new(shapes));
    Trainer::new(&config, shapes).expect("a trainer")
}

#[test]
fn noise_is_seen_after_a_few_steps_and_much_noise_is_seen_best() {
    let quick = ["train.learning_rate=5e-3", "train.warmup=10"];
    let mut trainer = trainer(&[&quick[..], &SHC_2].concat());
    let before = trainer.validate();
    for _ in 0..150 {
        assert!(!trainer.step().diverged());
    }
    let after = trainer.validate();
    assert!((before.loss - 1.0).abs() < 0.02, "{before:?}");
    assert!(after.loss < 0.5, "{after:?}");
    assert!(trainer.findings().is_empty(), "{:?}", trainer.findings());

    let levels = after.by_noise_level.expect("a denoiser");
    let [little, much] = [levels[0], levels[NOISE_LEVELS - 1]].map(|loss| loss.expect("a loss"));
    assert!(much < little, "{levels:?}");
    // As many images at every level.
    let mean = levels.iter().flatten().sum::<f64>() / NOISE_LEVELS as f64;
    assert!(
        (mean - after.loss).abs() < 1e-5,
        "{mean} and {}",
        after.loss
    );
}

/// Gates start closed. Of a product of two zeros neither factor learns.
#[test]
fn rezero_is_accused_whose_alphas_are_zero_too() {
    let findings = |more: &[&str]| {
        let quick = ["train.learning_rate=5e-3", "train.warmup=10"];
        let mut trainer = trainer(&[more, &quick].concat());
        for _ in 0..WATCHED_STEPS {
            trainer.step();
        }
        remarks(&trainer.findings())
    };
    let closed = findings(&["model.connection.type=rezero"]);
    assert!(
        closed.iter().any(|said| said.contains("was zero")),
        "{closed:?}"
    );
    for kind in ["pre_norm", "hyper", "layer_scale"] {
        let said = findings(&[&format!("model.connection.type={kind}")]);
        assert!(said.is_empty(), "{kind}: {said:?}");
    }
    let open = ["model.connection.type=rezero", "model.connection.init=1.0"];
    assert_eq!(findings(&open), <[&str; 0]>::default());
}

#[test]
fn arms_are_tested_on_the_same_noise_and_any_seed_too() {
    let first = |more: &[&str]| trainer(more).validate();
    let pre_norm = first(&[]);
    assert_eq!(pre_norm, first(&SHC_2));
    assert_eq!(pre_norm, first(&["train.seed=5"]));
}

#[test]
fn noise_and_left_out_classes_do_not_depend_on_threads() {
    let losses = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().expect("a pool").install(|| {
            let mut trainer = trainer(&SHC_2);
            let losses: Vec<f64> = (0..4).map(|_| trainer.step().loss).collect();
            (losses, trainer.validate())
        })
    };
    assert_eq!(losses(1), losses(3));
}

#[test]
fn mixed_images_and_texts_are_refused() {
    let message = config(&["data.mixup=0.2"]).expect_err("no mixup here");
    assert!(message.contains("data.mixup is 0.2"), "{message}");
    let message = config(&["model.noise.timesteps=3"]).expect_err("too few");
    assert!(message.contains("model.noise.timesteps is 3"), "{message}");
    let config = config(&[]).expect("a valid configuration");
    let text = tempfile::NamedTempFile::new().expect("a file");
    fs::write(text.path(), "words ".repeat(1000)).expect("a text");
    let corpus = lab::data::Corpus::from_file(text.path()).expect("a corpus");
    let error = Trainer::new(&config, &Arc::new(corpus)).err();
    let message = error.expect("no text here").to_string();
    assert!(
        message.contains("learns from images, not from text"),
        "{message}"
    );
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    command
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("messages are UTF-8")
}

/// Width, height and grey pixels.
fn picture(path: &Path) -> (u32, u32, Vec<u8>) {
    let file = fs::File::open(path).expect("a picture");
    let mut reader = png::Decoder::new(std::io::BufReader::new(file))
        .read_info()
        .expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("an image");
    (info.width, info.height, pixels)
}

#[test]
fn a_run_is_recorded_by_noise_level_and_draws_one_row_a_class() {
    let root = tempfile::tempdir().expect("a directory");
    let out = root.path().join("run");
    let out = out.to_str().expect("a path");
    let set = TINY.map(|setting| format!("--set={setting}"));
    let mut train = vec![
        "train",
        "--preset=dit-smoke",
        "--set=train.steps=20",
        "--out",
        out,
    ];
    train.extend(set.iter().map(String::as_str));
    let output = run(&train);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(
        said.contains("squared error of the predicted noise"),
        "{said}"
    );
    assert!(said.contains("see it draw"), "{said}");

    let summary = read_summary(Path::new(out))
        .expect("a summary")
        .expect("an end");
    let levels = summary.final_val_loss_by_noise_level.expect("a denoiser");
    assert!(levels.iter().all(Option::is_some), "{levels:?}");
    let metrics = read_metrics(Path::new(out)).expect("metrics");
    let last = metrics.last().expect("a line");
    assert_eq!(last.val_loss_by_noise_level, Some(levels));

    let output = run(&["sample", out, "--per-class=3", "--steps=4"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let path = Path::new(out).join("samples.png");
    let (width, height, pixels) = picture(&path);
    assert_eq!((width, height), (3 * 8 + 2 * 2, 10 * 8 + 9 * 2));

    let other = root.path().join("other.png");
    let draw = |more: &[&str]| {
        let other = other.to_str().expect("a path");
        let base = ["sample", out, "--per-class=3", "--steps=4", "--out", other];
        let output = run(&[&base[..], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        picture(Path::new(other))
    };
    assert_eq!(draw(&["--threads=3"]).2, pixels);
    assert_ne!(draw(&["--seed=1"]).2, pixels);
    assert_ne!(draw(&["--guidance=4"]).2, pixels);
    assert_ne!(draw(&["--eta=1"]).2, pixels);
    // Rows of a class are the same whichever others there are.
    let (width, height, two) = draw(&["--class=7", "--class=2"]);
    assert_eq!(height, 2 * 8 + 2);
    let row = |pixels: &[u8], row: u32| {
        let start = (row * 10 * width) as usize;
        pixels[start..start + (8 * width) as usize].to_vec()
    };
    assert_eq!(row(&two, 0), row(&pixels, 7));
    assert_eq!(row(&two, 1), row(&pixels, 2));

    for (arguments, message) in [
        (vec!["--steps=1001"], "--steps is 1001, expected 1 to 1000"),
        (vec!["--steps=0"], "--steps is 0"),
        (vec!["--class=10"], "--class is 10, expected 0 to 9"),
        (vec!["--eta=2"], "--eta is 2"),
        (vec!["--prompt=a"], "is a dit"),
        (vec!["--prompt=a", "--steps=3"], "cannot be used with"),
    ] {
        let output = run(&[&["sample", out][..], &arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = stderr(&output);
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
}

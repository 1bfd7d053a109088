//! Which files are damaged, and what reads them.

/// A file of the originals, and what the program does with it.
pub struct Kind {
    /// The directory that is copied, and the file in it that is damaged.
    pub file: &'static str,
    /// Commands, of which one is run in a copy of the directory of the file.
    pub read_by: &'static [&'static [&'static str]],
}

const TEXT: &[&[&str]] = &[
    &["train", "--preset", "smoke", "--dry-run", "--data", "."],
    &["train", "--preset", "smoke", "--dry-run", "--data", "text"],
];
const TOKENS: &[&[&str]] = &[&["train", "--preset", "smoke", "--dry-run", "--data", "."]];
const GREY: &[&[&str]] = &[&[
    "train",
    "--preset",
    "vit-smoke",
    "--dry-run",
    "--data",
    ".",
    "--set",
    "model.image=8",
    "--set",
    "model.patch=4",
    "--set",
    "model.classes=2",
]];
const COLOUR: &[&[&str]] = &[&[
    "train",
    "--preset",
    "vit-smoke",
    "--dry-run",
    "--data",
    ".",
    "--set",
    "model.image=32",
    "--set",
    "model.channels=3",
    "--set",
    "data.partial=true",
]];
const FOLDER: &[&[&str]] = &[&[
    "train",
    "--preset",
    "vit-smoke",
    "--dry-run",
    "--data",
    ".",
    "--set",
    "model.image=8",
    "--set",
    "model.channels=3",
    "--set",
    "model.patch=4",
    "--set",
    "model.classes=2",
]];
const RUN: &[&[&str]] = &[
    &["report", "."],
    &["probe", "."],
    &["watch", "--once", "."],
    &["inspect", ".", "--text", "text", "--windows", "1"],
    &["sample", ".", "--tokens", "4"],
];
const RESUMED: &[&[&str]] = &[
    &["train", "--resume", "."],
    &["watch", "--once", "."],
    &["report", "."],
    &["sample", ".", "--tokens", "4"],
];
const SETTINGS: &[&[&str]] = &[
    &[
        "train",
        "--preset",
        "smoke",
        "--dry-run",
        "--data",
        "text",
        "--config",
        "config.toml",
    ],
    &["report", "."],
    &["watch", "--once", "."],
    &["sample", ".", "--tokens", "4"],
];
const SWEEP: &[&[&str]] = &[
    &["sweep", "grid.toml", "--list"],
    &["sweep", "grid.toml", "--emit", "slurm"],
];
const SWEPT: &[&[&str]] = &[
    &["report", "."],
    &["report", ".", "--out", "page"],
    &["watch", "--once", "."],
];
const WEIGHTS: &[&[&str]] = &[
    &["sample", "model.safetensors", "--tokens", "4"],
    &[
        "inspect",
        "model.safetensors",
        "--text",
        "text",
        "--windows",
        "1",
    ],
];
const PARITY: &[&[&str]] = &[&["parity", "case.safetensors"]];

macro_rules! kinds {
    ($($file:literal $read_by:ident),+ $(,)?) => {
        /// Every kind of file.
        pub const KINDS: &[Kind] = &[$(Kind { file: $file, read_by: $read_by }),+];
    };
}

kinds! {
    "text/text" TEXT,
    "gzip/text.gz" TEXT,
    "tokens/train.bin" TOKENS,
    "tokens/val.bin" TOKENS,
    "tokens/meta.pkl" TOKENS,
    "idx/train-images-idx3-ubyte" GREY,
    "idx/train-labels-idx1-ubyte" GREY,
    "idx/t10k-images-idx3-ubyte.gz" GREY,
    "cifar/data_batch_1.bin" COLOUR,
    "cifar/test_batch.bin" COLOUR,
    "png/a/0.png" FOLDER,
    "jpeg/a/0.jpg" FOLDER,
    "run/config.toml" SETTINGS,
    "run/model.safetensors" RUN,
    "run/metrics.jsonl" RUN,
    "run/coefficients.jsonl" RUN,
    "run/summary.json" RUN,
    "run/validation.csv" RUN,
    "run/probes.json" RUN,
    "run/env.json" RUN,
    "run/command.txt" RUN,
    "weights/model.safetensors" WEIGHTS,
    "stopped/state.bin" RESUMED,
    "stopped/metrics.jsonl" RESUMED,
    "stopped/coefficients.jsonl" RESUMED,
    "stopped/events.out.tfevents.0.experiments" RESUMED,
    "stopped/config.toml" SETTINGS,
    "sweep/grid.toml" SWEEP,
    "swept/sweep.toml" SWEPT,
    "swept/pre-norm/seed0/summary.json" SWEPT,
    "swept/pre-norm/seed0/metrics.jsonl" SWEPT,
    "swept/dhc-x2/seed1/metrics.jsonl" SWEPT,
    "parity/case.safetensors" PARITY,
}

//! One sound file of every kind.

use flate2::{Compression, write::GzEncoder};
use models::weights::TensorFile;
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// A file of reference values.
const PARITY: &[u8] = include_bytes!("../../tests/fixtures/connection_shc2.safetensors");

/// `pickle.dumps({'vocab_size': 65, 'itos': {0: '\n', 1: 'a'}, 'stoi': {'\n': 0, 'a': 1}})`.
const META: &[u8] = b"\x80\x04\x95>\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\nvocab_size\x94KA\x8c\x04itos\x94}\x94(K\x00\x8c\x01\n\x94K\x01\x8c\x01a\x94u\x8c\x04stoi\x94}\x94(h\x04K\x00h\x05K\x01uu.";

const TINY: [&str; 17] = [
    "--preset=smoke",
    "--data=text",
    "--set=model.dim=8",
    "--set=model.layers=1",
    "--set=model.heads=2",
    "--set=model.seq=8",
    "--set=model.ffn.hidden=8",
    "--set=model.connection={type=\"hyper\",rate=2}",
    "--set=train.steps=12",
    "--set=train.warmup=2",
    "--set=train.batch=2",
    "--set=train.micro_batch=1",
    "--set=train.shards=1",
    "--set=train.eval_every=4",
    "--set=train.eval_batches=1",
    "--set=train.log_every=1",
    "--set=train.record_every=4",
];

const SWEEP: &str = r#"preset = "smoke"
seeds = 2
paper = "Table 1"
tanh = "off"
baseline = { model.connection = { type = "pre_norm" } }
[set]
train.steps = 12
train.warmup = 2
model.dim = 8
model.seq = 8
model.ffn.hidden = 8
train.eval_every = 4
train.eval_batches = 1
[grid]
model.connection = [{ type = "pre_norm" }, { type = "hyper", rate = 2 }]
[[arm]]
name = "wide"
baseline = "pre-norm"
set = { model.dim = 16 }
[[arm]]
name = "{connection}-matched"
connection = { type = "hyper", rate = 2 }
baseline = "pre-norm"
matched = true
"#;

/// Writes all of them below `root`, with the program for what it makes itself.
pub fn write(root: &Path, program: impl Fn() -> Command) {
    let text: String = (0..800)
        .map(|i| format!("{} by {} is {}.\n", i % 61, i % 53, i))
        .collect();
    let put = |path: &str, content: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("space");
        fs::write(path, content).expect("space");
    };
    put("text/text", text.as_bytes());
    put("gzip/text.gz", &gzip(text.as_bytes()));
    let ids = |count: u16| (0..count).flat_map(|i| (i * 7 % 65).to_le_bytes());
    put("tokens/train.bin", &ids(3000).collect::<Vec<u8>>());
    put("tokens/val.bin", &ids(1000).collect::<Vec<u8>>());
    put("tokens/meta.pkl", META);
    for (part, count) in [("train", 24), ("t10k", 20)] {
        let pixels: Vec<u8> = (0..count * 64).map(|i| (i * 7 % 256) as u8).collect();
        let labels: Vec<u8> = (0..count).map(|i| (i % 2) as u8).collect();
        let images = idx(&[count, 8, 8], &pixels);
        match part {
            "train" => put("idx/train-images-idx3-ubyte", &images),
            _ => put("idx/t10k-images-idx3-ubyte.gz", &gzip(&images)),
        }
        put(
            &format!("idx/{part}-labels-idx1-ubyte"),
            &idx(&[count], &labels),
        );
    }
    for name in ["data_batch_1", "test_batch"] {
        let record = |i: usize| (0..3073).map(move |j| if j == 0 { i % 10 } else { i * j % 256 });
        let batch: Vec<u8> = (0..30).flat_map(record).map(|byte| byte as u8).collect();
        put(&format!("cifar/{name}.bin"), &batch);
    }
    for class in ["a", "b"] {
        for i in 0..12 {
            put(&format!("png/{class}/{i}.png"), &png(i));
            put(&format!("jpeg/{class}/{i}.jpg"), &jpeg(64 + i));
        }
    }
    put("parity/case.safetensors", PARITY);
    put("sweep/grid.toml", SWEEP.as_bytes());
    let run = |directory: &str, arguments: &[&str]| {
        let mut command = program();
        command.current_dir(root.join(directory)).args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("the program starts").success()
    };
    for name in ["run", "stopped"] {
        put(&format!("{name}/text"), text.as_bytes());
        let arguments = [
            &["train"],
            &TINY[..],
            &["--out=.", "--set=train.tensorboard=true"],
        ];
        assert!(run(name, &arguments.concat()), "a run of its own fails");
    }
    // As if it had been killed after its last state but one.
    for file in ["summary.json", "model.safetensors"] {
        fs::remove_file(root.join("stopped").join(file)).expect("the run has written it");
    }
    put("weights/text", text.as_bytes());
    // Without their checksum, as earlier versions wrote them: else all damage is refused for that.
    let mut weights = fs::read(root.join("run/model.safetensors")).expect("its own");
    for (key, unused) in [("\"sha256\"", "\"unused\""), ("\"step\"", "\"none\"")] {
        let mut words = weights.windows(key.len());
        let at = words.position(|word| word == key.as_bytes());
        weights[at.expect("a key")..][..key.len()].copy_from_slice(unused.as_bytes());
    }
    let sound = TensorFile::from_bytes("weights", weights.clone()).expect("an earlier version's");
    assert!(!sound.is_checked());
    put("weights/model.safetensors", &weights);
    put("sweeping/text", text.as_bytes());
    put("sweeping/swept.toml", SWEEP.as_bytes());
    let arguments = ["sweep", "swept.toml", "--data", "text", "--out", "."];
    assert!(run("sweeping", &arguments), "a sweep of its own fails");
    fs::rename(root.join("sweeping/swept"), root.join("swept")).expect("its own");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn idx(dimensions: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
    bytes.extend(
        dimensions
            .iter()
            .flat_map(|dimension| dimension.to_be_bytes()),
    );
    bytes.extend(data);
    bytes
}

/// Indexed colours every other time.
fn png(i: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
    let channels = if i.is_multiple_of(2) {
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(vec![0, 0, 0, 255, i, 0, 0, 255, i, 9, 9, 9]);
        1
    } else {
        encoder.set_color(png::ColorType::Rgb);
        3
    };
    let pixels: Vec<u8> = (0..64 * channels)
        .map(|j| ((j + usize::from(i)) % 4) as u8)
        .collect();
    let mut writer = encoder.write_header().expect("memory");
    writer.write_image_data(&pixels).expect("memory");
    drop(writer);
    bytes
}

/// Grey, 8 by 8 pixels, all `128 + level` (64 to 127): one block with a DC coefficient alone, its
/// Huffman codes `10` for the seven bits of the level and `0` for the end of the block.
fn jpeg(level: u8) -> Vec<u8> {
    let segment = |marker: u8, body: &[u8]| {
        let length = (body.len() as u16 + 2).to_be_bytes();
        [&[0xff, marker], &length[..], body].concat()
    };
    let codes = |table: u8, counts: [u8; 2], symbols: &[u8]| {
        [&[table], &counts[..], &[0; 14], symbols].concat()
    };
    let bits = 0b10 << 14 | u16::from(level) << 7 | 0b011_1111;
    [
        vec![0xff, 0xd8],
        segment(0xdb, &[&[0][..], &[8; 64]].concat()),
        segment(0xc0, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]),
        segment(0xc4, &codes(0x00, [1, 1], &[0, 7])),
        segment(0xc4, &codes(0x10, [1, 0], &[0])),
        segment(0xda, &[1, 1, 0, 0, 63, 0]),
        bits.to_be_bytes().to_vec(),
        vec![0xff, 0xd9],
    ]
    .concat()
}

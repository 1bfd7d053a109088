//! What is measured of an adapter and kept: the fastest tiles, and from which size on the
//! device pays.

use crate::{DIM, device, goes, moved, network, options, values};
use engine::{
    backend::{Backend, Job, Layout, Operand, Options, Product, Stored, Threshold},
    buffer::Buffer,
};
use engine_wgpu::WgpuBackend;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn products_smaller_or_thinner_than_the_threshold_stay_on_the_cpu() {
    if device().is_none() {
        return;
    }
    let above = Options {
        threshold: Threshold::Cube(9),
        ..options()
    };
    let backend = WgpuBackend::open(&above).unwrap();
    let goes = |m, k, n| goes(&backend, Product::new(Layout::Nn, m, k, n));
    assert!(!goes(8, 8, 8));
    assert!(goes(9, 9, 9));
    // More operations than the cube, but fewer for each byte.
    assert!(!goes(100, 100, 3));
    assert!(goes(100, 100, 4));
}

#[test]
fn what_stays_on_the_device_makes_thin_products_worth_while() {
    if device().is_none() {
        return;
    }
    let above = Options {
        threshold: Threshold::Cube(20),
        ..options()
    };
    let backend = WgpuBackend::open(&above).unwrap();
    let (params, weight) = network();
    let rows = values(60 * DIM, 1);
    let goes = |rows: Operand<'_>, weight: Operand<'_>| {
        let (m, k, n) = (rows.len() / DIM, DIM, weight.len() / DIM);
        let mut y = vec![0.0; m * n];
        let product = Product::new(Layout::Nt, m, k, n);
        let job = Job::new(product, rows, weight, &mut y[..]);
        let work = || backend.compute(&mut [Some(job)], false);
        moved(&backend, work).submissions == 1
    };
    let unknown = |values| Operand::from(values);
    let parameter = params.operand(weight);
    let stored = Stored::from(Buffer::copy_of(&rows));
    let value = Operand::from(&stored);
    // Six rows and a matrix; the matrix is a parameter, and so sent once for many products.
    assert!(!goes(
        unknown(&rows[..6 * DIM]),
        unknown(parameter.values())
    ));
    assert!(goes(unknown(&rows[..6 * DIM]), parameter));
    // Many rows and a thin matrix; the rows are there since an earlier product.
    let thin = unknown(&parameter.values()[..5 * DIM]);
    assert!(!goes(value, thin));
    assert!(goes(value, parameter));
    assert!(goes(value, thin));
}

/// A directory of its own for what is kept.
fn directory(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("engine-wgpu-{name}-{}", std::process::id()))
}

#[test]
fn tiles_are_measured_once_for_an_adapter_and_a_damaged_file_again() {
    if device().is_none() {
        return;
    }
    let directory = directory("tiles");
    let cached = Options {
        cache: Some(directory.clone()),
        tuning: true,
        ..options()
    };
    let product = Product::new(Layout::Nn, 16, 16, 16);
    let multiply = || {
        let backend = WgpuBackend::open(&cached).unwrap();
        backend.matmul(product, &[1.0; 256], &[1.0; 256], &mut [0.0; 256], false);
        backend.warning()
    };
    assert_eq!(multiply(), None);
    let file = only_file(&directory);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("tile nn 16 16 16 true "), "{text}");

    // Another choice than the measured one is kept too: nothing is measured again.
    let (rest, tile) = text.trim_end().rsplit_once(' ').unwrap();
    let other = ["4x4/8x8/8/1", "4x4/16x16/16/1"]
        .into_iter()
        .find(|&other| other != tile);
    let edited = format!("{rest} {}\n", other.unwrap());
    fs::write(&file, &edited).unwrap();
    assert_eq!(multiply(), None);
    assert_eq!(fs::read_to_string(&file).unwrap(), edited);

    fs::write(&file, "\u{0}damaged").unwrap();
    let warning = multiply().expect("a warning");
    assert!(
        warning.contains("is measured again: its first line"),
        "{warning}"
    );
    assert_eq!(multiply(), None);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_threshold_is_measured_once_for_an_adapter() {
    if device().is_none() {
        return;
    }
    let directory = directory("threshold");
    let cached = Options {
        cache: Some(directory.clone()),
        threshold: Threshold::Measured,
        ..options()
    };
    drop(WgpuBackend::open(&cached).unwrap());
    let file = only_file(&directory);
    let text = fs::read_to_string(&file).unwrap();
    let (header, measured) = text.split_once('\n').unwrap();
    let edge = measured.trim_end().strip_prefix("threshold ").unwrap();
    assert!(edge.parse::<usize>().unwrap() >= 64, "{text}");

    fs::write(&file, format!("{header}\nthreshold 9\n")).unwrap();
    let backend = WgpuBackend::open(&cached).unwrap();
    let cube = |edge| Product::new(Layout::Nn, edge, edge, edge);
    assert!(!goes(&backend, cube(8)));
    assert!(goes(&backend, cube(9)));
    fs::remove_dir_all(directory).unwrap();
}

fn only_file(directory: &Path) -> PathBuf {
    let mut files = fs::read_dir(directory).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

use proptest::prelude::*;

use super::*;

const LAYOUTS: [Layout; 3] = [Layout::Nn, Layout::Nt, Layout::Tn];

/// Numbers in [-1, 1) that depend on the seed.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        })
        .collect()
}

fn operands(product: &Product) -> [Vec<f32>; 3] {
    let mut seed = 0;
    product.shapes().map(|[rows, columns]| {
        seed += 1;
        numbers(rows * columns, seed)
    })
}

/// C in f64, and for every element the sum of the magnitudes of its terms.
fn naive(product: &Product, a: &[f32], b: &[f32], c: &[f32]) -> Vec<(f64, f64)> {
    let Product {
        layout, m, k, n, ..
    } = *product;
    let mut result = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let start = if product.accumulate {
                f64::from(c[i * n + j])
            } else {
                0.0
            };
            let (mut sum, mut magnitude) = (start, start.abs());
            for p in 0..k {
                let (x, y) = match layout {
                    Layout::Nn => (a[i * k + p], b[p * n + j]),
                    Layout::Nt => (a[i * k + p], b[j * k + p]),
                    Layout::Tn => (a[p * m + i], b[p * n + j]),
                };
                let term = f64::from(x) * f64::from(y);
                sum += term;
                magnitude += term.abs();
            }
            result.push((sum, magnitude));
        }
    }
    result
}

/// Each of the at most 2 (k + 2) roundings of an element is at most half an epsilon of the
/// sum of the magnitudes of its terms.
fn assert_close(product: &Product, got: &[f32], want: &[(f64, f64)]) {
    let tolerance = (product.k + 2) as f64 * f64::from(f32::EPSILON);
    for (index, (&got, &(want, magnitude))) in got.iter().zip(want).enumerate() {
        assert!(
            (f64::from(got) - want).abs() <= tolerance * magnitude,
            "{product:?}: element {index} is {got}, expected {want}"
        );
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// The ways that can compute a product: all but dot products take every layout.
fn paths(layout: Layout) -> impl Iterator<Item = Path> {
    [Path::Tiles, Path::Sgemm, Path::Dots]
        .into_iter()
        .filter(move |&path| path != Path::Dots || layout == Layout::Nt)
}

/// Holds every way to the naive product; without `accumulate`, C is full of NaN before.
fn check_every_way(product: Product) {
    let [a, b, c] = operands(&product);
    for product in [product, product.accumulating()] {
        let before = if product.accumulate {
            c.clone()
        } else {
            vec![f32::NAN; c.len()]
        };
        let want = naive(&product, &a, &b, &c);
        let mut got = before.clone();
        matmul(product, &a, &b, &mut got);
        assert_close(&product, &got, &want);
        for path in paths(product.layout) {
            got.copy_from_slice(&before);
            compute_rows(path, &product, 0, &a, &b, &mut got);
            assert_close(&product, &got, &want);
        }
    }
}

#[test]
fn every_way_matches_a_naive_f64_product_at_sizes_around_the_vector_width() {
    const SIZES: [usize; 10] = [1, 3, 7, 15, 16, 17, 31, 33, 100, 129];
    for layout in LAYOUTS {
        for m in SIZES {
            for n in SIZES {
                // The longer sums with a few of the shapes only, to save time.
                for k in SIZES.into_iter().filter(|k| k * (m + n) < 8000) {
                    check_every_way(Product::new(layout, m, k, n));
                }
            }
        }
    }
}

#[test]
fn every_way_matches_where_a_product_takes_several_blocks_of_each_kind() {
    for layout in LAYOUTS {
        check_every_way(Product::new(layout, 141, 270, 1051));
        check_every_way(Product::new(layout, 65, 600, 65));
        check_every_way(Product::new(layout, 9, 257, 1030));
        // Rows at the stride at which the transposed left operand is packed.
        check_every_way(Product::new(layout, 1024, 259, 33));
    }
}

#[test]
fn an_empty_sum_is_zero_and_adds_nothing() {
    for layout in LAYOUTS {
        let product = Product::new(layout, 3, 0, 5);
        let mut c = [f32::NAN; 15];
        matmul(product, &[], &[], &mut c);
        assert_eq!(c, [0.0; 15]);
        let mut c = [2.0; 15];
        matmul_parallel(product.accumulating(), &[], &[], &mut c);
        assert_eq!(c, [2.0; 15]);
    }
}

#[test]
fn a_product_without_elements_writes_nothing_beside_them_either() {
    for layout in LAYOUTS {
        let mut around = [7.0; 64];
        let (_, c) = around.split_at_mut(32);
        for product in [[0, 4, 2], [2, 4, 0], [0, 4, 0], [0, 0, 0]] {
            let [m, k, n] = product;
            let product = Product::new(layout, m, k, n);
            let (a, b) = (&[1.0; 8][..m * k], &[1.0; 8][..k * n]);
            matmul(product, a, b, &mut c[..0]);
            matmul_parallel(product, a, b, &mut c[..0]);
            matmul(product.accumulating(), a, b, &mut c[..0]);
        }
        assert_eq!(around, [7.0; 64]);
    }
}

/// What does not belong to an element must not reach it, not even times zero.
#[test]
fn an_infinity_stays_in_its_row_and_column() {
    for layout in LAYOUTS {
        let product = Product::new(layout, 19, 37, 21);
        let [mut a, mut b, _] = operands(&product);
        // Row 4 of op(A) and column 20 of op(B).
        let (row, column) = match layout {
            Layout::Nn => (4 * 37 + 5, 5 * 21 + 20),
            Layout::Nt => (4 * 37 + 5, 20 * 37 + 5),
            Layout::Tn => (5 * 19 + 4, 5 * 21 + 20),
        };
        a[row] = f32::INFINITY;
        b[column] = f32::INFINITY;
        for path in paths(layout) {
            let mut c = vec![0.0; 19 * 21];
            compute_rows(path, &product, 0, &a, &b, &mut c);
            for (index, x) in c.iter().enumerate() {
                let touched = index / 21 == 4 || index % 21 == 20;
                assert_eq!(x.is_finite(), !touched, "{path:?} {layout:?} {index}");
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_as_among_others() {
    for layout in LAYOUTS {
        for (m, k, n) in [(37, 300, 43), (8, 129, 70), (130, 64, 5), (1024, 31, 40)] {
            let product = Product::new(layout, m, k, n).accumulating();
            let [a, b, c] = operands(&product);
            for path in paths(layout) {
                let mut whole = c.clone();
                compute_rows(path, &product, 0, &a, &b, &mut whole);
                for i in (0..m).step_by(m.div_ceil(40)) {
                    let mut row = c[i * n..(i + 1) * n].to_vec();
                    compute_rows(path, &product, i, &a, &b, &mut row);
                    assert_eq!(
                        bits(&row),
                        bits(&whole[i * n..(i + 1) * n]),
                        "{path:?} {product:?}, row {i}"
                    );
                }
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for layout in LAYOUTS {
        for (m, k, n) in [(333, 260, 177), (512, 128, 384), (2500, 700, 6)] {
            for product in [
                Product::new(layout, m, k, n),
                Product::new(layout, m, k, n).accumulating(),
            ] {
                let [a, b, c] = operands(&product);
                let mut want = c.clone();
                matmul(product, &a, &b, &mut want);
                for threads in [1, 2, 3, 5] {
                    let pool = rayon::ThreadPoolBuilder::new()
                        .num_threads(threads)
                        .build()
                        .expect("a pool of threads");
                    let mut got = c.clone();
                    pool.install(|| matmul_parallel(product, &a, &b, &mut got));
                    assert_eq!(bits(&got), bits(&want), "{product:?}, {threads} threads");
                    // The ways that this build does not take for this product, too.
                    for path in paths(layout) {
                        let mut one = c.clone();
                        compute_rows(path, &product, 0, &a, &b, &mut one);
                        got.copy_from_slice(&c);
                        pool.install(|| {
                            compute_pieces(path, &product, threads, &a, &b, &mut got);
                        });
                        assert_eq!(bits(&got), bits(&one), "{path:?} {product:?}");
                    }
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "matmul: b has 11 elements, expected [4, 3] in Product")]
fn an_operand_of_the_wrong_size_is_named() {
    let product = Product::new(Layout::Nn, 2, 4, 3);
    matmul(product, &[0.0; 8], &[0.0; 11], &mut [0.0; 6]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_way_matches_at_random_shapes(
        layout in prop::sample::select(LAYOUTS.to_vec()),
        m in 1usize..150,
        k in 1usize..300,
        n in 1usize..150,
    ) {
        check_every_way(Product::new(layout, m, k, n));
    }
}

//! Compares every kernel of this machine with plain sums, bit by bit.

use tokenroute_kernels::{Activations, BLOCK, Format, Isa, KernelError, Pool, QuantMatrix};

const FORMATS: [Format; 5] = [Format::Q8_0, Format::Q4_0, Format::Q4K, Format::Q5_0, Format::Q5K];

/// Numbers in [−1, 1), the same on every machine.
fn numbers(count: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn pool(isa: Isa) -> Pool {
    Pool::with_isa(2, isa).expect("an instruction set of this machine")
}

fn product(pool: &Pool, matrix: &QuantMatrix, x: &[f32]) -> Vec<f32> {
    let mut rows = Activations::default();
    rows.quantise(pool, x, matrix.inputs()).expect("whole rows");
    let mut y = vec![f32::NAN; rows.rows() * matrix.outputs()];
    matrix.matmul(pool, &rows, &mut y).expect("fitting lengths");
    y
}

/// Integer weight `j` of a block.
fn integer(format: Format, block: &[u8], j: usize) -> i32 {
    let nibble =
        |quants: &[u8]| i32::from(if j < 16 { quants[j] & 15 } else { quants[j - 16] >> 4 });
    let five = |quants: &[u8]| nibble(&quants[4..]) | i32::from(quants[j / 8] >> (j % 8) & 1) << 4;
    match format {
        Format::Q8_0 => i32::from(block[2 + j] as i8),
        Format::Q4_0 => nibble(&block[2..]) - 8,
        Format::Q4K => nibble(&block[4..]),
        Format::Q5_0 => five(&block[2..]) - 16,
        Format::Q5K => five(&block[4..]),
    }
}

/// Whether blocks have a minimum.
fn minima(format: Format) -> bool {
    matches!(format, Format::Q4K | Format::Q5K)
}

/// The formula of the crate's documentation, from ggml blocks.
fn reference(matrix: &QuantMatrix, x: &[f32]) -> Vec<f32> {
    let (inputs, blocks) = (matrix.inputs(), matrix.inputs().div_ceil(BLOCK));
    let mut out = Vec::new();
    for x in x.chunks(inputs) {
        let mut x = x.to_vec();
        x.resize(blocks * BLOCK, 0.0);
        for o in 0..matrix.outputs() {
            let mut bytes = Vec::new();
            matrix.row_blocks(o, &mut bytes);
            let (mut y, mut z) = (0.0f32, 0.0f32);
            for (block, x) in bytes.chunks(matrix.format().block_bytes()).zip(x.chunks(BLOCK)) {
                let half = |at| half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
                let most = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
                let scale = half::f16::from_f32(most / 127.0).to_f32();
                let x: Vec<i32> =
                    x.iter().map(|x| (x * inverse).round_ties_even() as i32).collect();
                let dot: i32 = (0..BLOCK).map(|j| integer(matrix.format(), block, j) * x[j]).sum();
                y = (half(0) * scale).mul_add(dot as f32, y);
                if minima(matrix.format()) {
                    z = half(2).mul_add(scale * x.iter().sum::<i32>() as f32, z);
                }
            }
            out.push(if minima(matrix.format()) { y + z } else { y });
        }
    }
    out
}

fn bits(y: &[f32]) -> Vec<u32> {
    y.iter().map(|y| y.to_bits()).collect()
}

#[test]
fn every_kernel_gives_the_bits_of_the_formula() {
    // Odd widths of real models, rows that do not fill a panel, a padded last block.
    for (outputs, inputs) in
        [(1, 32), (17, 96), (128, 896), (40, 4864), (33, 100), (896, 64), (30, 512)]
    {
        let weights = numbers(outputs * inputs, 1);
        // Enough rows for the kernels of many rows, AMX too, and some left over.
        let x = numbers(55 * inputs, 2);
        for format in FORMATS {
            let portable = pool(Isa::Portable);
            let matrix = QuantMatrix::from_f32(&portable, format, outputs, inputs, &weights);
            let matrix = matrix.expect("finite weights");
            let expected = bits(&reference(&matrix, &x));
            for isa in Isa::available() {
                let y = product(&pool(isa), &matrix, &x);
                assert!(bits(&y) == expected, "{format:?} {outputs} x {inputs} on {isa}");
            }
        }
    }
}

#[test]
fn the_greatest_integers_do_not_saturate() {
    // Every weight at an end of its range, −128 too, against activations at ±127.
    for format in FORMATS {
        for byte in [0x00u8, 0x7f, 0x80, 0x81, 0xff, 0x0f, 0xf0] {
            let mut block = half::f16::ONE.to_le_bytes().to_vec();
            if minima(format) {
                block.extend(half::f16::from_f32(-7.5).to_le_bytes());
            }
            block.resize(format.block_bytes(), byte);
            let blocks = block.repeat(3 * 2);
            let portable = pool(Isa::Portable);
            let matrix = QuantMatrix::from_blocks(&portable, format, 2 * BLOCK, &[&blocks]);
            let matrix = matrix.expect("three rows of two blocks");
            for sign in [1.0, -1.0] {
                let x = vec![sign; 50 * 2 * BLOCK];
                let expected = bits(&reference(&matrix, &x));
                for isa in Isa::available() {
                    let y = product(&pool(isa), &matrix, &x);
                    assert!(bits(&y) == expected, "{format:?} {byte:#x} on {isa}: {y:?}");
                }
            }
        }
    }
}

#[test]
fn a_rows_bits_do_not_depend_on_the_batch_or_the_threads() {
    let (outputs, inputs) = (200, 896);
    let weights = numbers(outputs * inputs, 3);
    let x = numbers(16 * inputs, 4);
    for isa in Isa::available() {
        for format in FORMATS {
            let one = Pool::with_isa(1, isa).expect("a pool");
            let matrix = QuantMatrix::from_f32(&one, format, outputs, inputs, &weights);
            let matrix = matrix.expect("finite weights");
            let alone: Vec<u32> =
                x.chunks(inputs).flat_map(|x| bits(&product(&one, &matrix, x))).collect();
            for rows in [2, 7, 16] {
                for threads in [1, 2, 3] {
                    let pool = Pool::with_isa(threads, isa).expect("a pool");
                    let y = bits(&product(&pool, &matrix, &x[..rows * inputs]));
                    assert!(y == alone[..rows * outputs], "{rows} rows, {threads} threads, {isa}");
                }
            }
        }
    }
}

#[test]
fn any_number_of_rows_gives_the_bits_of_each_row() {
    // Five panels, the last not full, and three blocks: pairs of neither come out even.
    let (outputs, inputs, most) = (72, 96, 75);
    let weights = numbers(outputs * inputs, 8);
    let x = numbers(most * inputs, 9);
    for format in FORMATS {
        let portable = pool(Isa::Portable);
        let matrix = QuantMatrix::from_f32(&portable, format, outputs, inputs, &weights);
        let matrix = matrix.expect("finite weights");
        let expected = bits(&reference(&matrix, &x));
        for isa in Isa::available() {
            let pool = pool(isa);
            // The buffers' contents from other rows are not read.
            let mut rows = Activations::default();
            rows.quantise(&pool, &vec![f32::NAN; 2 * most * inputs], 2 * inputs).expect("rows");
            for count in (1..=most).rev() {
                rows.quantise(&pool, &x[..count * inputs], inputs).expect("whole rows");
                let mut y = vec![f32::NAN; count * outputs];
                matrix.matmul(&pool, &rows, &mut y).expect("fitting lengths");
                assert!(bits(&y) == expected[..count * outputs], "{format:?}, {count} on {isa}");
            }
        }
    }
}

#[test]
fn blocks_go_in_and_out_unchanged_and_stack() {
    let pool = pool(Isa::Portable);
    for format in FORMATS {
        let weights = numbers(21 * 96, 5);
        let mut blocks = Vec::new();
        format.quantise(&weights, &mut blocks);
        let (head, tail) = blocks.split_at(5 * 3 * format.block_bytes());
        let stacked =
            QuantMatrix::from_blocks(&pool, format, 96, &[head, tail]).expect("whole rows");
        assert_eq!((stacked.outputs(), stacked.inputs(), stacked.format()), (21, 96, format));
        let quantised = QuantMatrix::from_f32(&pool, format, 21, 96, &weights).expect("finite");
        for matrix in [stacked, quantised] {
            let mut back = Vec::new();
            (0..21).for_each(|o| matrix.row_blocks(o, &mut back));
            assert!(back == blocks, "{format:?}");
            let (mut row, mut expected) = ([0.0; 96], [0.0; 96]);
            matrix.dequantise_row(20, &mut row);
            format.dequantise(&blocks[20 * 3 * format.block_bytes()..], &mut expected);
            assert_eq!(bits(&row), bits(&expected));
        }
    }
}

#[test]
fn activations_that_are_not_finite_make_outputs_nan() {
    for isa in Isa::available() {
        let pool = pool(isa);
        let matrix = QuantMatrix::from_f32(&pool, Format::Q8_0, 3, 64, &numbers(3 * 64, 6));
        let matrix = matrix.expect("finite weights");
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 65_520.0 * 127.0] {
            for rows in [2, 50] {
                let mut x = numbers(rows * 64, 7);
                x[70] = bad;
                let y = product(&pool, &matrix, &x);
                let (before, rest) = y.split_at(3);
                let (row, after) = rest.split_at(3);
                assert!(before.iter().chain(after).all(|y| y.is_finite()), "{isa}: {y:?}");
                assert!(row.iter().all(|y| y.is_nan()), "{isa}: {y:?}");
            }
        }
        let y = product(&pool, &matrix, &[0.0; 64]);
        assert_eq!(bits(&y), [0; 3], "a row of zeros on {isa}");
        let y = product(&pool, &matrix, &[1e-40; 64]);
        assert_eq!(y, [0.0; 3], "subnormals count as zero on {isa}");
    }
}

#[test]
fn misfits_are_named() {
    let pool = pool(Isa::Portable);
    let message =
        |result: Result<QuantMatrix, KernelError>| result.expect_err("a misfit").to_string();
    let q8 = Format::Q8_0;
    let odd = |count: usize| [vec![0.0; count - 1], vec![f32::NAN]].concat();
    for (result, words) in [
        (
            QuantMatrix::from_f32(&pool, q8, 2, 32, &[0.0; 63]),
            "weights holds 63 elements; expected 64",
        ),
        (QuantMatrix::from_f32(&pool, q8, 0, 32, &[]), "0 x 32"),
        (QuantMatrix::from_rows(&pool, q8, usize::MAX, 64, |_, _| ()), "cannot be packed"),
        (QuantMatrix::from_blocks(&pool, q8, 33, &[&[0; 34]]), "rows of 33"),
        (QuantMatrix::from_blocks(&pool, q8, 64, &[&[0; 69]]), "69 elements; expected 136"),
        (QuantMatrix::from_blocks(&pool, q8, 32, &[&[0xff; 34]]), "row 0, block 0: NaN"),
        (QuantMatrix::from_f32(&pool, q8, 2, 32, &[1e9; 64]), "block 0: inf"),
        (
            QuantMatrix::from_f32(&pool, q8, 1, 64, &[[0.0; 63].as_slice(), &[f32::NAN]].concat()),
            "row 0, block 1: NaN",
        ),
        (QuantMatrix::from_f32(&pool, Format::Q4_0, 1, 32, &odd(32)), "block 0: NaN"),
        (QuantMatrix::from_f32(&pool, Format::Q4K, 1, 32, &odd(32)), "block 0: NaN"),
        (QuantMatrix::from_f32(&pool, Format::Q4K, 1, 512, &odd(512)), "block 8: NaN"),
        (QuantMatrix::from_f32(&pool, Format::Q4K, 2, 32, &[-1e9; 64]), "block 0: -inf"),
        (
            QuantMatrix::from_blocks(
                &pool,
                Format::Q4K,
                32,
                &[&[[0; 2], [255; 2]].concat().repeat(5)],
            ),
            "row 0, block 0: NaN",
        ),
    ] {
        let found = message(result);
        assert!(found.contains(words), "{found}");
    }
    let matrix = QuantMatrix::from_f32(&pool, q8, 2, 32, &[0.5; 64]).expect("finite");
    let mut x = Activations::default();
    assert!(x.quantise(&pool, &[0.0; 33], 32).is_err());
    x.quantise(&pool, &[0.0; 64], 64).expect("one row");
    assert!(matrix.matmul(&pool, &x, &mut [0.0; 2]).is_err(), "another width");
    x.quantise(&pool, &[0.0; 64], 32).expect("two rows");
    assert!(matrix.matmul(&pool, &x, &mut [0.0; 2]).is_err(), "too short an output");
}

#[test]
fn instruction_sets_have_names() {
    assert_eq!(Isa::available()[0], Isa::Portable);
    assert_eq!(Isa::named("portable").expect("everywhere"), Isa::Portable);
    let error = Isa::named("avx9").expect_err("there is none").to_string();
    assert!(error.contains("avx9") && error.contains("portable"), "{error}");
}

#[test]
fn five_bits_give_the_bits_of_the_same_integers_in_eight() {
    let (outputs, inputs) = (40, 160);
    let x = numbers(55 * inputs, 11);
    let portable = pool(Isa::Portable);
    let mut five = Vec::new();
    Format::Q5_0.quantise(&numbers(outputs * inputs, 10), &mut five);
    let eight: Vec<u8> = five
        .chunks(Format::Q5_0.block_bytes())
        .flat_map(|block| {
            let integers = (0..BLOCK).map(|j| integer(Format::Q5_0, block, j) as i8 as u8);
            block[..2].iter().copied().chain(integers).collect::<Vec<u8>>()
        })
        .collect();
    let held = |format, blocks: &[u8]| {
        QuantMatrix::from_blocks(&portable, format, inputs, &[blocks]).expect("whole rows")
    };
    let (five, eight) = (held(Format::Q5_0, &five), held(Format::Q8_0, &eight));
    assert_eq!(five.bytes() * 34, eight.bytes() * 22, "5.5 bits a weight against 8.5");
    for isa in Isa::available() {
        for rows in [1, 2, 3, 6, 9, 55] {
            let x = &x[..rows * inputs];
            let [five, eight] = [&five, &eight].map(|m| bits(&product(&pool(isa), m, x)));
            assert!(five == eight, "{rows} rows on {isa}");
        }
    }
}

#[test]
fn weights_are_rounded_half_away_from_zero() {
    // The scale of a block with 127 is 1, so its integers are its weights, rounded.
    let near = |half: f32| (0..9).map(move |i| f32::from_bits(half.to_bits() + i - 4));
    let halves = (0..127).flat_map(|whole| near(whole as f32 + 0.5));
    let others = (0..127f32.to_bits()).step_by(10_007).map(f32::from_bits);
    let weights: Vec<f32> = halves.chain(others).flat_map(|w| [w, -w]).collect();
    for weights in weights.chunks(BLOCK - 1) {
        let mut blocks = Vec::new();
        Format::Q8_0.quantise(&[weights, &[127.0]].concat(), &mut blocks);
        assert_eq!(half::f16::from_le_bytes([blocks[0], blocks[1]]), half::f16::ONE);
        for (j, w) in weights.iter().enumerate() {
            assert_eq!(integer(Format::Q8_0, &blocks, j), w.round() as i32, "{w}");
        }
    }
}

#[test]
fn weights_of_every_magnitude_are_rounded_to_their_scale() {
    // The smallest scales have no finite inverse. The largest ones are beyond f16.
    let steps: Vec<f32> = numbers(BLOCK, 21);
    for exponent in -149..120 {
        let weights: Vec<f32> = steps.iter().map(|w| w * 2f32.powi(exponent)).collect();
        let mut blocks = Vec::new();
        Format::Q8_0.quantise(&weights, &mut blocks);
        let scale = weights.iter().fold(0.0f32, |most, w| most.max(w.abs())) / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        assert_eq!(blocks[..2], half::f16::from_f32(scale).to_le_bytes());
        for (j, w) in weights.iter().enumerate() {
            let expected = (w * inverse).round().clamp(-128.0, 127.0) as i32;
            assert_eq!(integer(Format::Q8_0, &blocks, j), expected, "{w}");
        }
    }
}

#[test]
fn matrices_of_one_pool_keep_their_weights_when_others_go() {
    let pool = pool(Isa::Portable);
    // Some are larger than a huge page, and all together than a region.
    let matrix = |seed: usize| {
        let (outputs, inputs) = (16 + 1000 * (seed % 4), 1024);
        let weights = numbers(outputs * inputs, seed as u64);
        let packed = QuantMatrix::from_f32(&pool, Format::Q8_0, outputs, inputs, &weights);
        (packed.expect("finite"), weights)
    };
    let mut kept: Vec<_> = (0..12).map(matrix).collect();
    let mut number = 0;
    kept.retain(|_| {
        number += 1;
        number % 3 > 0
    });
    kept.extend((12..16).map(matrix));
    drop(pool);
    for (packed, weights) in kept {
        let (mut row, mut blocks, mut expected) = (vec![0.0; 1024], Vec::new(), vec![0.0; 1024]);
        for (o, weights) in weights.chunks(1024).enumerate() {
            packed.dequantise_row(o, &mut row);
            blocks.clear();
            Format::Q8_0.quantise(weights, &mut blocks);
            Format::Q8_0.dequantise(&blocks, &mut expected);
            assert!(row == expected, "row {o}");
        }
    }
}

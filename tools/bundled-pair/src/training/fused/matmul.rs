//! The matrix product of the fused engine. With AVX-512, tiles of 12 rows x 32 columns are held
//! in registers; the left operand is read in place and the right one copied in panels. Elsewhere
//! the gemm crate is used.
#![expect(unsafe_code, reason = "SIMD loads and gemm's interface take raw pointers")]

/// A matrix inside a slice: `data[row * row_stride + column * column_stride]`.
#[derive(Clone, Copy)]
pub struct MatrixView<'a> {
    data: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl<'a> MatrixView<'a> {
    /// A row-major matrix with `stride` numbers from row to row.
    pub fn rows(data: &'a [f32], stride: usize) -> Self {
        Self { data, row_stride: stride, column_stride: 1 }
    }

    /// The transposed matrix.
    pub fn transposed(self) -> Self {
        Self { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    fn assert_holds(&self, rows: usize, columns: usize) {
        let last = (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
        assert!(last < self.data.len(), "a {rows} x {columns} view exceeds its slice");
    }
}

/// The part of a product that is needed or known to be zero. The rest may be skipped and left
/// unwritten.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Triangle {
    /// The whole product is needed.
    None,
    /// Only the output's lower triangle is needed.
    LowerOut,
    /// The left operand is zero above its diagonal.
    LowerLeft,
    /// The left operand is zero below its diagonal.
    UpperLeft,
}

/// `out = a b`, or `out += a b` if `add`. `shape` is `[m, k, n]`: `a` is `[m, k]`, `b` is `[k,
/// n]`, and `out` is row-major with `stride` numbers from row to row.
pub fn matmul(
    out: &mut [f32],
    stride: usize,
    add: bool,
    shape: [usize; 3],
    a: MatrixView<'_>,
    b: MatrixView<'_>,
) {
    matmul_triangle(out, stride, add, shape, a, b, Triangle::None);
}

/// [`matmul`] that skips the parts given by `triangle`.
pub fn matmul_triangle(
    out: &mut [f32],
    stride: usize,
    add: bool,
    [m, k, n]: [usize; 3],
    a: MatrixView<'_>,
    b: MatrixView<'_>,
    triangle: Triangle,
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    a.assert_holds(m, k);
    b.assert_holds(k, n);
    assert!(
        n <= stride && (m - 1) * stride + n <= out.len(),
        "a {m} x {n} product exceeds its slice"
    );
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the feature was detected, and the assertions above limit every access.
        unsafe { wide::matmul(out, stride, add, [m, k, n], a, b, triangle) };
        return;
    }
    // SAFETY: the three assertions above limit every access of gemm. `out` is borrowed mutably,
    // so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride.cast_signed(),
            add,
            a.data.as_ptr(),
            a.column_stride.cast_signed(),
            a.row_stride.cast_signed(),
            b.data.as_ptr(),
            b.column_stride.cast_signed(),
            b.row_stride.cast_signed(),
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;
    use std::cell::RefCell;

    use super::{MatrixView, Triangle};

    const ROWS: usize = 12;
    const COLUMNS: usize = 32;

    thread_local! {
        static PANEL: RefCell<Vec<[f32; COLUMNS]>> = const { RefCell::new(Vec::new()) };
    }

    /// # Safety
    /// Shapes, strides and slices must be consistent, as [`super::matmul`] asserts.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn matmul(
        out: &mut [f32],
        stride: usize,
        add: bool,
        [m, k, n]: [usize; 3],
        a: MatrixView<'_>,
        b: MatrixView<'_>,
        triangle: Triangle,
    ) {
        PANEL.with_borrow_mut(|panel| {
            panel.resize(panel.len().max(k), [0.0; COLUMNS]);
            for column in (0..n).step_by(COLUMNS) {
                let width = COLUMNS.min(n - column);
                pack(&mut panel[..k], b, column, width);
                let first = match triangle {
                    // Rows above the panel's first column have no part in it.
                    Triangle::LowerOut => column / ROWS * ROWS,
                    _ => 0,
                };
                for row in (first..m).step_by(ROWS) {
                    let rows = ROWS.min(m - row);
                    let (from, to) = match triangle {
                        Triangle::LowerLeft => (0, (row + rows).min(k)),
                        Triangle::UpperLeft => (row.min(k - 1), k),
                        _ => (0, k),
                    };
                    let tile = Tile {
                        out: out[row * stride + column..].as_mut_ptr(),
                        stride,
                        width,
                        add,
                        a: a.data[row * a.row_stride + from * a.column_stride..].as_ptr(),
                        row_stride: a.row_stride,
                        step: a.column_stride,
                    };
                    // SAFETY: the tile is inside the shapes that the caller asserted.
                    unsafe {
                        match rows {
                            12 => tile.run::<12>(&panel[from..to]),
                            11 => tile.run::<11>(&panel[from..to]),
                            10 => tile.run::<10>(&panel[from..to]),
                            9 => tile.run::<9>(&panel[from..to]),
                            8 => tile.run::<8>(&panel[from..to]),
                            7 => tile.run::<7>(&panel[from..to]),
                            6 => tile.run::<6>(&panel[from..to]),
                            5 => tile.run::<5>(&panel[from..to]),
                            4 => tile.run::<4>(&panel[from..to]),
                            3 => tile.run::<3>(&panel[from..to]),
                            2 => tile.run::<2>(&panel[from..to]),
                            _ => tile.run::<1>(&panel[from..to]),
                        }
                    }
                }
            }
        });
    }

    /// Copies `width` columns of `b`, starting at `column`, padded with zeros.
    #[target_feature(enable = "avx512f")]
    fn pack(panel: &mut [[f32; COLUMNS]], b: MatrixView<'_>, column: usize, width: usize) {
        if b.column_stride == 1 && width == COLUMNS {
            for (row, packed) in panel.iter_mut().enumerate() {
                let start = row * b.row_stride + column;
                packed.copy_from_slice(&b.data[start..start + COLUMNS]);
            }
        } else if b.column_stride == 1 {
            for (row, packed) in panel.iter_mut().enumerate() {
                let start = row * b.row_stride + column;
                packed[..width].copy_from_slice(&b.data[start..start + width]);
                packed[width..].fill(0.0);
            }
        } else {
            if width < COLUMNS {
                panel.fill([0.0; COLUMNS]);
            }
            // Sixteen rows at a time, so that the written cache lines stay in L1.
            for (block, rows) in panel.chunks_mut(16).enumerate() {
                for place in 0..width {
                    let start = (column + place) * b.column_stride + block * 16 * b.row_stride;
                    let data = b.data[start..].iter().step_by(b.row_stride);
                    for (packed, x) in rows.iter_mut().zip(data) {
                        packed[place] = *x;
                    }
                }
            }
        }
    }

    struct Tile {
        out: *mut f32,
        stride: usize,
        width: usize,
        add: bool,
        a: *const f32,
        row_stride: usize,
        step: usize,
    }

    impl Tile {
        /// # Safety
        /// `out` must hold `R` rows of `width`. `a` must hold `R` rows with one column per row of
        /// the panel.
        #[target_feature(enable = "avx512f")]
        #[inline]
        unsafe fn run<const R: usize>(&self, panel: &[[f32; COLUMNS]]) {
            let mut sums = [[_mm512_setzero_ps(); 2]; R];
            let mut a = self.a;
            for right in panel {
                // SAFETY: `right` holds two registers; `a` advances once per panel row.
                unsafe {
                    let low = _mm512_loadu_ps(right.as_ptr());
                    let high = _mm512_loadu_ps(right.as_ptr().add(16));
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let left = _mm512_set1_ps(*a.add(row * self.row_stride));
                        sum[0] = _mm512_fmadd_ps(left, low, sum[0]);
                        sum[1] = _mm512_fmadd_ps(left, high, sum[1]);
                    }
                }
                a = a.wrapping_add(self.step);
            }
            let all = u32::MAX >> (COLUMNS - self.width);
            let masks = [(all & 0xffff) as u16, (all >> 16) as u16];
            for (row, sum) in sums.iter().enumerate() {
                for (half, &mask) in masks.iter().enumerate() {
                    // SAFETY: the masks keep accesses within `width` columns.
                    unsafe {
                        let out = self.out.wrapping_add(row * self.stride + half * 16);
                        let mut sum = sum[half];
                        if self.add {
                            sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, out));
                        }
                        _mm512_mask_storeu_ps(out, mask, sum);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + seed * 11) % 17) as f32 - 8.0).collect()
    }

    #[test]
    fn products_match_the_definition() {
        for [m, k, n] in [[1, 1, 1], [12, 5, 32], [13, 40, 33], [50, 50, 50], [7, 129, 70]] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            for (a_turned, b_turned) in [(false, false), (true, false), (false, true), (true, true)]
            {
                let view = |data, rows, columns, turned: bool| match turned {
                    false => MatrixView::rows(data, columns),
                    true => MatrixView::rows(data, rows).transposed(),
                };
                let (left, right) = (view(&a, m, k, a_turned), view(&b, k, n, b_turned));
                let at = |v: MatrixView<'_>, r, c| v.data[r * v.row_stride + c * v.column_stride];
                let mut out = vec![1.0; m * (n + 3)];
                matmul(&mut out, n + 3, true, [m, k, n], left, right);
                for row in 0..m {
                    for column in 0..n + 3 {
                        let product = |i| at(left, row, i) * at(right, i, column);
                        let sum = if column < n { (0..k).map(product).sum::<f32>() } else { 0.0 };
                        assert_eq!(out[row * (n + 3) + column], 1.0 + sum);
                    }
                }
            }
        }
    }

    #[test]
    fn triangles_skip_only_what_is_not_needed() {
        let n = 70;
        let lower: Vec<f32> = (0..n * n)
            .map(|cell| if cell % n <= cell / n { (cell % 7) as f32 } else { 0.0 })
            .collect();
        let b = numbers(n * n, 3);
        let (left, right) = (MatrixView::rows(&lower, n), MatrixView::rows(&b, n));
        let cases = [
            (left, Triangle::LowerLeft),
            (left.transposed(), Triangle::UpperLeft),
            (left, Triangle::LowerOut),
        ];
        for (left, triangle) in cases {
            let (mut all, mut some) = (vec![0.0; n * n], vec![0.0; n * n]);
            matmul(&mut all, n, false, [n, n, n], left, right);
            matmul_triangle(&mut some, n, false, [n, n, n], left, right, triangle);
            for cell in 0..n * n {
                if triangle != Triangle::LowerOut || cell % n <= cell / n {
                    assert_eq!(all[cell], some[cell]);
                }
            }
        }
    }
}

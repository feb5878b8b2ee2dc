//! A product as the kernels see it: weights, rows, and where the outputs go.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::Format;
#[cfg(target_arch = "x86_64")]
use crate::amx_tiles::Tiles;
use crate::matrix::PANEL;
use crate::memory::Parts;

/// One product: some rows by all panels.
pub(crate) struct Job<'a> {
    pub format: Format,
    /// `[panels, blocks, tile]`
    pub packed: &'a [u8],
    pub panel_bytes: usize,
    pub blocks: usize,
    pub outputs: usize,
    pub rows: usize,
    /// This and the next four are those of `Activations`.
    pub quants: &'a [i8],
    pub scales: &'a [f32],
    // Only x86's instructions, which take unsigned weights, need offsets.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub offsets: &'a [i32],
    pub sums: &'a [f32],
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub pairs: &'a [i32],
    #[cfg(target_arch = "x86_64")]
    pub tiles: &'a Tiles,
    pub y: Parts<'a, f32>,
}

impl Job<'_> {
    /// Stores outputs of a panel in a row, from the panel's output `from` on. Outputs
    /// beyond the matrix's last are left out.
    #[inline(always)]
    pub(crate) fn store<const N: usize>(
        &self,
        row: usize,
        panel: usize,
        from: usize,
        sums: &[f32; N],
    ) {
        let first = panel * PANEL + from;
        let len = N.min(self.outputs.saturating_sub(first));
        // SAFETY: a panel belongs to one share and a share to one thread, and the
        // slice ends here.
        let place = unsafe { self.y.slice(row * self.outputs + first.min(self.outputs), len) };
        match place.as_mut_array::<N>() {
            Some(place) => *place = *sums,
            None => place.copy_from_slice(&sums[..len]),
        }
    }

    /// Pointer to the outputs of `panels` whole panels from `panel` on, in the first of
    /// `rows`. The next row's are `outputs` elements on.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn place(&self, rows: Range<usize>, panel: usize, panels: usize) -> *mut f32 {
        assert!(rows.end <= self.rows && (panel + panels) * PANEL <= self.outputs);
        self.y.at(rows.start * self.outputs + panel * PANEL)
    }

    /// The tiles of a panel.
    #[inline(always)]
    pub(crate) fn panel(&self, panel: usize) -> &[u8] {
        &self.packed[panel * self.panel_bytes..][..self.panel_bytes]
    }
}

/// Splits `rows` into the fewest blocks of at most `most` rows, as even as possible.
pub(crate) fn row_blocks(rows: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let (start, rows) = (rows.start, rows.len());
    let count = rows.div_ceil(most).max(1);
    (0..count).map(move |i| start + i * rows / count..start + (i + 1) * rows / count)
}

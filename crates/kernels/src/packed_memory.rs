//! Memory of packed weights. The matrices of a model follow one another in regions of huge pages,
//! so that small matrices lie on huge pages too. The system then clears 2 MiB at one fault in place
//! of 512 times 4 KiB, and products miss the TLB less.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::{MmapMut, MmapRaw};

use crate::{KernelError, Pool};

/// Bytes of a huge page, on x86 and on 64-bit ARM with pages of 4 KiB.
const HUGE: usize = 2 << 20;
/// Bytes that the parts of a region are aligned to.
const PAGE: usize = 4 << 10;
/// Most bytes that are reserved for further matrices.
const MOST_AHEAD: usize = 128 << 20;

/// Zeroed memory that is handed out part by part. Reserved bytes take no memory until they are
/// written. A region is freed when the last of its parts is.
#[derive(Debug, Default)]
pub(crate) struct PackedMemory(Mutex<Current>);

/// The region that the next part comes from.
#[derive(Debug, Default)]
struct Current {
    region: Weak<MmapRaw>,
    /// End of its parts.
    used: usize,
    /// Bytes of all parts, those of earlier regions included.
    total: usize,
}

impl PackedMemory {
    /// Zeroed bytes.
    pub(crate) fn zeroed(&self, bytes: usize) -> Result<PackedBytes, KernelError> {
        self.part(bytes)
            .map_err(|source| KernelError::System { what: "memory for a weight matrix", source })
    }

    fn part(&self, bytes: usize) -> io::Result<PackedBytes> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let size = bytes.next_multiple_of(PAGE);
        let region = match current.region.upgrade() {
            Some(region) if region.len() - current.used >= size => region,
            _ => current.renew(size)?,
        };
        // SAFETY: the part ends within the region, as just checked or made by `renew`.
        let start = unsafe { region.as_mut_ptr().add(current.used) };
        current.used += size;
        current.total += size;
        Ok(PackedBytes { start, len: bytes, region })
    }
}

impl Current {
    /// Begins a region with room for `size` bytes, and for as many again as there are already.
    fn renew(&mut self, size: usize) -> io::Result<Arc<MmapRaw>> {
        let ahead = size.max(self.total.min(MOST_AHEAD)).next_multiple_of(HUGE);
        // A system without room for bytes that may never be used may have room for these.
        let map = MmapMut::map_anon(ahead + HUGE).or_else(|_| MmapMut::map_anon(size + HUGE))?;
        // Huge pages only save time, so a refusal is no error.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        self.used = map.as_ptr().align_offset(HUGE).min(HUGE);
        let region = Arc::new(MmapRaw::from(map));
        self.region = Arc::downgrade(&region);
        Ok(region)
    }
}

/// Calls `task` with every chunk of a part, which must be new, and its index, in parallel. Each
/// thread touches a huge page of its own before. Two threads that write to the same new page at
/// once would both clear one, and clearing all pages first would drive them out of the caches.
pub(crate) fn fill_chunks(
    pool: &Pool,
    part: &mut [u8],
    size: usize,
    task: impl Fn(usize, &mut [u8]) + Sync,
) {
    let chunks = (pool.threads() * HUGE / size).max(1);
    for (i, some) in part.chunks_mut(chunks * size).enumerate() {
        let border = some.as_ptr().align_offset(HUGE).min(some.len());
        pool.chunks_mut(&mut some[border..], HUGE, |_, page| page[0] = 0);
        pool.chunks_mut(some, size, |j, chunk| task(i * chunks + j, chunk));
    }
}

/// A part of a region.
pub(crate) struct PackedBytes {
    start: *mut u8,
    len: usize,
    /// Stays mapped as long as this part.
    #[expect(dead_code, reason = "held for its drop")]
    region: Arc<MmapRaw>,
}

// SAFETY: no other part has these bytes, so they are owned as those of a `Box<[u8]>` are.
unsafe impl Send for PackedBytes {}
// SAFETY: as above.
unsafe impl Sync for PackedBytes {}

impl Deref for PackedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: these bytes are mapped, initialised with zeros and of this part alone.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl DerefMut for PackedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl fmt::Debug for PackedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedBytes").field("len", &self.len).finish_non_exhaustive()
    }
}

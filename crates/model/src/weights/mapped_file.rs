//! A file mapped into memory, whose pages are given back while it is read.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::Mmap;

/// Bytes that are read before pages are given back.
const SOME: usize = 4 << 20;

/// A mapped file. Its pages count as this process's memory once they are read, so a reader
/// that is done with some says so ([`MappedFile::done`]).
///
/// The file must not change while it is mapped. Replace files by renaming new ones over
/// them, never in place.
#[derive(Debug)]
pub(crate) struct MappedFile {
    map: Mmap,
    /// Bytes that readers are done with.
    read: AtomicUsize,
}

impl MappedFile {
    /// Maps a file.
    ///
    /// # Errors
    /// A file that cannot be opened or mapped.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the mapping is only read. As for every mapped file, the caller ensures that
        // the file is not changed in place meanwhile.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }?;
        Ok(MappedFile { map, read: AtomicUsize::new(0) })
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Tells that a reader is done with some bytes. Every few megabytes, all pages are given
    /// back. Bytes that are read again come from the system's page cache.
    pub(crate) fn done(&self, bytes: usize) {
        let before = self.read.fetch_add(bytes, Ordering::Relaxed);
        if before / SOME != before.wrapping_add(bytes) / SOME {
            self.give_back();
        }
    }

    /// Gives all pages back.
    pub(crate) fn give_back(&self) {
        #[cfg(unix)]
        {
            // SAFETY: the pages of a mapped file that is only read come back unchanged. A
            // refusal only costs memory.
            #[allow(unsafe_code)]
            let _ = unsafe { self.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

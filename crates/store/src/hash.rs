//! SHA-256 of bytes and files, as 64 hexadecimal digits.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::StoreError;

/// SHA-256 of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file's content, read in parts of 1 MiB.
///
/// # Errors
/// [`StoreError::Read`].
pub fn sha256_file(path: &Path) -> Result<String, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).map_err(failed)?;
        if n == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..n]);
    }
}

/// Gives the SHA-256 of files. It may remember them.
pub trait FileHash {
    /// SHA-256 of a file's content.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn sha256(&self, path: &Path) -> Result<String, StoreError>;
}

/// Reads every file anew.
#[derive(Debug, Clone, Copy)]
pub struct ReadAnew;

impl FileHash for ReadAnew {
    fn sha256(&self, path: &Path) -> Result<String, StoreError> {
        sha256_file(path)
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

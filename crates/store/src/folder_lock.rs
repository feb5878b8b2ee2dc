//! A lock on a folder, so that two processes do not write the same artefacts. The system frees
//! it when its process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::StoreError;
use crate::atomic::make_dir;

/// Name of the file in the folder. It stays there; only the lock on it counts.
const NAME: &str = "lock";

/// Longest text that is read from the file.
const SHOWN: u64 = 200;

/// Holds the lock of a folder until it is dropped.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks a folder, which is created if needed. `holder` says who holds the lock to other
    /// processes.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process holds the lock, with its words;
    /// [`StoreError::Write`] if the folder cannot be written.
    pub fn take(folder: &Path, holder: &str) -> Result<Self, StoreError> {
        make_dir(folder)?;
        let path = folder.join(NAME);
        let write = |source| StoreError::Write { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(write)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut words = String::new();
                // Words that cannot be read leave the holder unnamed.
                let _ = file.take(SHOWN).read_to_string(&mut words);
                let holder = match words.trim() {
                    "" => "another process".to_owned(),
                    words => words.escape_debug().to_string(),
                };
                return Err(StoreError::Locked { folder: folder.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(write(source)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()))
            .map_err(write)?;
        Ok(FolderLock { _file: file })
    }
}

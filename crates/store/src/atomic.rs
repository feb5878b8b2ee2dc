//! Atomic file writes: a temporary file in the same directory, synced, then renamed over
//! the target. A crash leaves at most a file named `.partial-*`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::StoreError;

/// Name prefix of temporary files.
const PARTIAL: &str = ".partial-";

/// Writes one file and creates its directory if needed.
///
/// # Errors
/// [`StoreError::Write`]. The earlier file is then unchanged and the temporary file
/// removed.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    stage(path, bytes).and_then(|file| commit(path, file))
}

/// Writes several files of one directory in the given order; put a manifest last. All
/// temporary files are written before the first rename, so that a full disk changes
/// nothing.
///
/// # Errors
/// [`StoreError::Write`] as in [`write()`].
pub fn write_all(dir: &Path, files: &[(&str, &[u8])]) -> Result<(), StoreError> {
    let mut staged = Vec::with_capacity(files.len());
    for (name, bytes) in files {
        let path = dir.join(name);
        let file = stage(&path, bytes)?;
        staged.push((path, file));
    }
    staged.into_iter().try_for_each(|(path, file)| commit(&path, file))
}

/// Creates a directory and its parents.
///
/// # Errors
/// [`StoreError::Write`].
pub fn make_dir(dir: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(dir).map_err(|source| StoreError::Write { path: dir.to_owned(), source })
}

/// Renames a finished file over `to`, on the same file system.
///
/// # Errors
/// [`StoreError::Write`] with the target's path.
pub fn move_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|source| StoreError::Write { path: to.to_owned(), source })
}

/// Removes a file or a whole directory. A missing path is not an error.
///
/// # Errors
/// [`StoreError::Write`].
pub fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Length of a file in bytes.
///
/// # Errors
/// [`StoreError::Read`].
pub fn file_len(path: &Path) -> Result<u64, StoreError> {
    let metadata = fs::metadata(path);
    metadata.map(|m| m.len()).map_err(|source| StoreError::Read { path: path.to_owned(), source })
}

/// Removes the temporary files that a killed process left in a directory. Call it only from
/// the process that owns the directory.
///
/// # Errors
/// [`StoreError::Read`] or [`StoreError::Write`]. A missing directory is not an error.
pub fn remove_leftovers(dir: &Path) -> Result<(), StoreError> {
    for path in list(dir)? {
        let partial = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(PARTIAL));
        if partial {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Reads a whole file.
///
/// # Errors
/// [`StoreError::Read`].
pub fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|source| StoreError::Read { path: path.to_owned(), source })
}

/// Reads a whole UTF-8 file.
///
/// # Errors
/// [`StoreError::Read`], also if the bytes are not UTF-8.
pub fn read_text(path: &Path) -> Result<String, StoreError> {
    fs::read_to_string(path).map_err(|source| StoreError::Read { path: path.to_owned(), source })
}

/// Whether the path exists, as a file, a directory or anything else.
#[must_use]
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// The entries of a directory in name order. Empty if it does not exist.
///
/// # Errors
/// [`StoreError::Read`].
pub fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read_error = |source| StoreError::Read { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(read_error(e)),
    };
    let mut paths =
        entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(read_error)?;
    paths.sort();
    Ok(paths)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

fn stage(path: &Path, bytes: &[u8]) -> Result<NamedTempFile, StoreError> {
    let dir = parent(path);
    make_dir(dir)?;
    survive_size_limit();
    let attempt = || -> io::Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PARTIAL);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    attempt().map_err(|source| StoreError::Write { path: path.to_owned(), source })
}

fn commit(path: &Path, file: NamedTempFile) -> Result<(), StoreError> {
    // A rename would replace a device or a pipe by the file.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let source = io::Error::other("it is no regular file");
        return Err(StoreError::Write { path: path.to_owned(), source });
    }
    file.persist(path).map_err(|e| StoreError::Write { path: path.to_owned(), source: e.error })?;
    // The rename is durable once the directory is synced. If a directory cannot be synced,
    // the file's content is still complete.
    if let Ok(dir) = File::open(parent(path)) {
        let _ = dir.sync_all();
    }
    Ok(())
}

/// A write beyond the process's file-size limit raises SIGXFSZ, which ends the process by
/// default. With a handler, the write returns an error instead.
fn survive_size_limit() {
    #[cfg(unix)]
    {
        use std::sync::atomic::AtomicBool;
        use std::sync::{Arc, Once};
        static CAUGHT: Once = Once::new();
        CAUGHT.call_once(|| {
            let seen = Arc::new(AtomicBool::new(false));
            // If registration fails, the signal keeps its default action.
            let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, seen);
        });
    }
}

//! Downloads one file into the cache, in Hugging Face's layout: `blobs/ETAG` holds the
//! content, `snapshots/COMMIT/FILE` links to it, `refs/REVISION` names the commit.
//!
//! hf-hub's own download joins the reply's headers to paths unchecked, keeps a broken resume
//! as a whole file, and sends the token wherever a redirect leads. So only its paths are used
//! here.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use hf_hub::api::sync::ApiError;
use hf_hub::{Cache, Repo};
use sha2::{Digest, Sha256};

use crate::reference::is_component;
use crate::request::{RequestError, Requests};
use crate::timeout::DownloadProgress;

/// How often a broken download is resumed.
const RETRIES: usize = 5;
/// Wait before a download is resumed.
const PAUSE: Duration = Duration::from_millis(300);
/// How often a locked file is tried, once a second.
const LOCK_TRIES: usize = 6;
const BUFFER: usize = 64 << 10;

/// A file on the Hub and the cache it goes to.
pub(crate) struct Download {
    pub(crate) requests: Requests,
    pub(crate) cache: Cache,
    pub(crate) repo: Repo,
    /// Path inside the repository; a plain relative path.
    pub(crate) file: String,
}

impl Download {
    /// Fetches the file unless the cache holds it already. Returns its path.
    pub(crate) fn run(self, mut bar: DownloadProgress) -> Result<PathBuf, RequestError> {
        let url = self.requests.file_url(&self.repo, &self.file);
        let metadata = self.requests.metadata(&url)?;
        // A weak tag names the same content.
        let etag = metadata.etag.trim_start_matches("W/");
        checked("etag", etag)?;
        // Files share a blob by their etags, so an etag has to be one of their contents.
        if !(32..=128).contains(&etag.len()) || !etag.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(RequestError::Reply(format!("the etag {etag:?}, which is no hash")));
        }
        let commit = checked("x-repo-commit", &metadata.commit)?;
        let cache = self.cache.repo(self.repo.clone());
        let blob = Blob { path: cache.blob_path(etag), etag, size: metadata.size };
        let pointer = cache.pointer_path(commit).join(&self.file);
        for path in [&blob.path, &pointer] {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        }
        let lock = lock(blob.beside("lock"))?;
        bar.begin(&self.file, blob.size);
        if !blob.is_whole(&blob.path, &mut bar)? {
            blob.check_other()?;
            let part = self.fetch(&url, &blob, &mut bar)?;
            fs::rename(part, &blob.path)?;
        }
        drop(lock);
        link(&blob.path, &pointer, Path::new(&self.file).components().count())?;
        cache.create_ref(commit)?;
        Ok(pointer)
    }

    /// Downloads the content to a partial file, resumes it where it broke off, and returns
    /// it once size and hash are right.
    fn fetch(
        &self,
        url: &str,
        blob: &Blob<'_>,
        bar: &mut DownloadProgress,
    ) -> Result<PathBuf, RequestError> {
        let part = blob.beside("sync.part");
        let mut failure = None;
        for attempt in 0..=RETRIES {
            if attempt > 0 {
                thread::sleep(PAUSE);
            }
            match self.resume(url, &part, blob.size, bar) {
                Ok(()) if blob.is_whole(&part, bar)? => return Ok(part),
                Ok(()) => {
                    fs::remove_file(&part)?;
                    failure = Some(RequestError::Reply(format!(
                        "a {} whose content is not that of its etag, {}",
                        self.file, blob.etag
                    )));
                }
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| RequestError::Reply("no content".to_owned())))
    }

    /// Reads the bytes that `part` lacks, from a server that may ignore the range.
    fn resume(
        &self,
        url: &str,
        part: &Path,
        size: u64,
        bar: &mut DownloadProgress,
    ) -> Result<(), RequestError> {
        let mut file = OpenOptions::new().append(true).create(true).open(part)?;
        let mut held = file.metadata()?.len();
        if held > size {
            file.set_len(0)?;
            held = 0;
        }
        if held == size {
            return Ok(());
        }
        let response = self.requests.get(url, Some(&format!("bytes={held}-")))?;
        let range = response.headers().get("content-range").and_then(|range| range.to_str().ok());
        let continues = range.is_some_and(|range| range.starts_with(&format!("bytes {held}-")));
        if held > 0 && !continues {
            file.set_len(0)?;
            held = 0;
        }
        bar.at(held);
        let mut body = response.into_body().into_reader().take(size - held);
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = body.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            file.write_all(&buffer[..read])?;
            held += read as u64;
            bar.at(held);
        }
        if held < size {
            let what = format!("the reply ended after {held} of {size} bytes");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what).into());
        }
        file.sync_all()?;
        Ok(())
    }
}

/// A file's content in the cache.
struct Blob<'a> {
    path: PathBuf,
    etag: &'a str,
    size: u64,
}

impl Blob<'_> {
    /// A file beside the blob, for its lock or its partial content.
    fn beside(&self, extension: &str) -> PathBuf {
        self.path.with_file_name(format!("{}.{extension}", self.etag))
    }

    /// Whether its etag is the SHA-256 of its content.
    fn is_hashed(&self) -> bool {
        self.etag.len() == 64 && self.etag.bytes().all(|b| b.is_ascii_hexdigit())
    }

    /// Refuses to replace a blob of another size, which other files may link to. With a SHA-256
    /// the new content is the right one.
    fn check_other(&self) -> Result<(), RequestError> {
        let known = fs::metadata(&self.path).map(|found| found.len()).unwrap_or(self.size);
        if known == self.size || self.is_hashed() {
            return Ok(());
        }
        Err(RequestError::Reply(format!(
            "the etag {} for {} bytes, which {} with {known} bytes has already",
            self.etag,
            self.size,
            self.path.display()
        )))
    }

    /// Whether a file exists with this size and, where the etag is a SHA-256, this hash.
    fn is_whole(&self, path: &Path, bar: &mut DownloadProgress) -> io::Result<bool> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let found = file.metadata()?;
        if !found.is_file() || found.len() != self.size {
            return Ok(false);
        }
        if !self.is_hashed() {
            return Ok(true);
        }
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            // Hashing a large file takes a while and is no silence.
            bar.at(0);
        }
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(digest.eq_ignore_ascii_case(self.etag))
    }
}

/// A header that becomes a file name.
fn checked<'a>(header: &str, value: &'a str) -> Result<&'a str, RequestError> {
    if is_component(value) {
        return Ok(value);
    }
    let what = format!("the {header} {value:?}, which cannot be a file name");
    Err(RequestError::Reply(what))
}

/// Whether trying again cannot help: the server refuses, or the disk does.
fn is_final(error: &RequestError) -> bool {
    match error {
        RequestError::Api(ApiError::RequestError(error)) => {
            matches!(**error, ureq::Error::StatusCode(401 | 403 | 404))
        }
        RequestError::Api(ApiError::IoError(error)) => error.kind() == io::ErrorKind::StorageFull,
        RequestError::Api(_) => false,
        RequestError::Reply(_) => true,
    }
}

fn lock(path: PathBuf) -> Result<File, ApiError> {
    let file = File::create(&path)?;
    for attempt in 1..=LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) if attempt < LOCK_TRIES => {
                thread::sleep(Duration::from_secs(1));
            }
            Err(TryLockError::WouldBlock) => {}
        }
    }
    Err(ApiError::LockAcquisition(path))
}

/// Makes `pointer`, whose path in the snapshot has `depth` components, a link to `blob`.
fn link(blob: &Path, pointer: &Path, depth: usize) -> io::Result<()> {
    if pointer.exists() {
        return Ok(());
    }
    // A link to a blob that was removed does not count as existing.
    if pointer.symlink_metadata().is_ok() {
        fs::remove_file(pointer)?;
    }
    let mut target = PathBuf::new();
    (0..=depth).for_each(|_| target.push(".."));
    target.push("blobs");
    target.extend(blob.file_name());
    #[cfg(windows)]
    {
        // Links need a privilege there.
        std::os::windows::fs::symlink_file(&target, pointer).or_else(|_| fs::rename(blob, pointer))
    }
    #[cfg(not(windows))]
    {
        std::os::unix::fs::symlink(&target, pointer)
    }
}

//! The weights of a model directory: `model.safetensors`, or the shards that
//! `model.safetensors.index.json` lists, as one source.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{WeightFile, WeightSource};
use crate::LoadError;
use crate::hash::{bytes, hexadecimal};
use crate::json_fields::{Fields, read_json};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// One safetensors file, or several with an index of their tensors.
#[derive(Debug)]
pub(crate) struct Shards {
    /// The single file, or the index.
    path: PathBuf,
    files: Vec<WeightFile>,
    /// The number of the file that holds a tensor; empty for a single file.
    places: HashMap<String, usize>,
}

impl Shards {
    /// Opens a directory's weights. A single file takes precedence over an index.
    ///
    /// # Errors
    /// Neither exists; an index that names files outside this directory; a shard that is
    /// missing or damaged.
    pub(crate) fn open(dir: &Path) -> Result<Self, LoadError> {
        let (whole, index) = (dir.join(WHOLE), dir.join(INDEX));
        if whole.exists() || !index.exists() {
            let file = WeightFile::open(
                &whole,
                "the model's weights, or the shards listed in model.safetensors.index.json",
            )?;
            return Ok(Shards { path: whole, files: vec![file], places: HashMap::new() });
        }
        let json = read_json(&index, "an index of safetensors shards")?;
        let fields = Fields::new(&index, &json)?;
        let map = fields.object("weight_map")?.ok_or_else(|| fields.missing("weight_map"))?;
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let (mut files, mut places) = (Vec::new(), HashMap::new());
        for (tensor, value) in map.entries() {
            let name = value.as_str().filter(|name| is_file_name(name)).ok_or_else(|| {
                map.bad(tensor, value, "the name of a file in the same directory".to_owned())
            })?;
            let number = match numbers.get(name) {
                Some(&number) => number,
                None => {
                    let expected = "the shard that model.safetensors.index.json lists; download it";
                    files.push(WeightFile::open(&dir.join(name), expected)?);
                    numbers.insert(name, files.len() - 1);
                    files.len() - 1
                }
            };
            places.insert(tensor.to_owned(), number);
        }
        if files.is_empty() {
            return Err(fields.missing("weight_map"));
        }
        Ok(Shards { path: index, files, places })
    }

    /// SHA-256 of the file, hexadecimal, which `sha256` gives. For shards it is that of their
    /// digests, in the order of their names.
    ///
    /// # Errors
    /// Those of `sha256`; a text that is no SHA-256.
    pub(crate) fn hash_by<E: From<LoadError>>(
        &self,
        mut sha256: impl FnMut(&WeightFile) -> Result<String, E>,
    ) -> Result<String, E> {
        if let ([file], true) = (self.files.as_slice(), self.places.is_empty()) {
            return sha256(file);
        }
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by(|a, b| a.path("").cmp(b.path("")));
        let mut all = Sha256::new();
        for file in files {
            let text = sha256(file)?;
            let digest = bytes(&text).ok_or_else(|| LoadError::Read {
                path: file.path("").to_owned(),
                expected: "its SHA-256 as 64 hexadecimal digits",
                source: std::io::Error::other(text),
            })?;
            all.update(digest);
        }
        Ok(hexadecimal(&all.finalize()))
    }

    /// Names and shapes of all tensors.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (String, &[usize])> {
        self.files.iter().flat_map(move |file| {
            let ours = move |name: &String| self.file(name).is_some_and(|f| std::ptr::eq(f, file));
            let names = file.names().into_iter().filter(ours);
            names.filter_map(|name| file.shape(&name).map(|shape| (name, shape)))
        })
    }

    fn file(&self, tensor: &str) -> Option<&WeightFile> {
        let number =
            if self.places.is_empty() { Some(0) } else { self.places.get(tensor).copied() };
        self.files.get(number?)
    }

    fn missing(&self, tensor: &str, shape: &[usize]) -> LoadError {
        LoadError::MissingTensor {
            path: self.path.clone(),
            tensor: tensor.to_owned(),
            shape: shape.to_vec(),
        }
    }
}

impl WeightSource for Shards {
    fn check(&self, tensor: &str, shape: &[usize]) -> Result<(), LoadError> {
        self.file(tensor).ok_or_else(|| self.missing(tensor, shape))?.check(tensor, shape)
    }

    fn rows(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), LoadError> {
        let missing = || self.missing(tensor, &[row + out.len() / width.max(1), width]);
        self.file(tensor).ok_or_else(missing)?.rows(tensor, row, width, out)
    }

    fn path(&self, tensor: &str) -> &Path {
        self.file(tensor).map_or(&self.path, |file| file.path(tensor))
    }

    fn give_back(&self) {
        self.files.iter().for_each(WeightFile::give_back);
    }
}

/// Whether this is the bare name of a file. An index must not lead to other directories.
fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

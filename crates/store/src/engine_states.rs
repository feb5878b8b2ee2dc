//! Hidden states that an inference engine computed: one safetensors file for each request, as
//! vLLM's hidden-state extraction writes them.
//!
//! A file has `token_ids` `[tokens]` (I64 or I32) and `hidden_states` `[tokens, layers, hidden]`
//! or `[tokens, hidden]` (F32, F16 or BF16). Of several layers the last one counts.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use tokenroute_core::TokenId;

use crate::floats::floats;
use crate::{StoreError, atomic};

const KIND: &str = "file of hidden states";
const TOKENS: &str = "token_ids";
const STATES: &str = "hidden_states";
/// Most bytes of a header. Two tensors take some hundred.
const MOST_HEADER: u64 = 1 << 20;

/// The states of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineStates {
    /// Its tokens.
    pub tokens: Vec<TokenId>,
    /// Width of a state.
    pub width: usize,
    /// The state at each token `[tokens, width]`, of the file's last layer.
    pub values: Vec<f32>,
}

impl EngineStates {
    /// The safetensors files of a folder, or the file itself.
    ///
    /// # Errors
    /// A folder that cannot be read, or that has no such file.
    pub fn files(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
        if path.is_file() {
            return Ok(vec![path.to_owned()]);
        }
        let mut found = atomic::list(path)?;
        found.retain(|file| file.extension().is_some_and(|end| end == "safetensors"));
        if found.is_empty() {
            let what = "there is none; expected a folder of *.safetensors, one for each request";
            let (path, what) = (path.to_owned(), what.to_owned());
            return Err(StoreError::Format { path, kind: KIND, what });
        }
        Ok(found)
    }

    /// The tokens of a file. Its states are not read.
    ///
    /// # Errors
    /// A file that cannot be read or has another layout.
    pub fn tokens(path: &Path) -> Result<Vec<TokenId>, StoreError> {
        let mut opened = Opened::new(path)?;
        let tokens = opened.tokens();
        opened.told(tokens)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read or has another layout, or a state that is not a finite number.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let mut opened = Opened::new(path)?;
        let read = opened.states();
        opened.told(read)
    }
}

/// Why a file cannot be used.
enum Fault {
    Io(io::Error),
    Layout(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Fault::Layout(what)
    }
}

/// A file whose header is read.
struct Opened {
    path: PathBuf,
    file: File,
    /// Where the tensors begin, and bytes after it.
    data: (u64, u64),
    metadata: Metadata,
}

impl Opened {
    fn new(path: &Path) -> Result<Self, StoreError> {
        Self::open(path).map_err(|fault| named(path, fault))
    }

    fn open(path: &Path) -> Result<Self, Fault> {
        let mut file = File::open(path)?;
        let whole = file.metadata()?.len();
        let mut length = [0; 8];
        let expected = "expected safetensors with token_ids and hidden_states";
        let short = || format!("it has {whole} bytes; {expected}");
        file.read_exact(&mut length).map_err(|_| short())?;
        let header = u64::from_le_bytes(length);
        if header > MOST_HEADER || header > whole.saturating_sub(8) {
            return Err(format!("its header has {header} of {whole} bytes; {expected}").into());
        }
        let mut bytes = vec![0; header as usize];
        file.read_exact(&mut bytes)?;
        // This checks that the tensors have the bytes of their shapes, one after the other.
        let metadata =
            serde_json::from_slice(&bytes).map_err(|error| format!("{error}; {expected}"))?;
        let path = path.to_owned();
        Ok(Opened { path, file, data: (8 + header, whole - 8 - header), metadata })
    }

    fn told<T>(&self, found: Result<T, Fault>) -> Result<T, StoreError> {
        found.map_err(|fault| named(&self.path, fault))
    }

    fn info(&self, name: &str) -> Result<TensorInfo, String> {
        self.metadata.info(name).cloned().ok_or_else(|| format!("it has no tensor {name}"))
    }

    fn bytes(&mut self, name: &str, info: &TensorInfo) -> Result<Vec<u8>, Fault> {
        let (begin, end) = info.data_offsets;
        if begin > end || end as u64 > self.data.1 {
            return Err(format!("{name} ends after the file; write it again").into());
        }
        let mut bytes = vec![0; end - begin];
        self.file.seek(SeekFrom::Start(self.data.0 + begin as u64))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn tokens(&mut self) -> Result<Vec<TokenId>, Fault> {
        let info = self.info(TOKENS)?;
        let [_] = info.shape[..] else {
            return Err(format!("{TOKENS} is {:?}; expected [tokens]", info.shape).into());
        };
        let bytes = self.bytes(TOKENS, &info)?;
        let ids: Vec<i64> = match info.dtype {
            Dtype::I64 => bytes.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b)).collect(),
            Dtype::I32 => {
                let fours = bytes.as_chunks::<4>().0;
                fours.iter().map(|&b| i64::from(i32::from_le_bytes(b))).collect()
            }
            other => return Err(format!("{TOKENS} is {other:?}; expected I64 or I32").into()),
        };
        let id = |id: i64| {
            TokenId::try_from(id).map_err(|_| format!("{TOKENS} has {id}; expected ids from 0"))
        };
        Ok(ids.into_iter().map(id).collect::<Result<_, _>>()?)
    }

    fn states(&mut self) -> Result<EngineStates, Fault> {
        let tokens = self.tokens()?;
        let info = self.info(STATES)?;
        let (layers, width) = match info.shape[..] {
            // Without rows the other sizes may be any numbers.
            [rows, layers, width]
                if rows == tokens.len() && layers.checked_mul(width).is_some_and(|n| n > 0) =>
            {
                (layers, width)
            }
            [rows, width] if rows == tokens.len() && width > 0 => (1, width),
            ref other => {
                let expected =
                    format!("expected [{0}, layers, hidden] or [{0}, hidden]", tokens.len());
                return Err(format!("{STATES} is {other:?}; {expected}").into());
            }
        };
        let bytes = self.bytes(STATES, &info)?;
        let all = floats(STATES, info.dtype, &bytes)?;
        let last = |row: &[f32]| row[(layers - 1) * width..].to_vec();
        let values = match layers {
            1 => all,
            _ => all.chunks_exact(layers * width).flat_map(last).collect(),
        };
        Ok(EngineStates { tokens, width, values })
    }
}

fn named(path: &Path, fault: Fault) -> StoreError {
    let path = path.to_owned();
    match fault {
        Fault::Io(source) => StoreError::Read { path, source },
        Fault::Layout(what) => StoreError::Format { path, kind: KIND, what },
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    /// Name, type, shape and bytes.
    type Tensor = (&'static str, Dtype, Vec<usize>, Vec<u8>);

    /// A file of two tokens and two layers of three numbers, as vLLM writes it.
    fn file(folder: &Path, change: impl FnOnce(&mut [Tensor])) -> PathBuf {
        let ids: Vec<u8> = [7i64, 9].iter().flat_map(|id| id.to_le_bytes()).collect();
        let states: Vec<u8> =
            (0..12u8).flat_map(|i| half::bf16::from_f32(f32::from(i)).to_le_bytes()).collect();
        let mut tensors =
            [(STATES, Dtype::BF16, vec![2, 2, 3], states), (TOKENS, Dtype::I64, vec![2], ids)];
        change(&mut tensors);
        let views = tensors.iter().map(|(name, dtype, shape, data)| {
            (*name, TensorView::new(*dtype, shape.clone(), data).expect("a tensor"))
        });
        let path = folder.join("request-0.safetensors");
        atomic::write(&path, &safetensors::serialize(views, None).expect("a file"))
            .expect("written");
        path
    }

    #[test]
    fn the_last_layer_of_a_request_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = file(folder.path(), |_| {});
        let found = EngineStates::files(folder.path()).expect("a folder");
        assert_eq!(found, std::slice::from_ref(&path));
        assert_eq!(EngineStates::tokens(&path).expect("a file"), [7, 9]);
        let read = EngineStates::read(&path).expect("a file");
        assert_eq!((read.width, &read.values[..]), (3, &[3.0, 4.0, 5.0, 9.0, 10.0, 11.0][..]));
        let path = file(folder.path(), |tensors| tensors[0].2 = vec![2, 6]);
        assert_eq!(EngineStates::read(&path).expect("a file").width, 6);
    }

    #[test]
    fn a_file_of_another_layout_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let check = |path: &Path, says: &str| {
            let error = EngineStates::read(path).expect_err(says).to_string();
            assert!(error.contains("request-0.safetensors") && error.contains(says), "{error}");
        };
        check(&file(folder.path(), |t| t[0].0 = "states"), "no tensor hidden_states");
        check(&file(folder.path(), |t| t[0].2 = vec![3, 4]), "is [3, 4]; expected [2, layers");
        let no_rows = |t: &mut [Tensor]| {
            (t[0].2, t[0].3) = (vec![0, usize::MAX, 2], Vec::new());
            (t[1].2, t[1].3) = (vec![0], Vec::new());
        };
        check(&file(folder.path(), no_rows), "expected [0, layers, hidden]");
        check(&file(folder.path(), |t| t[0].1 = Dtype::I16), "is I16; expected F32, F16 or BF16");
        check(&file(folder.path(), |t| t[1].3[7] = 0x80), "expected ids from 0");
        check(
            &file(folder.path(), |t| t[0].3[..2].copy_from_slice(&[0x80, 0x7f])),
            "hidden_states[0]",
        );
        let path = file(folder.path(), |_| {});
        let bytes = atomic::read(&path).expect("a file");
        atomic::write(&path, &bytes[..bytes.len() - 20]).expect("written");
        check(&path, "ends after the file");
        atomic::write(&path, &bytes[..20]).expect("written");
        check(&path, "bytes");
        let empty = tempfile::tempdir().expect("a folder");
        let error = EngineStates::files(empty.path()).expect_err("no file").to_string();
        assert!(error.contains("expected a folder of *.safetensors"), "{error}");
    }
}

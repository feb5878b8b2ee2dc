//! Helpers of the targets: a folder in memory for readers that take paths, a model small enough
//! to write for every input, and both ends of a connection.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokenroute_core::{Detail, Feed, LanguageModel};
use tokenroute_model::Decoder;
use tokenroute_server::net::ConnectionLimits;

/// `config.json` of the model with the weights of [`weights`].
pub const CONFIG: &str = r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":4,"hidden_size":4,"intermediate_size":4,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"max_position_embeddings":8,"rms_norm_eps":1e-6,"rope_theta":10000.0,"tie_word_embeddings":true,"eos_token_id":3}"#;

/// `tokenizer.json` of the same model.
pub const TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":3,"content":"<end>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},"post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}"#;

/// A temporary folder, in memory if the system has /dev/shm.
pub struct Folder(TempDir);

impl Default for Folder {
    fn default() -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Folder(TempDir::new_in(parent).expect("a folder for temporary files"))
    }
}

impl Folder {
    /// The path of the folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file into the folder.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).expect("a file in the folder");
        path
    }
}

/// The weights of a model in the shapes of [`CONFIG`], as a safetensors file.
pub fn weights() -> Vec<u8> {
    let layer = "model.layers.0";
    let shapes: [(String, &[usize]); 11] = [
        ("model.embed_tokens.weight".into(), &[4, 4]),
        (format!("{layer}.self_attn.q_proj.weight"), &[4, 4]),
        (format!("{layer}.self_attn.k_proj.weight"), &[2, 4]),
        (format!("{layer}.self_attn.v_proj.weight"), &[2, 4]),
        (format!("{layer}.self_attn.o_proj.weight"), &[4, 4]),
        (format!("{layer}.mlp.gate_proj.weight"), &[4, 4]),
        (format!("{layer}.mlp.up_proj.weight"), &[4, 4]),
        (format!("{layer}.mlp.down_proj.weight"), &[4, 4]),
        (format!("{layer}.input_layernorm.weight"), &[4]),
        (format!("{layer}.post_attention_layernorm.weight"), &[4]),
        ("model.norm.weight".into(), &[4]),
    ];
    let shapes = shapes.map(|(name, shape)| (name, shape.to_vec()));
    safetensors(shapes, Value::Null).expect("a small file")
}

/// A safetensors file with tensors of these shapes, all of whose numbers are 0.25. `None` if they
/// are many.
pub fn safetensors(
    shapes: impl IntoIterator<Item = (String, Vec<usize>)>,
    metadata: Value,
) -> Option<Vec<u8>> {
    const MOST: usize = 1 << 14;
    let (mut header, mut at) = (Map::new(), 0);
    if !metadata.is_null() {
        header.insert("__metadata__".to_owned(), metadata);
    }
    for (name, shape) in shapes {
        let numbers = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n))?;
        let end = at + 4 * Some(numbers).filter(|&numbers| at / 4 + numbers.min(MOST) < MOST)?;
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [at, end]});
        header.insert(name, entry);
        at = end;
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(0.25f32.to_le_bytes().repeat(at / 4));
    Some(file)
}

/// Runs a loaded model on one token.
pub fn decode(decoder: &Decoder) {
    let mut state = decoder.start();
    let mut feeds = [Feed { state: &mut state, tokens: &[0], from: 0 }];
    // Overflowing weights are an error of the model, not of the reader.
    let _ = decoder.advance(&mut feeds, Detail::Full);
}

/// A folder with the model of [`CONFIG`].
pub fn model_files() -> Folder {
    let folder = Folder::default();
    folder.put("config.json", CONFIG.as_bytes());
    folder.put("tokenizer.json", TOKENIZER.as_bytes());
    folder.put("model.safetensors", &weights());
    folder
}

/// The input, or a sound file with bytes replaced: an input that begins with 1 is a list of
/// places (three bytes each) and new bytes.
pub fn spoilt<'b>(sound: &[u8], input: &'b [u8]) -> Cow<'b, [u8]> {
    let Some((1, changes)) = input.split_first() else { return Cow::Borrowed(input) };
    let mut file = sound.to_vec();
    for change in changes.chunks_exact(4) {
        let place =
            usize::from(change[0]) << 16 | usize::from(change[1]) << 8 | usize::from(change[2]);
        let len = file.len();
        file[place % len] = change[3];
    }
    Cow::Owned(file)
}

/// libFuzzer's hook ends the process at every panic. Without it, a panic that the code under test
/// catches is no fault; others still end the process.
pub fn let_panics_be_caught() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

/// A free port of this machine.
pub fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Limits that one fuzzing client does not meet.
pub fn unlimited() -> ConnectionLimits {
    ConnectionLimits { per_peer: usize::MAX, ..ConnectionLimits::default() }
}

/// Sends an input to a server and reads what comes back. The first byte chooses whether the rest
/// is sent as it is, or as the body of a request to one of these paths.
pub fn exchange(address: SocketAddr, paths: &[&str], input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    let path = paths.get(usize::from(first) % (paths.len() + 1));
    let mut sent = match path {
        Some(path) => format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            rest.len()
        )
        .into_bytes(),
        None => Vec::new(),
    };
    sent.extend(rest);
    let mut socket = TcpStream::connect(address).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    // A server may refuse before it has read all.
    let _ = socket.write_all(&sent);
    if path.is_none() {
        // What is sent may be no whole request. A server takes a client that closes its side for
        // one that has left, and does not answer it.
        let _ = socket.shutdown(Shutdown::Write);
    }
    let _ = socket.read_to_end(&mut Vec::new());
}

/// The address of a server that answers every request with these bytes.
pub fn replying(reply: &'static Mutex<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind(loopback()).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { continue };
            let _ = socket.set_nodelay(true);
            // A client may keep several connections.
            thread::spawn(move || {
                while read_request(&mut socket) {
                    let body = reply.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let length = body.len();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    if socket.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Reads a request to its end. There is none if the client has left.
fn read_request(socket: &mut TcpStream) -> bool {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some(head) = text.find("\r\n\r\n") {
            let length = text.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
            if request.len() >= head + 4 + length {
                return true;
            }
        }
        match socket.read(&mut part) {
            Ok(0) | Err(_) => return false,
            Ok(read) => request.extend(&part[..read]),
        }
    }
}

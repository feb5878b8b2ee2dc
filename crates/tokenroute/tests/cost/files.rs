//! Files: GGUF, safetensors, tokenizers, question sets, label tables, router files.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokenroute_core::{LabelRow, Relation, TrainingRecord};
use tokenroute_model::gguf::{Gguf, Value as GgufValue};
use tokenroute_model::{LoadOptions, RouterScorer, Tokenizer, load_model};
use tokenroute_store::{Columns, RouterFile, Schema, encode_labels, load_questions, read_labels};

use crate::growth::{Measure, growth};

/// Compares the families of every kind of file.
pub fn grow(measure: Measure) -> Vec<String> {
    [gguf(measure), safetensors(measure), routers(measure), tokenizers(measure), rows(measure)]
        .concat()
}

/// A file in a folder of its own.
struct File {
    folder: TempDir,
    path: PathBuf,
}

impl File {
    fn new(name: &str, bytes: &[u8]) -> File {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        File { folder, path }
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A GGUF file with these entries, each a key with a typed value, and these tensors.
fn gguf_file(entries: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((entries.len() as u64).to_le_bytes());
    entries.iter().chain(tensors).for_each(|part| file.extend(part));
    file.resize(file.len().next_multiple_of(32) + 4096, 0);
    file
}

fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key)[..], &kind.to_le_bytes(), value].concat()
}

fn array(kind: u32, values: &[Vec<u8>]) -> Vec<u8> {
    let count = (values.len() as u64).to_le_bytes();
    [&kind.to_le_bytes()[..], &count, &values.concat()].concat()
}

fn tensor(name: &str, at: u64) -> Vec<u8> {
    let head = [&text(name)[..], &1_u32.to_le_bytes(), &1_u64.to_le_bytes()].concat();
    [&head[..], &0_u32.to_le_bytes(), &at.to_le_bytes()].concat()
}

fn gguf(measure: Measure) -> Vec<String> {
    const U32: u32 = 4;
    const TEXT: u32 = 8;
    const ARRAY: u32 = 9;
    let number = |i: usize| entry(&format!("key.{i}"), U32, &[1, 0, 0, 0]);
    let numbers = |n: usize| (0..n).map(number).collect::<Vec<_>>();
    let tokens = |n: usize| (0..n).map(|i| text(&format!("t{i}"))).collect::<Vec<_>>();
    let merges = |n: usize| (0..n).map(|i| text(&format!("t{i} t{}", i + 1))).collect::<Vec<_>>();
    let named = |n: usize| {
        vec![
            entry("general.architecture", TEXT, &text("llama")),
            entry("tokenizer.ggml.model", TEXT, &text("gpt2")),
            entry("tokenizer.ggml.pre", TEXT, &text("llama-bpe")),
            entry("tokenizer.ggml.tokens", ARRAY, &array(TEXT, &tokens(n))),
            entry("tokenizer.ggml.merges", ARRAY, &array(TEXT, &merges(n / 2))),
        ]
    };
    let nested = |n: usize| {
        let heads = [ARRAY.to_le_bytes().to_vec(), 1_u64.to_le_bytes().to_vec()].concat();
        let innermost = array(U32, &[vec![1, 0, 0, 0]]);
        vec![entry("deep", ARRAY, &[heads.repeat(n), innermost].concat())]
    };
    type Family<'f> = (&'f str, usize, &'f dyn Fn(usize) -> Vec<u8>);
    let families: [Family<'_>; 8] = [
        ("entries", 4000, &|n| gguf_file(&numbers(n), &[])),
        ("one long text", 100_000, &|n| {
            gguf_file(&[entry("general.name", TEXT, &text(&"x".repeat(n)))], &[])
        }),
        ("long keys", 60, &|n| {
            let long = |i: usize| entry(&format!("{}{i}", "k".repeat(4000)), U32, &[1, 0, 0, 0]);
            gguf_file(&(0..n).map(long).collect::<Vec<_>>(), &[])
        }),
        ("a list of texts", 8000, &|n| {
            gguf_file(&[entry("general.tags", ARRAY, &array(TEXT, &tokens(n)))], &[])
        }),
        ("lists within lists", 2000, &|n| gguf_file(&nested(n), &[])),
        ("tensors", 4000, &|n| {
            let tensors: Vec<_> = (0..n).map(|i| tensor(&format!("blk.{i}.x"), 0)).collect();
            gguf_file(&[], &tensors)
        }),
        ("a tokenizer", 4000, &|n| gguf_file(&named(n), &[])),
        ("cut short", 4000, &|n| {
            let mut file = gguf_file(&numbers(n), &[]);
            file.truncate(file.len() - 5000);
            file
        }),
    ];
    let read = |bytes: &Vec<u8>| {
        let Ok(file) = Gguf::parse(bytes.clone()) else { return };
        for key in file.keys() {
            if let Some(GgufValue::Array(list)) = file.get(key) {
                assert_eq!(list.iter().count(), list.len());
            }
        }
        drop(file.config());
        drop(file.tokenizer());
        for name in file.weight_names().unwrap_or_default() {
            drop(file.weight(&name));
        }
    };
    let grow =
        |(name, n, make): Family<'_>| growth(measure, &format!("GGUF, {name}"), n, make, read);
    families.map(grow).concat()
}

/// A safetensors file with this header.
fn with_header(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat()
}

fn safetensors(measure: Measure) -> Vec<String> {
    let tensor = json!({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]});
    let empty = json!({"dtype": "F32", "shape": [0], "data_offsets": [4, 4]});
    let many = |n: usize| {
        let all = (1..n).map(|i| (format!("model.layers.{i}.x"), empty.clone()));
        Value::from_iter(all.chain([("a".to_owned(), tensor.clone())])).to_string()
    };
    let metadata = |n: usize| {
        let all = Value::from_iter((0..n).map(|i| (format!("key {i}"), json!("value"))));
        json!({"__metadata__": all, "a": tensor}).to_string()
    };
    type Family<'f> = (&'f str, usize, &'f dyn Fn(usize) -> String);
    let families: [Family<'_>; 7] = [
        ("tensors", 2000, &many),
        ("metadata", 2000, &metadata),
        ("a long name", 100_000, &|n| {
            Value::from_iter([("x".repeat(n), tensor.clone())]).to_string()
        }),
        ("a router's header", 60_000, &|n| {
            json!({"__metadata__": {"tokenroute": "[".repeat(n)}, "a": tensor}).to_string()
        }),
        ("brackets", 60_000, &|n| "[".repeat(n)),
        ("objects", 20_000, &|n| "{\"a\":".repeat(n)),
        ("spaces", 100_000, &|n| format!("{{{}}}", " ".repeat(n))),
    ];
    let model = crate::servers::bundled("word-problems-slm");
    let make = |header: &dyn Fn(usize) -> String, n| {
        let file = File::new("model.safetensors", &with_header(&header(n)));
        for name in ["config.json", "tokenizer.json"] {
            std::fs::copy(model.join(name), file.folder.path().join(name)).expect("a copy");
        }
        file
    };
    let read = |file: &File| {
        drop(RouterScorer::open(&file.path));
        drop(RouterFile::read(&file.path));
        drop(load_model(file.folder.path(), &LoadOptions::default()));
    };
    let grow = |(name, n, header): Family<'_>| {
        growth(measure, &format!("safetensors, {name}"), n, |n| make(header, n), read)
    };
    families.map(grow).concat()
}

/// A router file with n operators of these, each with its tensors.
fn router(operator: &Value, tensors: usize, n: usize) -> File {
    let last = json!({"op": "linear", "inputs": 1, "outputs": 1});
    let operators = [vec![operator.clone(); n], vec![last]].concat();
    let header = json!({
        "format": 2,
        "architecture": {"kind": "operators", "name": "many", "operators": operators},
        "features": {"hidden": 1, "top_k": 0},
        "normalisation": {"mean": [0.0], "scale": [1.0]},
        "platt": {"scale": 1.0, "bias": 0.0},
        "slm_hash": "", "llm_hash": "", "tokenizer_hash": "", "labels_hash": "",
        "calibration": [],
        "training": TrainingRecord::default(),
    });
    let shape = |i: usize, part: &str| match part {
        "weight" if i == n * tensors => vec![1, 1],
        _ => vec![1],
    };
    let named = (0..=n * tensors).flat_map(|i| ["weight", "bias"].map(|part| (i, part)));
    let all = named.enumerate().map(|(at, (i, part))| {
        let place = [4 * at, 4 * at + 4];
        let tensor = json!({"dtype": "F32", "shape": shape(i, part), "data_offsets": place});
        (format!("layers.{i}.{part}"), tensor)
    });
    let metadata = json!({"tokenroute.router": header.to_string()});
    let all = Value::from_iter(all.chain([("__metadata__".to_owned(), metadata)])).to_string();
    let numbers = vec![0; 8 * (n * tensors + 1)];
    let file = [&(all.len() as u64).to_le_bytes()[..], all.as_bytes(), &numbers].concat();
    File::new("router.safetensors", &file)
}

fn routers(measure: Measure) -> Vec<String> {
    let families = [
        ("layers", 400, json!({"op": "affine", "width": 1}), 1),
        ("activations", 2000, json!({"op": "activation", "activation": "relu"}), 0),
    ];
    let read = |file: &File| {
        RouterScorer::open(&file.path).expect("a router");
        RouterFile::read(&file.path).expect("a router");
    };
    let grow = |(name, n, operator, tensors): (&str, usize, Value, usize)| {
        let make = |n| router(&operator, tensors, n);
        growth(measure, &format!("router file, {name}"), n, make, read)
    };
    families.map(grow).concat()
}

/// A sound `tokenizer.json` whose parts a family replaces.
fn tokenizer(change: impl Fn(&mut Value)) -> Vec<u8> {
    let path = crate::servers::bundled("word-problems-slm").join("tokenizer.json");
    let bytes = std::fs::read(path).expect("a tokenizer");
    let mut tokenizer: Value = serde_json::from_slice(&bytes).expect("JSON");
    change(&mut tokenizer);
    tokenizer.to_string().into_bytes()
}

fn tokenizers(measure: Measure) -> Vec<String> {
    let special = |id: usize, content: String| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    };
    let vocabulary = |n: usize, name: &dyn Fn(usize) -> String| {
        tokenizer(|json| {
            let vocab = json["model"]["vocab"].as_object_mut().expect("a vocabulary");
            let first = vocab.len() + 100;
            vocab.extend((0..n).map(|i| (name(i), json!(first + i))));
        })
    };
    let added = |n: usize, content: &dyn Fn(usize) -> String| {
        tokenizer(|json| {
            json["added_tokens"] = (0..n).map(|i| special(5000 + i, content(i))).collect();
        })
    };
    let sequence = |n: usize, part: &Value| {
        let all: Vec<Value> = vec![part.clone(); n];
        tokenizer(|json| json["normalizer"] = json!({"type": "Sequence", "normalizers": all}))
    };
    let nested = |n: usize| {
        let mut text = r#"{"type":"Sequence","normalizers":["#.repeat(n);
        text += &"]}".repeat(n);
        let whole = String::from_utf8(tokenizer(|json| json["normalizer"] = json!("HERE")));
        whole.expect("UTF-8").replace("\"HERE\"", &text).into_bytes()
    };
    type Family<'f> = (&'f str, usize, &'f dyn Fn(usize) -> Vec<u8>);
    let families: [Family<'_>; 9] = [
        ("entries", 4000, &|n| vocabulary(n, &|i| format!("word{i}"))),
        ("one long entry", 50_000, &|n| vocabulary(1, &|_| "x".repeat(n))),
        ("special tokens", 600, &|n| added(n, &|i| format!("<|special {i}|>"))),
        ("special tokens with one beginning", 600, &|n| {
            added(n, &|i| format!("{}{i}", "a".repeat(50)))
        }),
        ("one long special token", 20_000, &|n| added(1, &|_| "a".repeat(n))),
        ("merges", 2000, &|n| {
            tokenizer(|json| {
                let merge = json["model"]["merges"][0].clone();
                json["model"]["merges"] = json!(vec![merge; n]);
            })
        }),
        ("normalisers", 1000, &|n| sequence(n, &json!({"type": "NFC"}))),
        ("normalisers within one another", 2000, &nested),
        ("brackets", 50_000, &|n| "[".repeat(n).into_bytes()),
    ];
    let words = "Mia has 3 apples. ".repeat(20) + &"a".repeat(500);
    let read = |file: &File| {
        if let Ok(tokenizer) = Tokenizer::read(&file.path) {
            drop(tokenizer.encode(&words));
            drop(tokenizer.special_token_in(&words));
            drop(tokenizer.token_texts());
            drop(tokenizer.pair_hash());
        }
    };
    let grow = |(name, n, bytes): Family<'_>| {
        let make = |n| File::new("tokenizer.json", &bytes(n));
        growth(measure, &format!("tokenizer, {name}"), n, make, read)
    };
    families.map(grow).concat()
}

fn question(id: &str, text: &str, choices: usize) -> String {
    let labels: Vec<String> = (0..choices).map(|i| format!("L{i}")).collect();
    json!({"id": id, "question": text, "choices": {"label": labels, "text": labels},
           "answerKey": "L0"})
    .to_string()
}

fn rows(measure: Measure) -> Vec<String> {
    let lines = |n: usize, line: &dyn Fn(usize) -> String| {
        (0..n).map(|i| line(i) + "\n").collect::<String>()
    };
    type Family<'f> = (&'f str, usize, &'f dyn Fn(usize) -> String);
    let lines_of_json: [Family<'_>; 10] = [
        ("lines", 1000, &|n| lines(n, &|i| question(&format!("q{i}"), "How many?", 2))),
        ("lines with one id", 1000, &|n| lines(n, &|_| question("q", "How many?", 2))),
        ("lines without an id", 1000, &|n| {
            lines(n, &|_| json!({"question": "How many?", "answer": "#### 4"}).to_string())
        }),
        ("a long question", 200_000, &|n| question("q", &"a ".repeat(n), 2)),
        ("choices", 2000, &|n| question("q", "Which?", n)),
        ("escapes", 50_000, &|n| question("q", "HERE", 2).replace("HERE", &"\\u0041".repeat(n))),
        ("brackets", 50_000, &|n| "[".repeat(n)),
        ("empty lines", 100_000, &|n| "\n".repeat(n)),
        ("fields", 4000, &|n| {
            Value::from_iter((0..n).map(|i| (format!("f{i}"), json!(1)))).to_string()
        }),
        ("a field again and again", 8000, &|n| {
            format!("{{{}\"answerKey\":\"A\"}}", "\"id\":\"q\",".repeat(n))
        }),
    ];
    let row = || json!({"question": "How many?", "answer": "#### 4"});
    let json: [Family<'_>; 3] = [
        ("rows", 1000, &|n| json!(vec![row(); n]).to_string()),
        ("brackets", 50_000, &|n| "[".repeat(n)),
        ("empty objects", 20_000, &|n| format!("[{}{{}}]", "{},".repeat(n))),
    ];
    let csv: [Family<'_>; 6] = [
        ("rows", 1000, &|n| "question,answer\n".to_owned() + &"How many?,#### 4\n".repeat(n)),
        ("columns", 4000, &|n| {
            let names: Vec<String> = (0..n).map(|i| format!("c{i}")).collect();
            format!("question,answer,{}\nHow many?,#### 4,{}", names.join(","), ",".repeat(n - 1))
        }),
        ("a quoted field", 200_000, &|n| {
            format!("question,answer\n\"{}\",#### 4", "a\n".repeat(n))
        }),
        ("quotation marks", 50_000, &|n| "\"".repeat(n)),
        ("commas", 50_000, &|n| ",".repeat(n)),
        ("short rows", 20_000, &|n| "question,answer\n".to_owned() + &"a\n".repeat(n)),
    ];
    let schemas = [Schema::Plain, Schema::CommonsenseQa, Schema::Gsm8k, Schema::Mmlu, Schema::Aqua];
    let read = |file: &File| {
        for schema in schemas {
            drop(load_questions(&file.path, schema, None));
        }
    };
    let mut found = Vec::new();
    for (file, families) in [
        ("questions.jsonl", &lines_of_json[..]),
        ("questions.json", &json[..]),
        ("questions.csv", &csv[..]),
    ] {
        for (name, n, text) in families {
            let make = |n| File::new(file, text(n).as_bytes());
            found.extend(growth(measure, &format!("{file}, {name}"), *n, make, read));
        }
    }
    let shards = |n: usize| {
        let rows: Vec<LabelRow> = (0..n as u32).map(label).collect();
        File::new("shard.parquet", &encode_labels(&rows).expect("good rows"))
    };
    let read_shard = |file: &File| drop(read_labels(&file.path, Columns::All));
    let table = growth(measure, "label table, rows", 4000, shards, read_shard);
    [found, table].concat()
}

fn label(i: u32) -> LabelRow {
    LabelRow {
        question: format!("q{i}"),
        split: "router-train".to_owned(),
        round: 0,
        position: i,
        prefix_hash: u64::from(i),
        previous: 1,
        slm_token: 2,
        llm_token: 3,
        llm_probability: None,
        top: vec![(2, 0.75), (3, 0.25)],
        entropy: 0.5,
        sentence_entropy: 0.5,
        hidden: vec![i as f32; 8],
        relation: Relation::Divergent,
        keep_grade: 0.0,
        offload_grade: 1.0,
        target: 0.0,
        weight: 1.0,
        rollouts: 1,
    }
}

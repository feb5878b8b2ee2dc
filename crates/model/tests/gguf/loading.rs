//! Models loaded from GGUF files give the steps of the directory with the same weights.
//! Files that cannot are refused by name.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokenroute_core::{LanguageModel, Step};
use tokenroute_model::gguf::{Gguf, Kind};
use tokenroute_model::{
    ChatOptions, ChatTemplate, Format, LoadOptions, LoadedModel, Message, Tokenizer,
    continue_greedy, load_decoder, load_model,
};

use crate::models::{exported, load_bytes, load_directory, model, replace, step_bits, steps};
use crate::support::{ModelFiles, tokenizer};

/// The key of the whole tokenizer. Once it is spoilt, the file's own lists are used.
const WHOLE: &str = "tokenizer.huggingface.json";

#[test]
fn floats_give_what_the_directory_gives_bit_for_bit() {
    for kind in ["qwen2", "qwen3", "llama"] {
        let files = model(kind);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let directory = load_directory(&files, dir.path(), &LoadOptions::default());
        for stored in [Kind::F32, Kind::F16] {
            let bytes = exported(&files, stored, &[]).expect("a file");
            let file = load_bytes(&bytes).unwrap_or_else(|e| panic!("{kind}: {e}"));
            assert_eq!(step_bits(&file), step_bits(&directory), "{kind} in {}", stored.name());
            let greedy = |model: &LoadedModel| {
                let mut state = model.decoder.start();
                let stop = |token| model.vocabulary.is_end(token);
                continue_greedy(&model.decoder, &mut state, &[7, 9], 24, stop).expect("tokens")
            };
            assert_eq!(greedy(&file), greedy(&directory), "{kind} in {}", stored.name());
            assert_eq!(file.vocabulary.hash(), directory.vocabulary.hash());
            assert!(file.vocabulary.is_end(0) && !file.vocabulary.is_end(45));
            let hash: String =
                Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(file.decoder.info().weights_hash, hash);
        }
    }
}

#[test]
fn blocks_give_what_quantising_the_directory_gives_and_about_what_floats_give() {
    for kind in ["qwen2", "qwen3", "llama"] {
        let files = model(kind);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let floats = steps(&load_directory(&files, dir.path(), &LoadOptions::default()));
        for (stored, format, tolerance) in [
            (Kind::Q8_0, Format::Q8_0, 0.05),
            (Kind::Q4_0, Format::Q4_0, 0.6),
            (Kind::Q4K, Format::Q4K, 0.5),
        ] {
            let file = load_bytes(&exported(&files, stored, &[]).expect("a file"));
            let file = file.unwrap_or_else(|e| panic!("{kind}: {e}"));
            let options = LoadOptions { quantize: Some(format), ..LoadOptions::default() };
            let directory = load_model(dir.path(), &options).expect("a sound model");
            assert_eq!(step_bits(&file), step_bits(&directory), "{kind} in {format}");
            // Root mean square of the difference over that of the logits.
            let (mut off, mut size) = (0.0, 0.0);
            for (float, step) in floats.iter().zip(&steps(&file)) {
                let logits = |step: &Step| step.logits.clone().expect("logits");
                for (a, b) in logits(float).into_iter().zip(logits(step)) {
                    off += f64::from(a - b).powi(2);
                    size += f64::from(a).powi(2);
                }
            }
            let share = (off / size).sqrt();
            assert!(share > 0.0 && share < tolerance, "{kind} in {format}: {share}");
        }
    }
}

#[test]
fn a_decoder_alone_has_all_rows() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("model.GGUF");
    std::fs::write(&path, exported(&model("qwen2"), Kind::F32, &[]).expect("a file"))
        .expect("a writable directory");
    let options = LoadOptions { name: Some("it".to_owned()), ..LoadOptions::default() };
    let decoder = load_decoder(&path, &options).expect("a decoder");
    assert_eq!((decoder.info().vocabulary, decoder.info().name.as_str()), (50, "it"));
}

#[test]
fn a_tokenizer_made_from_metadata_gives_the_same_ids() {
    let mut bytes = exported(&model("llama"), Kind::F32, &[]).expect("a file");
    replace(&mut bytes, WHOLE, "tokenizer.huggingface.jsox");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("a writable directory");
    let own = load_model(&path, &LoadOptions::default()).expect("a sound file");
    let json = dir.path().join("elsewhere.json");
    std::fs::write(&json, tokenizer().to_string()).expect("a writable directory");
    let given = Tokenizer::read(&json).expect("a sound tokenizer");
    assert_eq!(own.tokenizer.size(), given.size());
    for text in ["sand and 7.\nend?", "<end>a<stop>  an,d", "x<stop><end>"] {
        let ids = given.encode(text).expect("known characters");
        assert_eq!(own.tokenizer.encode(text).expect("known characters"), ids, "{text}");
        let text = |tokenizer: &Tokenizer| tokenizer.decode(&ids).expect("known ids");
        assert_eq!(text(&own.tokenizer), text(&given));
    }
    assert_eq!(own.vocabulary.end(), 0);

    // A tokenizer.json beside the file takes precedence.
    let mut other = tokenizer();
    other["model"]["merges"] = json!([]);
    std::fs::write(dir.path().join("tokenizer.json"), other.to_string()).expect("a file");
    for tokenizer in [
        load_model(&path, &LoadOptions::default()).expect("a sound file").tokenizer,
        Tokenizer::of_model(&path).expect("a tokenizer"),
    ] {
        assert_eq!(tokenizer.encode("and").expect("known characters").len(), 3);
    }
}

/// Byte-level BPE, ours and llama.cpp's, and SentencePiece.
#[test]
fn a_files_lists_give_the_tokenizer_that_their_json_gives() {
    let mut ours = exported(&model("qwen2"), Kind::F32, &[]).expect("a file");
    replace(&mut ours, WHOLE, "tokenizer.huggingface.jsox");
    let gemma = std::fs::read(crate::here("tiny-gemma3.gguf")).expect("the file");
    for bytes in [ours, crate::tiny(), gemma] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (file, json) = (dir.path().join("model.gguf"), dir.path().join("elsewhere.json"));
        std::fs::write(&file, &bytes).expect("a writable directory");
        let listed = Tokenizer::of_model(&file).expect("a sound file");
        let text = Gguf::parse(bytes).expect("a sound file").tokenizer().expect("a tokenizer");
        std::fs::write(&json, text.to_string()).expect("a writable directory");
        let given = Tokenizer::read(&json).expect("a sound tokenizer");
        assert_eq!(listed.difference(&given), None);
        assert_eq!(listed.pair_hash(), given.pair_hash());
        assert_eq!(listed.token_texts().expect("texts"), given.token_texts().expect("texts"));
        for text in ["sand and ab a<|end|>b.\n\n x<end>", "", "The sum of 3 and 4 is 7"] {
            // The smallest vocabularies lack most characters.
            let ids = |tokenizer: &Tokenizer| tokenizer.encode_prompt(text).expect("ids");
            assert_eq!(ids(&listed), ids(&given), "{text:?}");
            assert_eq!(listed.special_token_in(text), given.special_token_in(text));
        }
    }
}

#[test]
fn every_end_token_comes_back() {
    let mut files = model("qwen2");
    files.config["eos_token_id"] = json!([45, 0]);
    let file = load_bytes(&exported(&files, Kind::F32, &[]).expect("a file")).expect("a model");
    assert!(file.vocabulary.is_end(0) && file.vocabulary.is_end(45));

    // Files of other tools name one end token; those known by their text end answers too.
    files.tokenizer["added_tokens"][1]["content"] = json!("<|im_end|>");
    let vocabulary = files.tokenizer["model"]["vocab"].as_object_mut().expect("a vocabulary");
    vocabulary.remove("<stop>");
    files.config["eos_token_id"] = json!(0);
    let mut bytes = exported(&files, Kind::F32, &[]).expect("a file");
    let ends = |bytes: &[u8]| {
        let vocabulary = load_bytes(bytes).expect("a model").vocabulary;
        [0, 45].map(|id| vocabulary.is_end(id))
    };
    assert_eq!(ends(&bytes), [true, false]);
    replace(&mut bytes, WHOLE, "tokenizer.huggingface.jsox");
    assert_eq!(ends(&bytes), [true, true]);
}

#[test]
fn the_chat_template_is_in_the_file_or_beside_it() {
    const TEMPLATE: &str = "{{ messages[0].content }}{{ eos_token }}";
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("model.gguf");
    let write = |texts: &[(&str, &str)]| {
        let bytes = exported(&model("qwen2"), Kind::F32, texts).expect("a file");
        std::fs::write(&path, bytes).expect("a writable directory");
    };
    let prompt = || {
        let template = ChatTemplate::read(&path).expect("a readable file")?;
        let messages = [Message::new("user", "hi")];
        Some(template.render(&messages, &ChatOptions::default()).expect("a prompt"))
    };
    write(&[]);
    assert_eq!(prompt(), None);
    write(&[("tokenizer.chat_template", TEMPLATE)]);
    assert_eq!(prompt().as_deref(), Some("hi<end>"));
    std::fs::write(dir.path().join("chat_template.jinja"), "beside").expect("a file");
    assert_eq!(prompt().as_deref(), Some("beside"));
}

/// Checks that a file, spoilt in its model or its bytes, fails with a message that holds
/// all `words`.
fn refused(spoil: impl FnOnce(&mut ModelFiles), damage: impl FnOnce(&mut Vec<u8>), words: &[&str]) {
    let mut files = model("qwen2");
    spoil(&mut files);
    let mut bytes = exported(&files, Kind::F32, &[("split.count", "3")]).expect("a file");
    // The key is in every file, and is spoilt unless it is tested.
    if !words.contains(&"split.count") {
        replace(&mut bytes, "split.count", "splat.count");
    }
    damage(&mut bytes);
    let message = load_bytes(&bytes).expect_err("a spoilt file").to_string();
    for word in words.iter().chain(&["model.gguf"]) {
        assert!(message.contains(word), "{message:?} does not name {word:?}");
    }
}

#[test]
fn bad_files_are_refused_by_name() {
    const O: &str = "model.layers.1.self_attn.o_proj.weight";
    let take = |f: &mut ModelFiles| f.tensors.remove(O).expect("a tensor").1;
    let sound = |_: &mut ModelFiles| ();
    let whole = |_: &mut Vec<u8>| ();
    refused(|f| drop(take(f)), whole, &[O, "[64, 64]"]);
    refused(
        |f| {
            let values = take(f);
            f.tensors.insert(O.to_owned(), (vec![32, 128], values));
        },
        whole,
        &[O, "[32, 128]", "[64, 64]"],
    );
    refused(
        |f| f.tensors.get_mut(O).expect("a tensor").1[70] = f32::NAN,
        whole,
        &[O, "index 70", "NaN"],
    );
    refused(
        |f| {
            let bias = O.replace("weight", "bias");
            f.tensors.insert(bias, (vec![64], vec![0.5; 64]));
        },
        whole,
        &["blk.1.attn_output.bias", "architecture"],
    );
    refused(|f| f.config["eos_token_id"] = Value::Null, whole, &["tokenizer.ggml.eos_token_id"]);
    refused(sound, |b| b.truncate(b.len() / 2), &["cut short", "bytes"]);
    refused(sound, |b| b.truncate(3), &["magic number"]);
    refused(sound, |b| replace(b, "qwen2", "gemma"), &["general.architecture", "gemma", "qwen2"]);
    refused(sound, |b| replace(b, "ffn_up", "ffn_ap"), &["blk.0.ffn_ap.weight"]);
    refused(sound, whole, &["split.count", "1 to 99999 parts"]);
    let message = load_model("no/such.gguf".as_ref(), &LoadOptions::default());
    let message = message.expect_err("no file").to_string();
    assert!(message.contains("cannot read no/such.gguf"), "{message}");
}

//! Reads any bytes as a GGUF file. Every header must give values or errors.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tokenroute_model::Config;
use tokenroute_model::gguf::{Gguf, Value};

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Gguf::parse(bytes.to_vec()) else { return };
    for key in file.keys() {
        match file.get(key).expect("a key of the file") {
            Value::Array(array) => assert_eq!(array.iter().count(), array.len(), "{key}"),
            value => drop(value.to_string()),
        }
    }
    if let Ok(config) = file.config() {
        let _ = Config::parse(Path::new("file.gguf"), &config);
    }
    let _ = file.tokenizer();
    for name in file.weight_names().unwrap_or_default() {
        if let Ok(Some(weight)) = file.weight(&name) {
            assert_eq!(weight.to_f32().len(), weight.shape().iter().product::<usize>(), "{name}");
        }
    }
});

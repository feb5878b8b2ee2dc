//! What llama.cpp makes of the small files beside this one. Scripts have recorded it.

use serde_json::Value;
use tokenroute_core::{Detail, Feed, LanguageModel, Step, TokenId};
use tokenroute_model::{LoadOptions, LoadedModel, load_model};

use crate::here;

/// What a script has recorded of a file.
pub fn expected(name: &str) -> Value {
    let text = std::fs::read_to_string(here(&format!("{name}.json"))).expect("a recorded file");
    serde_json::from_str(&text).expect("JSON")
}

pub fn load(name: &str, options: &LoadOptions) -> LoadedModel {
    let path = here(&format!("{name}.gguf"));
    load_model(&path, options).unwrap_or_else(|error| panic!("{error}"))
}

pub fn ids(value: &Value) -> Vec<TokenId> {
    let list = value.as_array().expect("a list");
    list.iter().map(|id| id.as_u64().expect("an id") as TokenId).collect()
}

/// The steps of a sequence that is fed in parts of some length.
pub fn steps(model: &LoadedModel, ids: &[TokenId], part: usize) -> Vec<Step> {
    let mut state = model.decoder.start();
    let mut steps = Vec::new();
    for tokens in ids.chunks(part) {
        let mut feeds = [Feed { state: &mut state, tokens, from: 0 }];
        steps.extend(model.decoder.advance(&mut feeds, Detail::Logits).expect("steps").remove(0));
    }
    steps
}

/// Checks that logits differ from llama.cpp's by less than a share of its greatest.
pub fn logits_agree(name: &str, share: f64) {
    let (model, expected) = (load(name, &LoadOptions::default()), expected(name));
    let ids = ids(&expected["ids"]);
    let steps = steps(&model, &ids, ids.len());
    let (mut worst, mut most) = (0.0_f64, 0.0_f64);
    for (position, logits) in expected["logits"].as_object().expect("positions") {
        let step = &steps[position.parse::<usize>().expect("a position")];
        let found = step.logits.as_ref().expect("logits");
        let logits = logits.as_array().expect("logits");
        assert_eq!(found.len(), logits.len());
        for (found, logit) in found.iter().zip(logits) {
            let logit = logit.as_f64().expect("a number");
            worst = worst.max((f64::from(*found) - logit).abs());
            most = most.max(logit.abs());
        }
    }
    assert!(worst < share * most, "{name}: logits differ by {worst}, the greatest is {most}");
}

//! temporary
#[path = "../tests/common/mod.rs"]
mod common;
use tokenroute_core::Silent;
use common::*;
use tokenroute_label::*;
fn main() {
    let (slm, llm) = models();
    let q = questions(10); let it = items(&q);
    let v = tokenroute_cloud::ToyModel::vocabulary();
    Labeller { slm: &slm, llm: &llm, vocabulary: &v, decode: &decode, config: config() }
        .run(&it, &Round::Reference, std::path::Path::new(&std::env::args().nth(1).expect("dir")), &Silent).expect("ok");
}

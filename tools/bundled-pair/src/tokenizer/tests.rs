//! Tests of the tokenizer: determinism, round trips, files.

use super::*;

fn small() -> PairTokenizer {
    let config = TokenizerConfig { questions: 1500, ..TokenizerConfig::default() };
    PairTokenizer::train(&Generator::new(1), &config).unwrap()
}

#[test]
fn training_twice_gives_the_same_bytes() {
    assert_eq!(small().to_json().unwrap(), small().to_json().unwrap());
}

#[test]
fn chunks_encode_as_the_whole_and_decode_to_the_text() {
    let tokenizer = small();
    let generator = Generator::new(2);
    let mut texts: Vec<String> = (0..200)
        .flat_map(|i| {
            let question = generator.sample(TaskSplit::Test, i, 4);
            [question.prompt(), question.cot.unwrap()]
        })
        .collect();
    texts.extend(
        ["", " ", "a  b", " x \n y\n\n", "déjà 1 2!? it's", "end <|x|> 10%"].map(Into::into),
    );
    for text in texts {
        let whole = tokenizer.inner.encode_fast(text.as_str(), false).unwrap();
        // The second call answers from the cache.
        for _ in 0..2 {
            assert_eq!(tokenizer.encode(&text).unwrap(), whole.get_ids(), "{text:?}");
        }
        assert_eq!(tokenizer.decode(whole.get_ids()).unwrap(), text);
    }
}

#[test]
fn words_and_digits_are_single_tokens() {
    let ids = small().encode(" So the answer is 12 (B).").unwrap();
    assert_eq!(ids.len(), 10, "{ids:?}");
}

#[test]
fn a_saved_tokenizer_loads_and_encodes_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = small();
    tokenizer.save(dir.path()).unwrap();
    let loaded = PairTokenizer::load(dir.path()).unwrap();
    let text = "Mia buys 3 pens at 4 dollars each.";
    assert_eq!(loaded.encode(text).unwrap(), tokenizer.encode(text).unwrap());
    assert_eq!((loaded.eos(), loaded.vocab_size()), (tokenizer.eos(), tokenizer.vocab_size()));
    assert_eq!(loaded.eos() as usize + 1, loaded.vocab_size());
    assert!(PairTokenizer::load(Path::new("nowhere")).is_err());
}

#[test]
fn a_vocabulary_without_room_is_refused() {
    let config = TokenizerConfig { vocab_size: 256, ..TokenizerConfig::default() };
    let error = PairTokenizer::train(&Generator::new(1), &config).unwrap_err();
    assert!(error.to_string().contains("vocab_size is 256"));
}

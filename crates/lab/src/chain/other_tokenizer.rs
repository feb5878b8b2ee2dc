//! An LLM of an experiment that runs here and shares text alone with the SLM: it may have a
//! tokenizer of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tokenroute_core::{CommonPrefix, Continuation, Llm, PromptFormat, TokenId, common_prefix};
use tokenroute_llm::{
    InProcess, LlmPrompt, LlmText, LocalWriter, Metered, Prompts, TextCounts, TextLlm,
};
use tokenroute_model::{BytewiseTokenizer, Decoder, LoadedModel, ModelCard, Tokenizer};
use tokenroute_store as store;

use super::{Asked, Chain, ExperimentLlm};
use crate::llm_usage::TextUsage;
use crate::prompts::Prompter;

/// File in the sweep's folder with the LLM's own answers, graded.
const OWN: &str = "llm-in-its-own-tokens.json";
/// The split whose questions the report measures.
const SPLIT: &str = "test";
/// Prompts whose SLM states are kept for tokens inside a character.
const KEPT: usize = 16;

/// The LLM with all that its texts need.
pub struct OtherTokenizer {
    model: CommonPrefix<Decoder>,
    path: PathBuf,
    tokenizer: Tokenizer,
    text: Arc<LlmText>,
    slm: Arc<BytewiseTokenizer>,
    kept: Arc<InProcess<Decoder>>,
    end: TokenId,
    prompts: Arc<Prompts>,
    counts: Arc<TextCounts>,
}

/// The LLM's answers to the test questions in its own tokens, with no text tokenised again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OwnAnswers {
    /// Questions.
    pub(super) questions: usize,
    /// Right answers.
    pub(super) right: usize,
    /// Tokens of all answers.
    pub(super) tokens: usize,
    /// Positions that the LLM processed for them, each prompt whole.
    pub(super) positions: u64,
}

impl OtherTokenizer {
    /// Puts the LLM of a folder or file beside an SLM.
    pub(super) fn new(
        llm: LoadedModel,
        path: PathBuf,
        slm: &ModelCard,
        decoder: &Decoder,
    ) -> Result<Self> {
        let speller = Arc::new(llm.tokenizer.bytewise()?);
        Ok(OtherTokenizer {
            model: CommonPrefix::new(llm.decoder),
            path,
            tokenizer: llm.tokenizer,
            text: Arc::new(LlmText::new(speller, llm.vocabulary)),
            slm: Arc::new(slm.tokenizer.bytewise()?),
            kept: Arc::new(InProcess::with_prompts(decoder.clone(), KEPT)),
            end: slm.vocabulary.end(),
            prompts: Arc::new(Prompts::new(usize::MAX)),
            counts: Arc::default(),
        })
    }

    /// Makes the LLM's own prompts of all questions, and reads what they share.
    pub(super) fn announce<'a>(
        &self,
        format: &PromptFormat,
        special: bool,
        asked: impl Iterator<Item = &'a Asked>,
    ) -> Result<()> {
        let prompter = Prompter::new(format, &self.path)?;
        let mut made: Vec<Vec<TokenId>> = Vec::new();
        for part in asked {
            for (question, prompt) in part.questions.iter().zip(&part.prompts) {
                if !special {
                    Prompter::check_plain(question, &self.tokenizer)?;
                }
                let own = prompter.prompt(question, &self.tokenizer)?;
                self.prompts.announce(prompt, LlmPrompt::Tokens(own.clone()));
                made.push(own);
            }
        }
        Ok(self.model.read(common_prefix(made.iter().map(Vec::as_slice)))?)
    }

    /// The LLM as it is called, in the SLM's tokens. Its positions are counted as those of an
    /// LLM that shares the tokenizer.
    pub(super) fn called(&self, prompts: usize) -> Box<dyn Llm + '_> {
        let writer =
            LocalWriter::new(InProcess::with_prompts(&self.model, prompts), Arc::clone(&self.text));
        let (slm, kept) = (Arc::clone(&self.slm), Arc::clone(&self.kept));
        let llm = TextLlm::new(writer, slm, kept, self.end, Arc::clone(&self.prompts));
        Box::new(Metered::new(llm.counting(Arc::clone(&self.counts)), prompts))
    }

    /// What the answers took so far, in the LLM's own tokens.
    pub(super) fn usage(&self) -> TextUsage {
        self.counts.totals().into()
    }

    /// Whether its weights are random.
    pub(super) fn is_random(&self) -> bool {
        self.model.model().config().random_weights
    }

    /// The LLM's answers in its own tokens.
    fn own(&self, asked: &Asked, tokens: usize) -> Result<OwnTexts> {
        let llm = InProcess::with_prompts(&self.model, asked.prompts.len());
        let prompts: Vec<Arc<LlmPrompt>> =
            asked.prompts.iter().filter_map(|prompt| self.prompts.known(prompt)).collect();
        let mut wanted = Vec::with_capacity(prompts.len());
        for prompt in &prompts {
            let LlmPrompt::Tokens(context) = &**prompt else {
                bail!("an LLM in process has a prompt that is not in its tokens");
            };
            wanted.push(Continuation { context, tokens, sampling: None, resumed: false });
        }
        let vocabulary = self.text.vocabulary();
        let mut own = OwnTexts::default();
        for reply in llm.continuations(&wanted, vocabulary) {
            let reply = reply?;
            own.tokens += reply.tokens.len();
            own.positions += reply.positions;
            own.texts.push(vocabulary.read(&reply.tokens, |ids| self.tokenizer.decode(ids))?);
        }
        Ok(own)
    }
}

/// Answers that an LLM made in its own tokens.
#[derive(Debug, Default)]
struct OwnTexts {
    /// Each answer, and whether it ended by itself.
    texts: Vec<(String, bool)>,
    tokens: usize,
    positions: u64,
}

impl Chain<'_> {
    /// Measures the LLM in its own tokens, where they are not the SLM's, and keeps the result
    /// beside the curves.
    pub(super) fn measure_own_answers(&self, asked: &[Asked], folder: &Path) -> Result<()> {
        let path = folder.join(OWN);
        let (ExperimentLlm::Other(llm), Some(part)) =
            (&self.pair()?.llm, asked.iter().find(|part| part.split == SPLIT))
        else {
            return Ok(store::remove(&path)?);
        };
        let OwnTexts { texts, tokens, positions } =
            llm.own(part, self.experiment.data.max_tokens)?;
        let mut right = 0;
        for (question, (text, ended)) in part.questions.iter().zip(&texts) {
            right += usize::from(self.grading.grade(question, text, *ended)?);
        }
        let own = OwnAnswers { questions: texts.len(), right, tokens, positions };
        Ok(store::write(&path, &serde_json::to_vec(&own)?)?)
    }

    /// What [`Chain::measure_own_answers`] kept.
    pub(super) fn own_answers(&self, folder: &Path) -> Option<OwnAnswers> {
        serde_json::from_slice(&store::read(&folder.join(OWN)).ok()?).ok()
    }
}

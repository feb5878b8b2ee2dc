//! The commands: write the data set, train both models, verify the committed weights.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokenroute_bundled_pair::card::{Accuracy, Card};
use tokenroute_bundled_pair::config::{GradientEngine, PairTrainConfig};
use tokenroute_bundled_pair::export::export;
use tokenroute_bundled_pair::task::{Generator, TaskConfig, TaskSplit, WordProblems};
use tokenroute_bundled_pair::tokenizer::{PairTokenizer, TokenizerConfig};
use tokenroute_bundled_pair::training::{Trained, device, train};
use tokenroute_core::{Question, TokenId, grade};
use tokenroute_model::{LoadOptions, load_model};
use tokenroute_runtime::greedy;
use tokenroute_store::{self as store, Dataset, DatasetCard};

use crate::progress::{self, TrainingBar, line};
use crate::{Command, Train};

/// Most tokens of a graded answer.
const MAX_TOKENS: usize = 160;
/// Number of points of the loss curve on a card.
const LOSS_POINTS: usize = 20;

/// The content of the pair's experiment.toml.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairExperiment {
    /// Seed of the generator.
    seed: u64,
    task: TaskConfig,
    tokenizer: TokenizerConfig,
    /// Folder of the data set.
    dataset: PathBuf,
    slm: ModelSection,
    llm: ModelSection,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelSection {
    /// Folder of the model.
    folder: PathBuf,
    train: PairTrainConfig,
}

/// Runs one command.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Data { experiment } => data(experiment),
        Command::Train(args) => train_pair(args),
        Command::Verify { experiment } => verify(experiment),
    }
}

/// Reads the pair's file. Returns it with its folder.
pub fn load(path: &Path) -> Result<(PairExperiment, PathBuf)> {
    let text = store::read_text(path)?;
    let file = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    Ok((file, path.parent().unwrap_or(Path::new("")).to_owned()))
}

fn data(path: &Path) -> Result<()> {
    let (file, folder) = load(path)?;
    let generator = Generator::with_config(file.seed, file.task.clone())?;
    let card = DatasetCard {
        name: "word-problems".to_owned(),
        description: "Generated multi-step word problems with five choices and a rationale, in \
                      CommonsenseQA's schema; the splits share no (family, operands)."
            .to_owned(),
        source: "bundled-pair data experiments/word-problems-pair/experiment.toml".to_owned(),
        revision: format!("seed {}", file.seed),
        licence: "MIT OR Apache-2.0".to_owned(),
        splits: Default::default(),
    };
    let questions = TaskSplit::FINITE.map(|split| (split.name(), generator.split(split)));
    let views: Vec<(&str, &[Question])> =
        questions.iter().map(|(name, q)| (*name, q.as_slice())).collect();
    Dataset::create(&folder.join(&file.dataset), card, &views)?;
    let tokenizer = PairTokenizer::train(&generator, &file.tokenizer)?;
    for model in [&file.slm, &file.llm] {
        let out = folder.join(&model.folder);
        store::make_dir(&out)?;
        tokenizer.save(&out)?;
    }
    for (name, questions) in &questions {
        line(&format!("{name}: {} questions", questions.len()))?;
    }
    Ok(())
}

fn train_pair(args: &Train) -> Result<()> {
    let (file, folder) = load(&args.experiment)?;
    let device = device::parse(&args.device)?;
    let mut trained = 0;
    for (name, model) in [("llm", &file.llm), ("slm", &file.slm)] {
        if args.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        trained += 1;
        let out = folder.join(&model.folder);
        let tokenizer = PairTokenizer::load(&out)
            .context("run `bundled-pair data` first: it writes the tokenizer")?;
        let mut config = model.train.clone();
        config.model.vocab_size = tokenizer.vocab_size();
        config.model.eos_token_id = tokenizer.eos();
        let generator = Generator::with_config(file.seed, file.task.clone())?;
        let source = WordProblems { generator, tokenizer };
        let progress = TrainingBar::new(&format!("train {name}"), config.steps);
        let mut done = 0;
        let run = folder.join("run").join(name);
        let finished = train(&config, &source, &device, &run, &mut |p| {
            let step = p.record.step;
            progress.advance(step - done);
            done = step;
            if step.is_multiple_of((p.steps / 50).max(1)) {
                let tokens = p.record.tokens as f64 / 1e6;
                progress
                    .note(&format!("step {step}: {tokens:.1} M tokens, loss {:.4}", p.record.loss));
            }
        })?;
        progress.finish();
        export(&finished.model, &out)?;
        let hardware = hardware(&config, &args.device);
        let card = card(&file, &folder, &out, &config, &finished, hardware)?;
        let mut json = serde_json::to_vec_pretty(&card)?;
        json.push(b'\n');
        store::write_all(
            &out,
            &[("card.json", json.as_slice()), ("README.md", card.markdown().as_bytes())],
        )?;
        show(&card)?;
    }
    ensure!(trained > 0, "--only is {:?}; expected slm or llm", args.only.as_deref().unwrap_or(""));
    Ok(())
}

fn card(
    file: &PairExperiment,
    folder: &Path,
    out: &Path,
    config: &PairTrainConfig,
    trained: &Trained,
    hardware: String,
) -> Result<Card> {
    let losses: Vec<f64> = trained.log.iter().map(|r| f64::from(r.loss)).collect();
    let tenth = (losses.len() / 10).max(1);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    let last = mean(&losses[losses.len() - tenth..]);
    let before = mean(&losses[losses.len().saturating_sub(2 * tenth)..losses.len() - tenth]);
    let window = losses.len().div_ceil(LOSS_POINTS);
    let parameters = trained.model.named_parameters().iter().map(|p| p.values.len() as u64).sum();
    Ok(Card {
        name: out.file_name().map_or(String::new(), |n| n.to_string_lossy().into_owned()),
        parameters,
        seed: config.seed,
        steps: trained.state.step,
        tokens_seen: trained.state.tokens,
        seconds: trained.state.seconds,
        hardware,
        loss: losses
            .chunks(window)
            .enumerate()
            .map(|(i, part)| (((i * window) + part.len()) as u64, mean(part)))
            .collect(),
        last_tenth_fall: if before > 0.0 { (before - last) / before } else { 0.0 },
        accuracy: grade_splits(&folder.join(&file.dataset), out)?,
        weights_sha256: store::sha256_file(&out.join("model.safetensors"))?,
        tokenizer_sha256: store::sha256_file(&out.join("tokenizer.json"))?,
    })
}

/// Greedy accuracy of an exported model on each graded split.
fn grade_splits(dataset: &Path, model: &Path) -> Result<Vec<Accuracy>> {
    let data = Dataset::open(dataset)?;
    let model = load_model(model, &LoadOptions::default())?;
    ["validation", "test", "test-ood"]
        .into_iter()
        .map(|split| {
            let questions = data.questions(split)?;
            let prompts: Vec<Vec<TokenId>> = questions
                .iter()
                .map(|q| model.tokenizer.encode(&q.prompt()))
                .collect::<Result<_, _>>()?;
            let prompts: Vec<&[TokenId]> = prompts.iter().map(Vec::as_slice).collect();
            let answers = greedy(&model.decoder, &model.vocabulary, &prompts, MAX_TOKENS)?;
            let mut correct = 0;
            for (question, answer) in questions.iter().zip(answers) {
                let ended = answer.last().is_some_and(|&last| model.vocabulary.is_end(last));
                let text = model.tokenizer.decode(&answer)?;
                correct += u64::from(grade(question, &text, ended));
            }
            Ok(Accuracy { split: split.to_owned(), questions: questions.len() as u64, correct })
        })
        .collect()
}

fn verify(path: &Path) -> Result<()> {
    let (file, folder) = load(path)?;
    for model in [&file.slm, &file.llm] {
        let out = folder.join(&model.folder);
        let card: Card = serde_json::from_slice(&store::read(&out.join("card.json"))?)
            .with_context(|| format!("in {}", out.join("card.json").display()))?;
        for (name, stated) in [
            ("model.safetensors", &card.weights_sha256),
            ("tokenizer.json", &card.tokenizer_sha256),
        ] {
            let found = store::sha256_file(&out.join(name))?;
            ensure!(
                found == *stated,
                "{} has SHA-256 {found}; its card states {stated}",
                out.join(name).display()
            );
        }
        let markdown = store::read_text(&out.join("README.md"))?;
        ensure!(
            markdown == card.markdown(),
            "{} differs from the text that card.json gives; do not edit it by hand",
            out.join("README.md").display()
        );
        progress::note(&format!("grading {}", card.name));
        let found = grade_splits(&folder.join(&file.dataset), &out)?;
        if found != card.accuracy {
            let right = |all: &[Accuracy]| -> String {
                let parts: Vec<String> = all
                    .iter()
                    .map(|a| format!("{} {} of {}", a.split, a.correct, a.questions))
                    .collect();
                parts.join(", ")
            };
            let (found, stated) = (right(&found), right(&card.accuracy));
            bail!("{} now answers {found} rightly; its card states {stated}", card.name);
        }
        show(&card)?;
    }
    Ok(())
}

fn show(card: &Card) -> Result<()> {
    let parts: Vec<String> = card
        .accuracy
        .iter()
        .map(|a| format!("{} {:.1}% of {}", a.split, 100.0 * a.share(), a.questions))
        .collect();
    line(&format!(
        "{}: {} parameters, loss fell {:.2}% over the last tenth; {}",
        card.name,
        card.parameters,
        100.0 * card.last_tenth_fall,
        parts.join(", ")
    ))
}

fn hardware(config: &PairTrainConfig, device: &str) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")?.split(':').nth(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let engine = match config.engine {
        GradientEngine::Fused => "fused CPU gradients",
        GradientEngine::Autodiff => "Burn autodiff",
    };
    format!("{}, {cores} threads, {engine}, Burn backend {device}", model.unwrap_or("CPU").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_experiment_of_the_tree_loads() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = root.join("experiments/word-problems-pair/experiment.toml");
        load(&path).unwrap_or_else(|error| panic!("{error:#}"));
    }
}

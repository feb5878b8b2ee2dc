//! Measures training throughput on synthetic digit copying: `throughput [fused|autodiff] [width]
//! [layers] [steps] [threads] [adamw|muon]`.
#![expect(clippy::print_stdout, reason = "the output of an example")]

use tokenroute_bundled_pair::config::{
    GradientEngine, ModelConfig, OptimizerKind, PairTrainConfig,
};
use tokenroute_bundled_pair::error::PairError;
use tokenroute_bundled_pair::training::{ExampleSource, TrainingExample, device, train};

struct Copying;

impl ExampleSource for Copying {
    fn example(&self, index: u64, _max_steps: u32) -> Result<TrainingExample, PairError> {
        let mut state = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut digit = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % 10) as u32
        };
        let length = 40 + (digit() * 10 + digit()) as usize / 4;
        let prompt: Vec<u32> = (0..length).map(|_| 1 + digit()).collect();
        let mut answer = prompt.clone();
        answer.push(0);
        let mut prompt = prompt;
        prompt.push(11);
        Ok(TrainingExample { prompt, answer })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &str| {
        arguments.get(index).cloned().unwrap_or_else(|| default.to_owned())
    };
    let width: usize = argument(1, "128").parse()?;
    let config = PairTrainConfig {
        model: ModelConfig {
            vocab_size: 256,
            hidden_size: width,
            intermediate_size: (width * 8).div_ceil(24) * 8,
            num_hidden_layers: argument(2, "4").parse()?,
            ..ModelConfig::default()
        },
        steps: argument(3, "20").parse()?,
        threads: argument(4, "0").parse()?,
        engine: match argument(0, "fused").as_str() {
            "autodiff" => GradientEngine::Autodiff,
            _ => GradientEngine::Fused,
        },
        optimizer: match argument(5, "adamw").as_str() {
            "muon" => OptimizerKind::Muon,
            _ => OptimizerKind::AdamW,
        },
        checkpoint_every: 1_000_000,
        warmup: 20,
        ..PairTrainConfig::default()
    };
    let run = std::env::temp_dir().join(format!("throughput-{}", std::process::id()));
    let mut last = (0, 0.0);
    train(&config, &Copying, &device::parse("flex")?, &run, &mut |progress| {
        let record = progress.record;
        if record.step.is_multiple_of((config.steps / 10).max(1)) {
            let rate = (record.tokens - last.0) as f64 / (record.seconds - last.1);
            println!(
                "step {:5}  loss {:.4}  norm {:.3}  {:.1} s  {rate:.0} tokens/s",
                record.step, record.loss, record.gradient_norm, record.seconds
            );
            last = (record.tokens, record.seconds);
        }
    })?;
    std::fs::remove_dir_all(&run)?;
    Ok(())
}

//! The training loop: batches from an example source, a gradient engine, the optimizer,
//! checkpoints. A resumed run gives the same result as an uninterrupted one.

mod autodiff;
mod batch;
mod checkpoint;
pub mod device;
mod fused;
mod log;
mod optimizer;

use std::fs;
use std::path::Path;
use std::time::Instant;

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;

pub use batch::{ExampleSource, Sequence, TrainingExample};
pub use checkpoint::State;
pub use log::Record;

use crate::config::{GradientEngine, PairTrainConfig};
use crate::error::PairError;
use crate::files;
use crate::model::Qwen2;
use batch::ExamplePool;
use fused::FusedEngine;

/// TrainingProgress after a step.
#[derive(Debug, Clone, Copy)]
pub struct TrainingProgress {
    /// The step's entry in the loss log.
    pub record: Record,
    /// Steps of the whole run.
    pub steps: u64,
    /// Difficulty limit of the step's examples.
    pub max_steps: u32,
    /// Whether a checkpoint was written after this step.
    pub checkpoint: bool,
}

/// A finished run.
#[derive(Debug)]
pub struct Trained {
    /// The model, without autodiff.
    pub model: Qwen2,
    /// The loss log from the first step on.
    pub log: Vec<Record>,
    /// The position at the end of the run.
    pub state: State,
}

/// Trains a decoder, or resumes from the newest checkpoint in `run_dir`. Writes `train.json`,
/// `loss.jsonl` and `checkpoints/` there. Calls `progress` after every step.
///
/// # Errors
/// [`PairError`] for a configuration, example or file that does not fit, or a loss that is not a
/// finite number.
pub fn train(
    config: &PairTrainConfig,
    source: &dyn ExampleSource,
    device: &Device,
    run_dir: &Path,
    progress: &mut dyn FnMut(TrainingProgress),
) -> Result<Trained, PairError> {
    config.validate()?;
    fs::create_dir_all(run_dir).map_err(PairError::io(run_dir))?;
    let plain = device.clone().without_autodiff();
    let mut run = Run::start(config, &plain.clone().autodiff(), run_dir)?;
    files::write_json(&run_dir.join("train.json"), config)?;
    let log_path = run_dir.join("loss.jsonl");
    log::write(&log_path, &run.log)?;
    let mut log_file =
        fs::OpenOptions::new().append(true).open(&log_path).map_err(PairError::io(&log_path))?;

    let mut engine = match config.engine {
        GradientEngine::Fused => Some(FusedEngine::new(&config.model, config.threads)),
        GradientEngine::Autodiff => None,
    };
    let mut pool = ExamplePool::draw(config, source, run.state.pool_start, run.state.pool_step)?;
    let earlier = run.state.seconds;
    let clock = Instant::now();
    while run.state.step < config.steps {
        if run.state.pool_batch >= pool.batches.len() {
            run.state.pool_start = pool.end;
            run.state.pool_step = run.state.step;
            run.state.pool_batch = 0;
            pool = ExamplePool::draw(config, source, run.state.pool_start, run.state.pool_step)?;
        }
        let batch = &pool.batches[run.state.pool_batch];
        let (loss, gradient_norm) = run.step(config, engine.as_mut(), batch, &plain)?;
        let learning_rate = config.learning_rate_at(run.state.step);
        run.state.step += 1;
        run.state.pool_batch += 1;
        run.state.tokens += batch.iter().map(|one| one.inputs().len() as u64).sum::<u64>();
        run.state.seconds = earlier + clock.elapsed().as_secs_f64();
        let State { step, tokens, seconds, .. } = run.state;
        let record = Record { step, tokens, learning_rate, loss, gradient_norm, seconds };
        run.log.push(record);
        log::append(&mut log_file, &log_path, &record)?;
        let checkpoint = step.is_multiple_of(config.checkpoint_every) || step == config.steps;
        if checkpoint {
            checkpoint::save(run_dir, config, &run.state, &run.model, &run.optimizer, &run.log)?;
        }
        let max_steps = config.stage_at(run.state.pool_step).max_steps;
        progress(TrainingProgress { record, steps: config.steps, max_steps, checkpoint });
    }
    let Run { model, log, state, .. } = run;
    let values = model.named_parameters();
    let mut values = values.into_iter().map(|parameter| parameter.values);
    let model = Qwen2::from_values(&config.model, &plain, &mut |name, _| {
        values.next().ok_or_else(|| PairError::Tensor {
            name: name.to_owned(),
            reason: "absent from the trained model".to_owned(),
        })
    })?;
    Ok(Trained { model, log, state })
}

/// A run between two steps.
struct Run {
    model: Qwen2,
    optimizer: ModuleOptimizer,
    state: State,
    log: Vec<Record>,
}

impl Run {
    fn start(config: &PairTrainConfig, device: &Device, run_dir: &Path) -> Result<Self, PairError> {
        let optimizer = optimizer::build(config);
        if let Some(restored) = checkpoint::restore(run_dir, config, optimizer.clone(), device)? {
            let checkpoint::Restored { state, model, optimizer, log } = restored;
            return Ok(Self { model, optimizer, state, log });
        }
        Ok(Self {
            model: Qwen2::new(&config.model, config.seed, device)?,
            optimizer,
            state: State { pool_start: config.first_example, ..State::default() },
            log: Vec::new(),
        })
    }

    /// One optimizer step; returns the loss and the gradient's norm.
    fn step(
        &mut self,
        config: &PairTrainConfig,
        engine: Option<&mut FusedEngine>,
        batch: &[Sequence],
        plain: &Device,
    ) -> Result<(f32, f64), PairError> {
        let mut gradient = self.model.named_parameters();
        let loss = match engine {
            Some(engine) => engine.gradient(&mut gradient, batch)?,
            None => autodiff::gradient(&self.model, &mut gradient, batch),
        };
        if !loss.is_finite() {
            return Err(PairError::Diverged { step: self.state.step, loss });
        }
        let norm = optimizer::clip(&mut gradient, config.gradient_clip);
        let gradient = optimizer::register(gradient, plain);
        let rate = config.learning_rate_at(self.state.step);
        self.model = self.optimizer.step(rate, self.model.clone(), gradient);
        Ok((loss, norm))
    }
}

#[cfg(test)]
mod tests;

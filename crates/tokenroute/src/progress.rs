//! Progress on standard error: a bar with rate and ETA on a terminal, plain
//! lines when piped, nothing when quiet.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokenroute_core::Progress;

use crate::output::harmless;

/// Time between two plain lines.
const EVERY: Duration = Duration::from_secs(15);

enum Look {
    Quiet,
    Plain,
    Bar,
}

struct Phase {
    bar: ProgressBar,
    name: String,
    unit: String,
    total: u64,
    done: u64,
    begun: Instant,
    said: Instant,
}

/// Shows progress on the terminal.
pub struct Terminal {
    look: Look,
    phase: Mutex<Option<Phase>>,
}

impl Terminal {
    /// Chooses the style from `--quiet` and from whether standard error is a terminal.
    pub fn new(quiet: bool) -> Self {
        let look = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Look::Quiet,
            (false, true) => Look::Bar,
            (false, false) => Look::Plain,
        };
        Terminal { look, phase: Mutex::new(None) }
    }
}

#[expect(clippy::print_stderr, reason = "this is where talk goes")]
fn say(line: &str) {
    eprintln!("{}", harmless(line));
}

impl Progress for Terminal {
    fn begin(&self, name: &str, total: u64, unit: &str) {
        self.finish();
        let name = harmless(name);
        let bar = match self.look {
            Look::Bar => {
                let template =
                    "{prefix} {wide_bar} {human_pos}/{human_len} {msg} {per_sec} eta {eta}";
                let style = ProgressStyle::with_template(template);
                ProgressBar::new(total)
                    .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                    .with_prefix(name.clone())
                    .with_message(unit.to_owned())
            }
            Look::Plain | Look::Quiet => ProgressBar::hidden(),
        };
        let now = Instant::now();
        if let Ok(mut phase) = self.phase.lock() {
            *phase = Some(Phase {
                bar,
                name,
                unit: unit.to_owned(),
                total,
                done: 0,
                begun: now,
                said: now,
            });
        }
    }

    fn advance(&self, units: u64) {
        let Ok(mut guard) = self.phase.lock() else { return };
        let Some(phase) = guard.as_mut() else { return };
        phase.done += units;
        phase.bar.inc(units);
        if matches!(self.look, Look::Plain) && phase.said.elapsed() >= EVERY {
            phase.said = Instant::now();
            let seconds = phase.begun.elapsed().as_secs_f64();
            let rate = phase.done as f64 / seconds.max(1e-9);
            let eta = phase.total.saturating_sub(phase.done) as f64 / rate.max(1e-9);
            say(&format!(
                "{}: {}/{} {} ({rate:.1}/s, eta {eta:.0} s)",
                phase.name, phase.done, phase.total, phase.unit
            ));
        }
    }

    fn finish(&self) {
        let Ok(mut phase) = self.phase.lock() else { return };
        let Some(phase) = phase.take() else { return };
        phase.bar.finish_and_clear();
        if !matches!(self.look, Look::Quiet) {
            let seconds = phase.begun.elapsed().as_secs_f64();
            say(&format!("{}: {} {} in {seconds:.1} s", phase.name, phase.done, phase.unit));
        }
    }

    fn note(&self, line: &str) {
        match self.look {
            Look::Quiet => {}
            Look::Plain => say(line),
            Look::Bar => match self.phase.lock() {
                Ok(guard) => match guard.as_ref() {
                    Some(phase) => phase.bar.suspend(|| say(line)),
                    None => say(line),
                },
                Err(_) => say(line),
            },
        }
    }
}

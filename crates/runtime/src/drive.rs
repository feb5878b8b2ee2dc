//! Runs an engine over a list of sessions, a limited number at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokenroute_core::{LanguageModel, Llm};

use crate::{Engine, Event, RuntimeError, SessionId};

/// Longest wait of one turn of [`Engine::drive`]. Every turn has an event to wait for.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The next session of [`Engine::drive`], or `None` when there are no more.
pub type Begun = Option<Result<SessionId, RuntimeError>>;

impl<S: LanguageModel, L: Llm + ?Sized> Engine<'_, S, L> {
    /// Decodes sessions until none is left, at most `batch` at a time. `begin` adds the next
    /// session by its index and returns `None` after the last. `heard` gets each event with
    /// that index. Returns after the last call has ended.
    ///
    /// # Errors
    /// An error of `begin`, or the error of the first session that failed.
    pub fn drive(
        &mut self,
        batch: usize,
        begin: &mut dyn FnMut(&mut Self, usize) -> Begun,
        heard: &mut dyn FnMut(&mut Self, usize, Event),
    ) -> Result<(), RuntimeError> {
        self.drive_each(batch, begin, &mut |engine, number, event| match event {
            Event::Failed { error, .. } => Err(error),
            event => {
                heard(engine, number, event);
                Ok(())
            }
        })
    }

    /// As [`Engine::drive`], but `heard` gets failures too, and the other sessions go on.
    ///
    /// # Errors
    /// An error of `begin` or of `heard`.
    pub fn drive_each(
        &mut self,
        batch: usize,
        begin: &mut dyn FnMut(&mut Self, usize) -> Begun,
        heard: &mut dyn FnMut(&mut Self, usize, Event) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let mut numbers: BTreeMap<SessionId, usize> = BTreeMap::new();
        loop {
            while self.sessions() < batch.max(1)
                && let Some(id) = begin(self, numbers.len())
            {
                numbers.insert(id?, numbers.len());
            }
            if self.sessions() == 0 && self.calls() == 0 {
                return Ok(());
            }
            for event in self.turn(PATIENCE) {
                if let Some(&number) = numbers.get(&event.session()) {
                    heard(self, number, event)?;
                }
            }
        }
    }
}

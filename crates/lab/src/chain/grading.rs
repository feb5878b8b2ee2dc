//! Grades answers for the stages: by core's graders, or by the experiment's program or judge.

use std::borrow::Cow;
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Error, Result, ensure};
use tokenroute_core::{Grader, Question, after_thinking, grade, within_thinking};

use super::Chain;
use crate::command_grader::CommandGrader;
use crate::experiment::Experiment;
use crate::judge_grader::JudgeGrader;

/// The run folder's part that keeps the judge's verdicts.
const VERDICTS: &str = "verdicts";

/// The graders of an experiment.
#[derive(Debug, Default)]
pub(super) struct Grading {
    /// The program, if the experiment has one.
    command: Option<CommandGrader>,
    /// Whether it may be run.
    allowed: bool,
    /// The model on a server, if the experiment has one.
    judge: Option<JudgeGrader>,
    /// The end of the prompts' text, once there are prompts.
    prompt_end: OnceLock<String>,
}

impl Grading {
    pub(super) fn of(experiment: &Experiment) -> Result<Self> {
        let command = experiment.data.command.as_ref();
        let command = command.map(|c| CommandGrader::new(c, experiment.folder())).transpose()?;
        let judge = experiment.data.judge.as_ref();
        let judge = judge.map(|j| JudgeGrader::new(j, experiment.run(VERDICTS))).transpose()?;
        Ok(Grading { command, allowed: false, judge, prompt_end: OnceLock::new() })
    }

    /// Takes in the end of the prompts' text, which is the same for all.
    pub(super) fn follow(&self, prompt_end: String) {
        self.prompt_end.get_or_init(|| prompt_end);
    }

    /// An answer as graders read it.
    pub(super) fn read<'t>(&self, answer: &'t str) -> Cow<'t, str> {
        within_thinking(self.prompt_end.get().map_or("", String::as_str), answer)
    }

    /// Whether an answer is right. An answer that was cut at its greatest length is given to no
    /// program and no judge: it is wrong. Neither gets the model's thinking before the answer.
    ///
    /// # Errors
    /// A program or a judge that does not say.
    pub(super) fn grade(&self, question: &Question, answer: &str, ended: bool) -> Result<bool> {
        let answer = self.read(answer);
        if !question.grader.is_asked() {
            return Ok(grade(question, &answer, ended));
        }
        let Some(answer) = after_thinking(&answer).filter(|_| ended) else { return Ok(false) };
        match (question.grader, &self.command, &self.judge) {
            (Grader::Command, Some(command), _) => command.judge(question, answer),
            (Grader::Judge, _, Some(judge)) => judge.judge(question, answer),
            _ => Ok(false),
        }
    }

    /// Writes the program's or the judge's identity into the questions that it judges, so that
    /// their labels and curves belong to it.
    pub(super) fn mark(&self, questions: &mut [Question]) -> Result<()> {
        for question in questions.iter_mut().filter(|q| q.grader.is_asked()) {
            let id = &question.id;
            let identity = match question.grader {
                Grader::Judge => {
                    self.judge.as_ref().map(JudgeGrader::identity).with_context(|| {
                        format!("question {id:?} has the grader `judge`; set data.judge")
                    })
                }
                _ => self.command.as_ref().map(CommandGrader::identity).with_context(|| {
                    format!("question {id:?} has the grader `command`; set data.command")
                }),
            }?;
            question.program = Some(identity.to_owned());
        }
        Ok(())
    }
}

impl Chain<'_> {
    /// The same experiment, with leave to run the program of the grader `command`.
    #[must_use]
    pub fn allowing_commands(mut self, allowed: bool) -> Self {
        self.grading.allowed = allowed;
        self
    }

    /// Whether the program of the grader `command` may run.
    pub(super) fn allows_commands(&self) -> bool {
        self.grading.allowed
    }

    /// Grades answers for a labeller.
    pub(super) fn grade(&self) -> impl Fn(&Question, &str, bool) -> Result<bool, String> {
        |question, text, ended| {
            self.grading.grade(question, text, ended).map_err(|error| format!("{error:#}"))
        }
    }

    /// Checks that the experiment's program may be run, before there is anything to grade.
    pub(super) fn check_commands(&self) -> Result<()> {
        if let Some(command) = &self.grading.command {
            ensure!(
                self.grading.allowed,
                "the experiment grades answers with the command `{}`; give --allow-commands to run it",
                command.shown()
            );
        }
        Ok(())
    }
}

/// Grades where grading cannot fail: the first error is kept, and all answers after it are
/// wrong. [`Graded::check`] must follow before results are kept.
pub(super) struct Graded<'g> {
    grading: &'g Grading,
    fault: Mutex<Option<Error>>,
}

impl<'g> Graded<'g> {
    pub(super) fn new(grading: &'g Grading) -> Self {
        Graded { grading, fault: Mutex::new(None) }
    }

    pub(super) fn grade(&self, question: &Question, answer: &str, ended: bool) -> bool {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if fault.is_some() {
            return false;
        }
        match self.grading.grade(question, answer, ended) {
            Ok(right) => right,
            Err(error) => {
                *fault = Some(error);
                false
            }
        }
    }

    /// The first error.
    pub(super) fn check(self) -> Result<()> {
        match self.fault.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

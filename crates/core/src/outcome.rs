//! A table of outcomes: questions that a weak and a strong model answered, and the scores of
//! routers that decide once a question.

/// One question of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Id of the question.
    pub id: String,
    /// Whether the weak model's answer is right.
    pub weak: bool,
    /// Whether the strong model's answer is right.
    pub strong: bool,
    /// What the weak model's answer costs and what the strong one's costs, in any unit.
    pub costs: Option<[f64; 2]>,
}

/// The scores of one router.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterScores {
    /// Its name.
    pub name: String,
    /// One score a question, in the table's order: questions with low scores go to the strong
    /// model first. Any finite numbers; only their order counts.
    pub keep: Vec<f64>,
}

/// Questions and routers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutcomeTable {
    /// The questions.
    pub questions: Vec<Outcome>,
    /// The routers.
    pub routers: Vec<RouterScores>,
}

//! The model card of a router, as the Hub shows it: front matter, pair, curve, data, calibration
//! and limits.

use std::fmt::Write;

use serde_json::{Value, json};
use tokenroute_core::{Architecture, RouterHeader};

use crate::number::{count, decimal, offload, percent, percent_interval, target, tau};
use crate::{SplitSummary, Summary};

/// Offload ratios that the card gives a τ for.
const SHARES: [f64; 5] = [0.01, 0.03, 0.07, 0.2, 0.4];

/// What a card is made of.
#[derive(Debug, Clone)]
pub struct RouterCard<'c> {
    /// Title of the experiment.
    pub title: &'c str,
    /// The router file's header.
    pub header: &'c RouterHeader,
    /// Weights and biases.
    pub parameters: u64,
    /// The figures of the report.
    pub summary: &'c Summary,
    /// The SLM, as the Hub names it, or the last part of its path.
    pub slm: &'c str,
    /// The LLM, likewise.
    pub llm: &'c str,
    /// The models among them that are on the Hub: `owner/name`.
    pub base_models: Vec<String>,
    /// Data sets on the Hub.
    pub datasets: Vec<String>,
    /// The data, in words.
    pub data: &'c str,
    /// Questions of each split.
    pub questions: Vec<(&'c str, usize)>,
    /// Licence of the router, as the Hub names licences.
    pub license: Option<&'c str>,
}

impl RouterCard<'_> {
    /// The text of README.md.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = self.front_matter();
        let _ = write!(
            text,
            "\n# {title}\n\nA router of [tokenroute](https://github.com/tokenroute/tokenroute). It scores each token of {slm}: \
             the probability that the token may be kept. Tokens with a score below τ come from {llm}.\n\n\
             ```sh\ntokenroute generate --slm SLM --llm LLM --router hf:OWNER/NAME --offload 0.07 --text \"…\"\n```\n",
            title = self.title,
            slm = self.slm,
            llm = self.llm
        );
        for section in [self.pair(), self.curve(), self.data(), self.calibration(), self.limits()] {
            text.push('\n');
            text.push_str(&section);
        }
        text
    }

    /// YAML, whose values are written as JSON.
    fn front_matter(&self) -> String {
        let header = self.header;
        let figures = &self.summary.test;
        let mut lines = vec![
            ("library_name", json!("tokenroute")),
            ("tags", json!(["tokenroute", "router", "token-level-routing"])),
        ];
        lines.extend(self.license.map(|license| ("license", json!(license))));
        let lists = [("base_model", &self.base_models), ("datasets", &self.datasets)];
        lines.extend(lists.into_iter().filter(|(_, l)| !l.is_empty()).map(|(k, l)| (k, json!(l))));
        let point = |p: &crate::PointSummary| json!({ "budget": p.target, "tau": p.tau, "offload": p.offload, "accuracy": p.accuracy });
        let points: Vec<Value> = figures.router.points.iter().map(point).collect();
        let values = json!({
            "pair": {
                "slm": self.slm, "llm": self.llm, "slm_hash": header.slm_hash,
                "llm_hash": header.llm_hash, "tokenizer_hash": header.tokenizer_hash,
            },
            "curve": {
                "questions": figures.questions, "slm_accuracy": figures.slm.accuracy,
                "llm_accuracy": figures.llm.accuracy, "apgr": figures.router.apgr, "points": points,
            },
            "data": { "name": self.data, "labels_hash": header.labels_hash },
            "calibration": {
                "split": header.training.measured_on, "expected_error": header.training.ece_after,
            },
        });
        lines.push(("tokenroute", values));
        let lines: Vec<String> =
            lines.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        format!("---\n{}\n---\n", lines.join("\n"))
    }

    fn pair(&self) -> String {
        let header = self.header;
        format!(
            "## Pair\n\n| | name | hash |\n| --- | --- | --- |\n| SLM | {} | `{}` |\n| LLM | {} | `{}` |\n| tokenizer | | `{}` |\n\n\
             The router is refused with an SLM whose weights, quantisation or KV cache type give another hash.\n",
            self.slm, header.slm_hash, self.llm, header.llm_hash, header.tokenizer_hash
        )
    }

    fn curve(&self) -> String {
        let figures = &self.summary.test;
        let mut text = format!("## Curve\n\nOn {} test questions", figures.questions);
        let _ = write!(
            text,
            ", with 95% intervals. τ was chosen on {} {} questions.\n\n{}",
            figures.calibration.questions,
            figures.calibration.split,
            table(figures)
        );
        let router = &figures.router;
        let ci = |ends: Option<[f64; 2]>| match ends {
            Some([low, high]) => {
                format!(" ({} to {})", decimal(Some(low), 3), decimal(Some(high), 3))
            }
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "\nAPGR {}{}; APGR[0, .2] {}{}.",
            decimal(router.apgr, 3),
            ci(router.apgr_ci),
            decimal(router.apgr20, 3),
            ci(router.apgr20_ci)
        );
        if let Some(ood) = &self.summary.ood {
            let _ = write!(
                text,
                "\nOn {} questions of kinds that training left out:\n\n{}",
                ood.questions,
                table(ood)
            );
        }
        text
    }

    fn data(&self) -> String {
        let header = self.header;
        let name = match &header.architecture {
            Architecture::Linear { .. } => "logistic regression".to_owned(),
            Architecture::Mlp { widths, .. } => format!("an MLP of widths {widths:?}"),
            Architecture::Operators { name, .. } => name.clone(),
        };
        let questions: Vec<String> =
            self.questions.iter().map(|(split, n)| format!("{split} {n}")).collect();
        let layout: Vec<String> =
            header.features.layout().iter().map(|(what, n)| format!("{n}: {what}")).collect();
        let [train, validation] = header.training.rows;
        format!(
            "## Data\n\n- Questions: {}; {}.\n- Labelled positions: {} to train on, {} to validate with. {} of all are divergent.\n\
             - Head: {name}, {} weights. Features: {}.\n",
            self.data,
            questions.join(", "),
            count(train),
            count(validation),
            percent(self.summary.labels.divergent),
            count(self.parameters),
            layout.join("; "),
        )
    }

    fn calibration(&self) -> String {
        let record = &self.header.training;
        let mut text = format!(
            "## Calibration\n\nOn {}: AUROC {} and AUPRC {} for divergent positions, expected calibration error {}.\n",
            if record.measured_on.is_empty() { "validation" } else { &record.measured_on },
            decimal(Some(record.auroc), 4),
            decimal(Some(record.auprc), 4),
            decimal(Some(record.ece_after), 4)
        );
        if self.header.calibration.is_empty() {
            text.push_str("\nThe file has no calibration τ ↔ offload: give `--tau`.\n");
            return text;
        }
        text.push_str("\n| offload ratio at most | τ |\n| --- | --- |\n");
        for share in SHARES {
            let at = self.header.tau_at_offload(share).map(tau).unwrap_or_default();
            let _ = writeln!(text, "| {} | {at} |", target(share));
        }
        text
    }

    fn limits(&self) -> String {
        let mut limits = vec![
            "It reads the states of this SLM alone. Other weights, another quantisation or another KV cache type need a router of their own.".to_owned(),
            "The curve holds for greedy decoding on questions like these. On other text τ gives another offload ratio.".to_owned(),
            "A divergent position is one where keeping the SLM's token loses the answer by the experiment's grader. The router knows no other quality.".to_owned(),
        ];
        if self.header.training.loses_to_max_probability {
            limits.push(
                "On its calibration rows maximum probability ranks positions better than this router."
                    .to_owned(),
            );
        }
        if self.summary.ood.is_none() {
            limits.push("It was not measured on other kinds of questions.".to_owned());
        }
        let lines: Vec<String> = limits.iter().map(|limit| format!("- {limit}\n")).collect();
        format!("## Limits\n\n{}", lines.concat())
    }
}

/// Both models alone and the router at each budget.
fn table(split: &SplitSummary) -> String {
    let mut text = "| | τ | offload | accuracy |\n| --- | --- | --- | --- |\n".to_owned();
    let interval = |ends: Option<[f64; 2]>| {
        ends.map(|ends| format!(" ({})", percent_interval(ends))).unwrap_or_default()
    };
    let end = |name: &str, accuracy, ci| {
        format!("| {name} | | | {}{} |\n", percent(accuracy), interval(ci))
    };
    text.push_str(&end("SLM alone", split.slm.accuracy, split.slm.ci));
    for p in &split.router.points {
        let _ = writeln!(
            text,
            "| router, budget {} | {} | {} | {}{} |",
            target(p.target),
            tau(p.tau),
            offload(p.offload),
            percent(p.accuracy),
            interval(Some(p.ci))
        );
    }
    text.push_str(&end("LLM alone", split.llm.accuracy, split.llm.ci));
    text
}

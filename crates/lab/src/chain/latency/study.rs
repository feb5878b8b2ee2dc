//! The study: every way of decoding over every network.

use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokenroute_core::{Origin, Progress, Tau, TokenId};
use tokenroute_model::{Decoder, ModelCard, RouterScorer};
use tokenroute_runtime::{Calls, Pair, Policy, Request, RoutedDecoding, Wait};
use tokenroute_sweep::bootstrap::Bootstrap;
use tokenroute_sweep::latency::{
    Figures, Gaps, LatencyRow, LatencyStudy, Measured, Meter, Network, NetworkRows, Paced, Setting,
    Timed, TimedAnswer, Way, modelled, slowdown, speedup,
};

use super::network::{Cloud, Hosted};
use super::{FOLDER, keep};
use crate::chain::grading::{Graded, Grading};
use crate::chain::{Asked, Chain, LoadedPair, answer_text};
use crate::cpu_pinning::Own;

const WAYS: [Way; 5] = [Way::Slm, Way::Llm, Way::Blocking, Way::Speculative, Way::Relay];
/// Indices of [`WAYS`].
const ALONE: usize = 0;
const BLOCKING: usize = 2;
const AHEAD: usize = 3;

/// The inputs of a study.
pub struct StudyPlan {
    /// All settings except the networks.
    pub setting: Setting,
    /// By bandwidth, then by round trip, shortest first.
    pub networks: Vec<Network>,
    /// The processor of the device's thread, if it has one.
    pub own: Option<Own>,
}

/// Decodes behind every network and stores the study. An earlier study of the same inputs is
/// returned, unless a new one is requested.
pub fn carry_out(chain: Chain<'_>, plan: &StudyPlan, again: bool) -> Result<LatencyStudy> {
    let asked = chain.timed_questions(plan.setting.questions)?;
    let config = serde_json::json!({
        "questions": plan.setting.questions, "setting": plan.setting, "networks": plan.networks,
    });
    let work = chain.latency_work(config, &asked)?;
    let folder = chain.experiment.run(FOLDER);
    if !again
        && work.finished(&folder, &chain.hashes)?.is_some()
        && let Some(kept) = chain.network_study(&[])?
    {
        return Ok(kept.study);
    }
    chain.lock()?;
    chain.pair()?;
    let (scorer, _) = chain.router()?;
    let warm_up = chain.questions("validation")?;
    let resamples = chain.experiment.sweep.resamples;
    let bootstrap = Bootstrap::new(asked.questions.len(), resamples, chain.experiment.seed);
    let requests = chain.requests(&asked, 0..asked.questions.len());
    let warm_up = chain.requests(&warm_up, 0..warm_up.questions.len().min(1));
    let Chain { named, loaded, progress, grading, .. } = chain;
    let LoadedPair { slm, llm } = loaded.into_inner().context("the pair is not loaded")?;
    let lab = Lab {
        card: &named.slm,
        grading: &grading,
        slm: slm.model(),
        llm: Hosted::new(llm, &named.slm)?,
        scorer: &scorer,
        setting: &plan.setting,
        asked: &asked,
        requests: &requests,
        warm_up: &warm_up,
        bootstrap: &bootstrap,
        own: plan.own.as_ref(),
        progress,
    };
    let study = lab.study(&plan.networks)?;
    progress.finish();
    keep(&folder, &study, work)?;
    Ok(study)
}

/// The inputs of every measurement.
struct Lab<'a> {
    card: &'a ModelCard,
    grading: &'a Grading,
    slm: &'a Decoder,
    llm: Hosted,
    scorer: &'a RouterScorer,
    setting: &'a Setting,
    asked: &'a Asked,
    requests: &'a [Request<'a>],
    /// Decoded before the clock starts, so that all data is in memory.
    warm_up: &'a [Request<'a>],
    bootstrap: &'a Bootstrap,
    own: Option<&'a Own>,
    progress: &'a dyn Progress,
}

impl Lab<'_> {
    fn study(&self, networks: &[Network]) -> Result<LatencyStudy> {
        let answers = networks.len() * WAYS.len() * self.requests.len();
        self.progress.begin("latency", answers as u64, "answers");
        let mut rows: Vec<NetworkRows> = Vec::with_capacity(networks.len());
        let mut identical = true;
        for &network in networks {
            let calibrated = rows
                .iter()
                .find(|r| r.network.megabits == network.megabits)
                .map(|r| r.call_seconds);
            let (found, same) = self.over(network, calibrated)?;
            identical &= same;
            rows.push(found);
        }
        Ok(LatencyStudy { setting: self.setting.clone(), identical, networks: rows })
    }

    /// All ways over one network, and whether speculation gave the tokens of blocking decoding.
    fn over(&self, network: Network, calibrated: Option<f64>) -> Result<(NetworkRows, bool)> {
        let round = network.round_trip_ms / 1e3;
        let (measured, calls) = self.measure(network)?;
        let mean = calls.iter().sum::<f64>() / calls.len().max(1) as f64;
        let call_seconds = calibrated.unwrap_or((mean - round).max(0.0));
        let figures: Vec<Figures> =
            measured.iter().map(|m| Figures::of(&m.samples, self.bootstrap)).collect();
        let token_seconds = figures[ALONE].total.value / figures[ALONE].tokens.value.max(1.0);
        let rows = WAYS
            .into_iter()
            .zip(figures)
            .map(|(way, figures)| LatencyRow {
                way,
                modelled: (way != Way::Llm).then(|| {
                    let (tokens, waits) = (figures.tokens.value, figures.waits.value);
                    modelled(tokens, token_seconds, waits, round, call_seconds)
                }),
                figures,
            })
            .collect();
        let [alone, blocking, ahead] = [ALONE, BLOCKING, AHEAD].map(|way| &measured[way]);
        let slower = |gaps| slowdown(&alone.samples, &ahead.samples, gaps, self.bootstrap);
        let rows = NetworkRows {
            network,
            rows,
            speedup: speedup(&blocking.samples, &ahead.samples, self.bootstrap),
            kept_slowdown: slower(Gaps::Kept),
            slowdown: slower(Gaps::All),
            token_seconds,
            call_seconds,
        };
        Ok((rows, blocking.answers == ahead.answers))
    }

    /// Samples of every way, and the seconds of blocking decoding's calls. At each question the
    /// ways run in turn, each first in turn, so that no way always follows the same one.
    fn measure(&self, network: Network) -> Result<(Vec<Measured>, Vec<f64>)> {
        let behind = |_| self.llm.behind(network, self.connections(), self.token());
        let clouds: Vec<Cloud> = WAYS.into_iter().map(behind).collect::<Result<_>>()?;
        let llms: Vec<_> = clouds.iter().map(|cloud| Timed::new(&cloud.http)).collect();
        let carried: Vec<_> = clouds.iter().map(|cloud| || cloud.carried()).collect();
        let pass = Duration::from_secs_f64(self.setting.step_ms / 1e3);
        let slm = Paced::new(self.slm, pass);
        let calls = Calls { threads: self.connections(), together: 1 };
        let mut measured = vec![Measured::default(); WAYS.len()];
        thread::scope(|scope| {
            let mut meters: Vec<_> = WAYS
                .into_iter()
                .zip(llms.iter().zip(&carried))
                .map(|(way, (llm, carried))| {
                    let pair = Pair::new(&slm, llm, &self.card.vocabulary);
                    let policy = self.policy(way)?;
                    let decoding = RoutedDecoding::new(pair, self.scorer, policy);
                    let decoding = RoutedDecoding { calls: Some(calls), ..decoding };
                    Some(Meter::new(scope, decoding, carried))
                })
                .collect();
            // All other ways call the LLM on threads.
            let _entered = self.own.map(Own::enter);
            let mut answer =
                |way: usize, request: &Request<'_>, judge: &dyn Fn(&[TokenId]) -> bool| {
                    Ok::<_, anyhow::Error>(match &mut meters[way] {
                        Some(meter) => meter.answer(request, judge)?,
                        None => streamed(&clouds[way], request, judge)?,
                    })
                };
            for request in self.warm_up {
                for way in 0..WAYS.len() {
                    drop(answer(way, request, &|_| false)?);
                }
            }
            llms.iter().for_each(|llm| drop(llm.take()));
            let graded = Graded::new(self.grading);
            for (i, request) in self.requests.iter().enumerate() {
                let judge = |ids: &[TokenId]| {
                    let (text, ended) = answer_text(self.card, ids);
                    graded.grade(&self.asked.questions[i], &text, ended)
                };
                for turn in 0..WAYS.len() {
                    let way = (i + turn) % WAYS.len();
                    let (sample, ids) = answer(way, request, &judge)?;
                    measured[way].push(sample, ids);
                    self.progress.advance(1);
                }
            }
            graded.check()?;
            Ok((measured, llms[BLOCKING].take()))
        })
    }

    /// The policy of a way. `None` if it routes no tokens.
    fn policy(&self, way: Way) -> Option<Policy> {
        let at_least_one = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        let Setting { tau, branches, max_ahead, max_extra, lookahead, relay, .. } = *self.setting;
        let routed = Policy::new(tau);
        match way {
            Way::Llm => None,
            Way::Slm => Some(Policy::new(Tau::SLM_ONLY)),
            Way::Blocking => Some(routed),
            Way::Speculative => Some(Policy {
                wait: Wait::Speculate { branches: at_least_one(branches), max_ahead },
                lookahead: at_least_one(lookahead),
                max_extra,
                ..routed
            }),
            Way::Relay => {
                Some(Policy { wait: Wait::Relay { tokens: at_least_one(relay) }, ..routed })
            }
        }
    }

    /// One thread for the awaited token and one for each token ahead.
    fn connections(&self) -> usize {
        self.setting.max_ahead + 1
    }

    fn token(&self) -> TokenId {
        self.requests.iter().find_map(|r| r.prompt.first()).copied().unwrap_or_default()
    }
}

/// The LLM alone, with its tokens as they arrive.
fn streamed(
    cloud: &Cloud,
    request: &Request<'_>,
    judge: &dyn Fn(&[TokenId]) -> bool,
) -> Result<(TimedAnswer, Vec<TokenId>)> {
    let before = cloud.carried();
    let mut at = Vec::with_capacity(request.max_tokens);
    let begun = Instant::now();
    let mut hear = |_| at.push(begun.elapsed().as_secs_f64());
    let reply = cloud.http.stream(request.prompt, request.max_tokens, &mut hear)?;
    let after = cloud.carried();
    let sample = TimedAnswer {
        origins: vec![Origin::Llm; at.len()],
        at,
        waits: 1,
        calls: 1,
        wasted_calls: 0,
        llm_positions: reply.positions,
        bytes: [after[0] - before[0], after[1] - before[1]],
        correct: judge(&reply.tokens),
    };
    Ok((sample, reply.tokens))
}

//! `tokenroute bench`: measures a model on this machine, and compares it with the limits of
//! the memory bandwidth and of the integer products.

mod routing;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokenroute::load_named_decoder;
use tokenroute_core::{Detail, Feed, LanguageModel, Progress, TokenId};
use tokenroute_hub::reference;
use tokenroute_kernels::Pool;
use tokenroute_model::{
    Decoder, Device, KvState, LoadOptions, RandomModel, process_memory as memory,
};

use crate::args::Bench;
use crate::output;

/// Tokens of the shortest prompt, and the additional tokens of each further one.
const PROMPT: usize = 16;
const LONGER: usize = 7;

/// The output of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    /// Where the model ran.
    device: &'static str,
    /// Where it ran in turns with that, if anywhere.
    beside: Option<&'static str>,
    /// Number type that the weights were quantised to. `null` means as stored.
    quantize: Option<String>,
    /// Kernels of quantised products. `null` if all weights are f32.
    isa: Option<String>,
    threads: usize,
    load_seconds: f64,
    bytes_per_token: usize,
    /// Number type of the KV cache.
    kv: &'static str,
    kv_bytes_per_position: usize,
    /// Bytes per second, measured in this run.
    read_bandwidth: f64,
    /// Integer operations per second of a loop on registers alone, measured in this run. `null`
    /// if there is no such loop for `isa`.
    product_limit: Option<f64>,
    cases: Vec<Case>,
    /// Only with `--router`.
    routing: Option<routing::Routing>,
    /// Memory of the process before the bandwidth measurement. `null` if the system does
    /// not report it.
    memory: Option<Memory>,
}

#[derive(Debug, Serialize)]
struct Case {
    case: &'static str,
    sequences: usize,
    /// Earlier tokens of the longest sequence.
    prompt: usize,
    /// Measured tokens of each sequence.
    tokens: usize,
    tokens_per_second: Spread,
    /// Those of the device beside it, measured in turns.
    beside: Option<Spread>,
    /// Its median, as a share of that of the device beside it.
    ratio: Option<f64>,
    /// Bytes of weights read, as a share of the memory bandwidth. `null` if weights are
    /// read once for many tokens.
    of_bandwidth: Option<f64>,
    /// Operations with weights, two for each multiply-add, as a share of `product_limit`.
    of_product_limit: Option<f64>,
}

/// Over all repetitions.
#[derive(Debug, Serialize)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// Of at least one value.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let median = f64::midpoint(values[(count - 1) / 2], values[count / 2]);
        Spread { median, least: values[0], most: values[count - 1] }
    }
}

/// Bytes.
#[derive(Debug, Serialize)]
struct Memory {
    /// Since the start of the process.
    peak_rss: u64,
    /// The peak when the model was loaded.
    loading_peak_rss: u64,
    /// The highest sampled `rss_anon` while the model was loaded.
    loading_rss_anon: u64,
    /// Resident memory after the cases: anonymous, and of mapped files.
    rss: u64,
    rss_anon: u64,
    rss_file: u64,
}

impl Memory {
    /// `loading` is the peak and the anonymous peak while loading. `None` if the system does not
    /// report them.
    fn now(loading: (Option<u64>, Option<u64>)) -> Option<Self> {
        let (rss, rss_anon, rss_file) =
            (memory::resident()?, memory::anonymous()?, memory::mapped()?);
        // Reading a figure may touch a page, so the peak comes last.
        let peak_rss = memory::peak()?;
        let (loading_peak_rss, loading_rss_anon) = (loading.0?, loading.1?);
        Some(Memory { peak_rss, loading_peak_rss, loading_rss_anon, rss, rss_anon, rss_file })
    }
}

/// Measures and prints.
pub fn run(args: &Bench, progress: &dyn Progress) -> Result<()> {
    ensure!(args.decode > 0, "--decode is 0; expected at least 1");
    ensure!(args.repeat > 0, "--repeat is 0; expected at least 1");
    ensure!(args.threads != Some(0), "--threads is 0; expected at least 1");
    let device = args.place.device;
    if let Some(beside) = args.beside {
        ensure!(beside != device, "--beside is {beside}, as --device; expected another device");
        beside.check(args.quantize, args.kv.kv)?;
    }
    let begun = Instant::now();
    let (decoder, loading) = memory::most_anonymous(|| open(args, device, progress));
    let decoder = decoder?;
    let load_seconds = begun.elapsed().as_secs_f64();
    let loading = (memory::peak(), loading);
    let beside = args.beside.map(|device| open(args, device, progress)).transpose()?;
    let turns = Turns { decoder: &decoder, beside: beside.as_ref(), times: args.repeat };
    let mut cases = Vec::new();
    let bytes = decoder.bytes_per_token();
    for (case, sequences) in [("decode", 1), ("sequences", args.sequences)] {
        if sequences > 0 {
            let prompts = prompts(&decoder, sequences);
            let (rates, beside) =
                turns.measure(|decoder| decode(decoder, &prompts, args.decode))?;
            // Bytes per second for now. The bandwidth is not known yet.
            let of_bandwidth =
                (!device.is_gpu()).then(|| bytes as f64 * rates.median / sequences as f64);
            let prompt = prompts.last().map_or(0, Vec::len);
            let of_product_limit =
                (sequences > 1).then(|| operations(&decoder, 1, 1) * rates.median);
            let (tokens, tokens_per_second) = (args.decode, rates);
            cases.push(Case {
                case,
                sequences,
                prompt,
                tokens,
                ratio: beside.as_ref().map(|beside| tokens_per_second.median / beside.median),
                tokens_per_second,
                beside,
                of_bandwidth,
                of_product_limit,
            });
        }
    }
    if args.prefill > 0 {
        let prompt = [ids(&decoder, args.prefill, 0)];
        let (tokens_per_second, beside) = turns.measure(|decoder| prefill(decoder, &prompt))?;
        let prompts_per_second = tokens_per_second.median / args.prefill as f64;
        let of_product_limit = Some(operations(&decoder, args.prefill, 1) * prompts_per_second);
        cases.push(Case {
            case: "prefill",
            sequences: 1,
            prompt: 0,
            tokens: args.prefill,
            ratio: beside.as_ref().map(|beside| tokens_per_second.median / beside.median),
            tokens_per_second,
            beside,
            of_bandwidth: None,
            of_product_limit,
        });
    }
    let memory = Memory::now(loading);
    let routing = args.router.as_ref().map(|file| routing::measure(&decoder, file, args));
    let routing = routing.transpose()?;
    let kernels = decoder.kernels();
    let model = decoder.info().name.clone();
    let (kv, kv_bytes_per_position) = (decoder.kv_type(), decoder.kv_bytes_per_position());
    drop((decoder, beside));
    let threads = args.threads.or(kernels.map(|k| k.1));
    let threads =
        threads.map_or_else(|| std::thread::available_parallelism().map(Into::into), Ok)?;
    let pool = Pool::new(threads)?;
    let read_bandwidth = pool.read_bandwidth();
    // Weights in f32 are not multiplied in integers.
    let product_limit = kernels.and_then(|_| pool.product_limit());
    for case in &mut cases {
        case.of_bandwidth = case.of_bandwidth.map(|bytes| bytes / read_bandwidth);
        case.of_product_limit =
            case.of_product_limit.zip(product_limit).map(|(operations, limit)| operations / limit);
    }
    let report = Report {
        model,
        device: device.name(),
        beside: args.beside.map(Device::name),
        quantize: args.quantize.map(|format| format.to_string()),
        isa: kernels.map(|k| k.0.to_string()),
        threads,
        load_seconds,
        bytes_per_token: bytes,
        kv,
        kv_bytes_per_position,
        read_bandwidth,
        product_limit,
        cases,
        routing,
        memory,
    };
    if args.json { output::json(&report) } else { show(&report) }
}

/// Loads the model onto a device.
fn open(args: &Bench, device: Device, progress: &dyn Progress) -> Result<Decoder> {
    let (quantize, kv, threads) = (args.quantize, args.kv.kv, args.threads);
    if let Some(shape) = &args.random {
        let options = LoadOptions { quantize, kv, device, threads, ..LoadOptions::default() };
        return Ok(RandomModel::named(shape, 0)?.decoder(&options)?);
    }
    let named = args.model.as_ref().context("give --model or --random")?;
    let options = LoadOptions {
        name: reference(named).map(str::to_owned),
        quantize,
        kv,
        device,
        threads,
        ..Default::default()
    };
    Ok(load_named_decoder(named, &options, progress)?)
}

/// Prompts of different lengths.
fn prompts(decoder: &Decoder, sequences: usize) -> Vec<Vec<TokenId>> {
    (0..sequences).map(|i| ids(decoder, PROMPT + i * LONGER, i as u64 + 1)).collect()
}

/// Operations of tokens with weights, two for each multiply-add.
fn operations(decoder: &Decoder, tokens: usize, with_head: usize) -> f64 {
    2.0 * decoder.multiply_adds(tokens, with_head) as f64
}

/// Pseudo-random token ids.
fn ids(decoder: &Decoder, len: usize, seed: u64) -> Vec<TokenId> {
    let mut state = seed;
    let id = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % decoder.info().vocabulary as u64) as TokenId
    };
    (0..len).map(id).collect()
}

/// Measures a model, and the same one on another device in turns with it.
struct Turns<'d> {
    decoder: &'d Decoder,
    beside: Option<&'d Decoder>,
    times: usize,
}

impl Turns<'_> {
    /// The rates of all runs, after one warm-up run of each.
    fn measure(&self, run: impl Fn(&Decoder) -> Result<f64>) -> Result<(Spread, Option<Spread>)> {
        let (mut rates, mut others) = (Vec::new(), Vec::new());
        for turn in 0..=self.times {
            let rate = run(self.decoder)?;
            let other = self.beside.map(&run).transpose()?;
            if turn > 0 {
                rates.push(rate);
                others.extend(other);
            }
        }
        Ok((Spread::of(rates), self.beside.map(|_| Spread::of(others))))
    }
}

/// Greedy tokens per second of all sequences together, without prompts.
fn decode(decoder: &Decoder, prompts: &[Vec<TokenId>], tokens: usize) -> Result<f64> {
    let mut states = vec![decoder.start(); prompts.len()];
    let mut next = advance(decoder, &mut states, prompts)?;
    let begun = Instant::now();
    for _ in 0..tokens {
        next = advance(decoder, &mut states, &next)?;
    }
    Ok((prompts.len() * tokens) as f64 / begun.elapsed().as_secs_f64())
}

/// Tokens per second of the prefill of one prompt.
fn prefill(decoder: &Decoder, prompt: &[Vec<TokenId>; 1]) -> Result<f64> {
    let begun = Instant::now();
    advance(decoder, &mut [decoder.start()], prompt)?;
    Ok(prompt[0].len() as f64 / begun.elapsed().as_secs_f64())
}

/// Feeds every sequence its tokens. Returns the next token of each, in a list of one.
fn advance(
    decoder: &Decoder,
    states: &mut [KvState],
    tokens: &[Vec<TokenId>],
) -> Result<Vec<Vec<TokenId>>> {
    let mut feeds: Vec<Feed<'_, KvState>> = states
        .iter_mut()
        .zip(tokens)
        .map(|(state, tokens)| Feed { state, tokens, from: tokens.len() - 1 })
        .collect();
    let steps = decoder.advance(&mut feeds, Detail::Token)?;
    Ok(steps.iter().map(|steps| steps.iter().map(|step| step.token).collect()).collect())
}

fn show(report: &Report) -> Result<()> {
    let mega = |bytes: f64| bytes / 1e6;
    output::line(&format!(
        "{}, {}, {}, {} threads, {}",
        report.model,
        report.device,
        report.quantize.as_deref().unwrap_or("weights as stored"),
        report.threads,
        report.isa.as_deref().unwrap_or("f32"),
    ))?;
    output::line(&format!(
        "{:.1} MB of weights a token, {:.1} GB/s read bandwidth, loaded in {:.1} s",
        mega(report.bytes_per_token as f64),
        report.read_bandwidth / 1e9,
        report.load_seconds
    ))?;
    output::line(&format!(
        "KV cache in {}, {} bytes a position",
        report.kv, report.kv_bytes_per_position
    ))?;
    if let Some(memory) = &report.memory {
        output::line(&format!(
            "{:.0} MB resident: {:.0} anonymous, {:.0} of mapped files; at most {:.0}, while loading {:.0}",
            mega(memory.rss as f64),
            mega(memory.rss_anon as f64),
            mega(memory.rss_file as f64),
            mega(memory.peak_rss as f64),
            mega(memory.loading_peak_rss as f64)
        ))?;
    }
    if let Some(limit) = report.product_limit {
        output::line(&format!("{:.0} Gop/s of 8-bit products in registers", limit / 1e9))?;
    }
    output::line(
        "case        sequences  tokens  tokens/s (least to most)     of bandwidth  of products",
    )?;
    for case in &report.cases {
        let rate = &case.tokens_per_second;
        let rates = format!("{:.1} ({:.1} to {:.1})", rate.median, rate.least, rate.most);
        let share = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{:.0}%", 100.0 * s));
        output::line(&format!(
            "{:10}  {:>9}  {:>6}  {rates:27}  {:>12}  {:>11}",
            case.case,
            case.sequences,
            case.tokens,
            share(case.of_bandwidth),
            share(case.of_product_limit)
        ))?;
    }
    if let Some(device) = report.beside {
        for case in &report.cases {
            let (Some(rate), Some(ratio)) = (&case.beside, case.ratio) else { continue };
            output::line(&format!(
                "{:10}  on {} {:.1} ({:.1} to {:.1}) tokens/s; {} has {ratio:.2} times as many",
                case.case, device, rate.median, rate.least, rate.most, report.device
            ))?;
        }
    }
    if let Some(routing) = &report.routing {
        output::line(&routing.to_string())?;
    }
    Ok(())
}

//! R2R's `HiddenStatesTokenLMHeadLogitsClassifier`, its published router: hidden state, the
//! embedding of the SLM's token and a projection of its greatest logits, joined and projected, then
//! pre-norm residual blocks and a norm before the output. With `normalize_input` hidden state and
//! embedding have norms of their own, and the logits become probabilities.

use tokenroute_core::{Activation, Architecture, FeatureSpec, Operator, OperatorPart, Platt};

use super::{PublishedHead, Stack, TokenEmbedding};
use crate::RouterLayer;
use crate::published::state_dict::StateDict;

const EMBEDDING: &str = "token_embeddings.weight";
const HIDDEN_NORM: &str = "layer_norm_hidden_states";
const TOKEN_NORM: &str = "layer_norm_token";

/// The token embeddings, if the file has them: R2R keeps them in the file that ends in `_all.pt`.
pub(super) fn known_embedding(state: &mut StateDict<'_>) -> Result<Option<TokenEmbedding>, String> {
    if !state.has(EMBEDDING) {
        return Ok(None);
    }
    let [_, width] = state.size(EMBEDDING)?;
    let (_, values) = state.matrix(EMBEDDING, width)?;
    Ok(Some(TokenEmbedding { width, values }))
}

pub(super) fn head(
    state: &mut StateDict<'_>,
    embedding: TokenEmbedding,
) -> Result<PublishedHead, String> {
    if state.has("backbone.position_embedding") {
        return Err("it has backbone.position_embedding; a head that reads positions (use_position_embedding) is not supported".to_owned());
    }
    let [hidden, top_logits] = state.size("logits_projection.weight")?;
    let width = embedding.width;
    let normalised = state.has(&format!("{HIDDEN_NORM}.weight"));
    // Hidden state, embedding and projected logits, one after another.
    let (mut first, mut token, mut logits) = (Stack::default(), Stack::default(), Stack::default());
    let rows = embedding.values.len() / width.max(1);
    token.operators.push(Operator::Embedding { rows, width });
    token.layers.push(RouterLayer { weight: embedding.values, bias: Vec::new() });
    if normalised {
        first.layer_norm(state, HIDDEN_NORM, hidden)?;
        token.layer_norm(state, TOKEN_NORM, width)?;
        logits.operators.push(Operator::Softmax);
    }
    logits.linear(state, "logits_projection", top_logits)?;
    let joined = hidden + width + hidden;
    let [_, found] = state.size("combined_projection.weight")?;
    if found != joined {
        return Err(format!(
            "combined_projection.weight reads {found} numbers; expected {joined}: hidden state {hidden}, embedding {width}, projected logits {hidden}"
        ));
    }
    let mut stack = Stack::default();
    let mut parts = Vec::new();
    for (inputs, part) in [(hidden, first), (1, token), (top_logits, logits)] {
        stack.layers.extend(part.layers);
        parts.push(OperatorPart { inputs, operators: part.operators });
    }
    stack.operators.push(Operator::Parts { parts });
    let mut now = stack.linear(state, "combined_projection", joined)?;
    now = stack.linear(state, "backbone.input_projection", now)?;
    let mut blocks = 0;
    while state.has(&format!("backbone.blocks.{blocks}.layer_norm.weight")) {
        now = block(state, &mut stack, &format!("backbone.blocks.{blocks}"), now)?;
        blocks += 1;
    }
    stack.layer_norm(state, "backbone.output_layer.0", now)?;
    let outputs = stack.linear(state, "backbone.output_layer.1", now)?;
    if outputs != 1 {
        return Err(format!(
            "backbone.output_layer.1.weight has {outputs} rows; expected 1, of a head with two classes"
        ));
    }
    Ok(PublishedHead {
        architecture: Architecture::Operators {
            name: format!("R2R's head, imported ({blocks} blocks)"),
            operators: stack.operators,
        },
        features: FeatureSpec { hidden, token: true, top_logits, ..FeatureSpec::default() },
        // Its logit is that of a critical token.
        platt: Platt { scale: -1.0, bias: 0.0 },
        layers: stack.layers,
    })
}

/// x or its projection, plus an MLP of the normalised x. Returns its width.
fn block(
    state: &mut StateDict<'_>,
    stack: &mut Stack,
    name: &str,
    width: usize,
) -> Result<usize, String> {
    let (mut past, mut within) = (Stack::default(), Stack::default());
    if state.has(&format!("{name}.dim_change.weight")) {
        past.linear(state, &format!("{name}.dim_change"), width)?;
    }
    within.layer_norm(state, &format!("{name}.layer_norm"), width)?;
    let expanded = within.linear(state, &format!("{name}.mlp.0"), width)?;
    within.operators.push(Operator::Activation { activation: Activation::Gelu });
    let given = within.linear(state, &format!("{name}.mlp.3"), expanded)?;
    stack.layers.extend(past.layers);
    stack.layers.extend(within.layers);
    stack.operators.push(Operator::Residual { operators: within.operators, skip: past.operators });
    Ok(given)
}

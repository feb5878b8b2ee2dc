//! What is known of the sequences that begin with one prompt: a trie whose
//! nodes hold answered tokens and point to model states to go on from.

use tokenroute_core::{Sampling, TokenId};

/// One prefix.
#[derive(Debug, Default)]
struct Node {
    children: Vec<(TokenId, u32)>,
    /// The model's greedy token after this prefix.
    greedy: Option<TokenId>,
    /// Those that were drawn, by how.
    drawn: Vec<(Sampling, TokenId)>,
    /// A kept state whose sequence runs through this prefix.
    state: Option<u32>,
}

impl Node {
    fn answer(&self, sampling: Option<Sampling>) -> Option<TokenId> {
        match sampling {
            None => self.greedy,
            Some(how) => self.drawn.iter().find(|d| d.0 == how).map(|d| d.1),
        }
    }

    fn keep(&mut self, sampling: Option<Sampling>, token: TokenId) {
        match sampling {
            None => self.greedy = Some(token),
            Some(how) if self.answer(sampling).is_none() => self.drawn.push((how, token)),
            Some(_) => {}
        }
    }
}

/// All prefixes of one prompt. Depth 0 is the empty prefix.
#[derive(Debug)]
pub(crate) struct Prefixes<S> {
    nodes: Vec<Node>,
    /// Kept states with their numbers of positions.
    states: Vec<(usize, S)>,
}

impl<S> Prefixes<S> {
    pub(crate) fn new() -> Self {
        Prefixes { nodes: vec![Node::default()], states: Vec::new() }
    }

    fn child(&self, node: usize, token: TokenId) -> Option<usize> {
        self.nodes[node].children.iter().find(|c| c.0 == token).map(|c| c.1 as usize)
    }

    /// The nodes along `tokens` as far as they are known, the root first.
    fn walk<'a>(&'a self, tokens: &'a [TokenId]) -> impl Iterator<Item = &'a Node> + 'a {
        let mut at = Some(0);
        let mut tokens = tokens.iter();
        std::iter::from_fn(move || {
            let node = at?;
            at = tokens.next().and_then(|&t| self.child(node, t));
            Some(&self.nodes[node])
        })
    }

    /// The answers after `tokens[..i]` for every `i` in `from..=tokens.len()`,
    /// `None` where there is none yet that was drawn in this way.
    pub(crate) fn answers(
        &self,
        tokens: &[TokenId],
        from: usize,
        sampling: Option<Sampling>,
    ) -> Vec<Option<TokenId>> {
        let mut known: Vec<_> = self.walk(tokens).skip(from).map(|n| n.answer(sampling)).collect();
        known.resize(tokens.len() + 1 - from, None);
        known
    }

    /// The longest prefix of `tokens` that a kept state covers: its length, the
    /// state's number, and the state, which may hold more positions than that.
    pub(crate) fn nearest(&self, tokens: &[TokenId]) -> Option<(usize, u32, &S)> {
        let (depth, id) = self
            .walk(tokens)
            .enumerate()
            .skip(1)
            .map_while(|(depth, n)| Some((depth, n.state?)))
            .last()?;
        Some((depth, id, &self.states[id as usize].1))
    }

    /// Keeps a state that holds exactly `tokens`, and the answers after
    /// `tokens[..i]` for `i` from `from`, drawn by `sampling`. `grown` is the number and length of
    /// the state it was made from: if that state ends there, it is a prefix of
    /// the new one and gives way to it.
    pub(crate) fn insert(
        &mut self,
        tokens: &[TokenId],
        state: S,
        grown: Option<(u32, usize)>,
        from: usize,
        sampling: Option<Sampling>,
        said: &[TokenId],
    ) {
        let kept = (tokens.len(), state);
        let id = match grown {
            Some((id, held)) if self.states[id as usize].0 == held => {
                self.states[id as usize] = kept;
                id
            }
            _ => {
                self.states.push(kept);
                self.states.len() as u32 - 1
            }
        };
        let mut at = 0;
        for (depth, &token) in (1usize..).zip(tokens) {
            at = self.child(at, token).unwrap_or_else(|| {
                let new = self.nodes.len();
                self.nodes.push(Node::default());
                self.nodes[at].children.push((token, new as u32));
                new
            });
            let node = &mut self.nodes[at];
            node.state = Some(id);
            if let Some(&token) = depth.checked_sub(from).and_then(|i| said.get(i)) {
                node.keep(sampling, token);
            }
        }
    }
}

/// Length of what two sequences share from the start.
pub(crate) fn shared(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

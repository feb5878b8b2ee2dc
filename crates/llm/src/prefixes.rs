//! The sequences that begin with one prompt, as a trie. Its nodes hold answers and point to
//! cached states.

use tokenroute_core::{Sampling, TokenId, TopTokens, Vocabulary};

/// One prefix.
#[derive(Debug, Default)]
struct Node {
    children: Vec<(TokenId, u32)>,
    /// The model's greedy token after this prefix.
    greedy: Option<TokenId>,
    /// Drawn tokens, by their sampling.
    drawn: Vec<(Sampling, TokenId)>,
    /// The most probable tokens, and how many were wanted.
    top: Option<(usize, TopTokens)>,
    /// A state whose sequence runs through this prefix.
    state: Option<u32>,
}

impl Node {
    fn answer(&self, sampling: Option<Sampling>) -> Option<TokenId> {
        match sampling {
            None => self.greedy,
            Some(how) => self.drawn.iter().find(|d| d.0 == how).map(|d| d.1),
        }
    }

    /// The most probable tokens, if that many or more are known.
    fn top(&self, wanted: usize) -> Option<TopTokens> {
        let (known, top) = self.top.as_ref()?;
        if wanted == *known {
            return Some(top.clone());
        }
        (wanted < *known).then(|| top[..wanted.min(top.len())].into())
    }

    fn keep(&mut self, sampling: Option<Sampling>, token: TokenId) {
        match sampling {
            None => self.greedy = Some(token),
            Some(how) if self.answer(sampling).is_none() => self.drawn.push((how, token)),
            Some(_) => {}
        }
    }
}

/// A known answer.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) token: TokenId,
    /// The most probable tokens, if they were wanted.
    pub(crate) top: Option<TopTokens>,
}

/// The longest cached prefix of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its number of positions.
    pub(crate) positions: usize,
    /// Number of the state. `None` if there is none and `positions` is 0.
    pub(crate) state: Option<u32>,
}

/// All prefixes of one prompt. Depth 0 is the empty prefix.
#[derive(Debug)]
pub(crate) struct Prefixes<S> {
    nodes: Vec<Node>,
    /// Free nodes, for reuse.
    free: Vec<u32>,
    /// Cached states with their numbers of positions, by number.
    states: Vec<Option<(usize, S)>>,
    /// Free numbers of states.
    spare: Vec<u32>,
}

impl<S> Prefixes<S> {
    pub(crate) fn new() -> Self {
        let nodes = vec![Node::default()];
        Prefixes { nodes, free: Vec::new(), states: Vec::new(), spare: Vec::new() }
    }

    fn child(&self, node: usize, token: TokenId) -> Option<usize> {
        self.nodes[node].children.iter().find(|c| c.0 == token).map(|c| c.1 as usize)
    }

    /// The known nodes along `tokens`, the empty prefix first.
    fn walk<'a>(&'a self, tokens: &'a [TokenId]) -> impl Iterator<Item = usize> + 'a {
        let mut at = Some(0);
        let mut tokens = tokens.iter();
        std::iter::from_fn(move || {
            let node = at?;
            at = tokens.next().and_then(|&t| self.child(node, t));
            Some(node)
        })
    }

    /// The answers to an ask with this context, from the prefix of `from` tokens on. `None`
    /// where no token has been drawn with this sampling, or the most probable tokens are
    /// wanted and not known.
    pub(crate) fn answers(
        &self,
        tokens: &[TokenId],
        from: usize,
        sampling: Option<Sampling>,
        top: usize,
    ) -> Vec<Option<Said>> {
        let answer = |node: usize| {
            let token = self.nodes[node].answer(sampling)?;
            let top = if top == 0 { None } else { Some(self.nodes[node].top(top)?) };
            Some(Said { token, top })
        };
        let mut known: Vec<_> = self.walk(tokens).skip(from).map(answer).collect();
        known.resize(tokens.len() + 1 - from, None);
        known
    }

    /// Caches the most probable tokens after `tokens[..i]` for `i` from `from`, which are known
    /// prefixes. `wanted` is the number that was wanted of each.
    pub(crate) fn keep_top(
        &mut self,
        tokens: &[TokenId],
        from: usize,
        wanted: usize,
        top: &[TopTokens],
    ) {
        let nodes: Vec<usize> = self.walk(tokens).skip(from).collect();
        for (node, top) in nodes.into_iter().zip(top) {
            self.nodes[node].top = Some((wanted, top.clone()));
        }
    }

    /// The known answers that follow `tokens`, one after the other: at most `most`, and none
    /// after one that ends the answer.
    pub(crate) fn continuation(
        &self,
        tokens: &[TokenId],
        most: usize,
        sampling: Option<Sampling>,
        vocabulary: &Vocabulary,
    ) -> Vec<TokenId> {
        let mut at = self.walk(tokens).nth(tokens.len());
        let (mut known, mut text) = (Vec::new(), tokens.to_vec());
        while known.len() < most
            && let Some(token) = at.and_then(|node| self.nodes[node].answer(sampling))
        {
            known.push(token);
            text.push(token);
            if vocabulary.closes(&text) {
                break;
            }
            at = at.and_then(|node| self.child(node, token));
        }
        known
    }

    /// The longest prefix of `tokens` that a cached state covers. The state may hold more
    /// positions.
    pub(crate) fn nearest(&self, tokens: &[TokenId]) -> Held {
        self.walk(tokens)
            .enumerate()
            .skip(1)
            .map_while(|(depth, node)| Some((depth, self.covering(node)?)))
            .last()
            .map_or(Held { positions: 0, state: None }, |(positions, id)| Held {
                positions,
                state: Some(id),
            })
    }

    /// The state that a node points to. `None` if it was taken out and lost.
    fn covering(&self, node: usize) -> Option<u32> {
        self.nodes[node].state.filter(|&id| self.states[id as usize].is_some())
    }

    /// A cached state.
    pub(crate) fn state(&self, held: Held) -> Option<&S> {
        self.states.get(held.state? as usize)?.as_ref().map(|(_, state)| state)
    }

    /// Whether a state ends at its held positions. A longer state then takes its place.
    pub(crate) fn ends(&self, held: Held) -> bool {
        let state = held.state.and_then(|id| self.states.get(id as usize)?.as_ref());
        state.is_some_and(|(positions, _)| *positions == held.positions)
    }

    /// Takes out a state that ends at its held positions. [`Prefixes::insert`] puts a new one
    /// in its place.
    pub(crate) fn take(&mut self, held: Held) -> Option<S> {
        let place = self.states.get_mut(held.state? as usize)?;
        place.take_if(|(positions, _)| *positions == held.positions).map(|(_, state)| state)
    }

    /// Caches a state that holds exactly `tokens`, and the answers after `tokens[..i]` for `i`
    /// from `from`, drawn by `sampling`. `grown` is the state that it extends, if that state
    /// ended there. The new state replaces it.
    pub(crate) fn insert(
        &mut self,
        tokens: &[TokenId],
        state: S,
        grown: Option<Held>,
        from: usize,
        sampling: Option<Sampling>,
        said: &[TokenId],
    ) {
        let id = grown.and_then(|held| held.state).unwrap_or_else(|| self.number());
        let mut covers = grown.is_some();
        let mut at = 0;
        for (depth, &token) in (1usize..).zip(tokens) {
            at = self.child(at, token).unwrap_or_else(|| self.add(at, token));
            if self.covering(at).is_none() {
                self.nodes[at].state = Some(id);
                covers = true;
            }
            let node = &mut self.nodes[at];
            if let Some(&token) = depth.checked_sub(from).and_then(|i| said.get(i)) {
                node.keep(sampling, token);
            }
        }
        // A state that others cover everywhere would never be found.
        if covers {
            self.states[id as usize] = Some((tokens.len(), state));
        } else {
            self.spare.push(id);
        }
    }

    /// A number for a new state.
    fn number(&mut self) -> u32 {
        self.spare.pop().unwrap_or_else(|| {
            self.states.push(None);
            self.states.len() as u32 - 1
        })
    }

    /// A new child of a node.
    fn add(&mut self, node: usize, token: TokenId) -> usize {
        let new = self.free.pop().unwrap_or(self.nodes.len() as u32);
        if new as usize == self.nodes.len() {
            self.nodes.push(Node::default());
        }
        self.nodes[node].children.push((token, new));
        new as usize
    }

    /// Drops all entries that begin with `tokens`, which is not empty. `truncate` shortens a
    /// state that shorter prefixes still need.
    pub(crate) fn forget(&mut self, tokens: &[TokenId], truncate: &dyn Fn(&mut S, usize)) {
        let mut above: Vec<usize> = self.walk(tokens).collect();
        let Some(top) = above.pop().filter(|_| above.len() == tokens.len()) else { return };
        let Some(&parent) = above.last() else { return };
        self.nodes[parent].children.retain(|c| c.1 as usize != top);
        let needed = self.nodes[parent].state;
        let mut below = vec![top as u32];
        while let Some(node) = below.pop() {
            let Node { children, state, .. } = std::mem::take(&mut self.nodes[node as usize]);
            below.extend(children.into_iter().map(|c| c.1));
            self.free.push(node);
            // Its sequence passes through here.
            let Some(id) = state else { continue };
            let place = &mut self.states[id as usize];
            if needed == Some(id)
                && let Some((positions, state)) = place
            {
                *positions = tokens.len() - 1;
                truncate(state, *positions);
            } else if place.take().is_some() {
                self.spare.push(id);
            }
        }
        // A pointer to a dropped state moves to another state that passes through the same
        // node.
        for &node in above.iter().rev() {
            if self.covering(node).is_none() {
                let mut others = self.nodes[node].children.iter();
                self.nodes[node].state = others.find_map(|c| self.covering(c.1 as usize));
            }
        }
    }
}

/// Length of the common prefix of two sequences.
pub(crate) fn shared(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Answers as the parts of a reply.
pub(crate) fn split(said: impl Iterator<Item = Said>) -> (Vec<TokenId>, Vec<TopTokens>) {
    let (mut tokens, mut tops) = (Vec::new(), Vec::new());
    for Said { token, top } in said {
        tokens.push(token);
        tops.extend(top);
    }
    (tokens, tops)
}

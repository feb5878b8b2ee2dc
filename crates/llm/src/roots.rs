//! Cached states and answers of many prompts. Each prompt has a root of its own, so the cost of
//! one does not depend on the others.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use tokenroute_core::TokenId;

use crate::prefixes::Prefixes;

/// Names a root: the shortest context with an ask. That is the prompt, or the prompt and some
/// committed tokens until an ask comes from the prompt's end.
pub(crate) type Key = Arc<[TokenId]>;

/// The cached states and answers, by root.
#[derive(Debug)]
pub(crate) struct Roots<S> {
    roots: BTreeMap<Key, Root<S>>,
    /// Most roots kept.
    most: usize,
    clock: u64,
}

#[derive(Debug)]
struct Root<S> {
    used: u64,
    prefixes: Prefixes<S>,
}

impl<S> Roots<S> {
    /// An empty cache for up to `most` prompts, at least one.
    pub(crate) fn new(most: usize) -> Self {
        Roots { roots: BTreeMap::new(), most: most.max(1), clock: 0 }
    }

    /// Makes the roots of contexts that are asked together, so that no [`Roots::key`] of one
    /// renames the root of another.
    pub(crate) fn open<'a>(&mut self, contexts: impl IntoIterator<Item = (&'a [TokenId], usize)>) {
        for (context, first) in contexts {
            if (1..=context.len()).contains(&first) {
                self.key(context, first);
            }
        }
    }

    /// The root of a context. A missing root is made from `context[..first]`; `first` is at
    /// least 1.
    pub(crate) fn key(&mut self, context: &[TokenId], first: usize) -> Key {
        self.clock += 1;
        let now = self.clock;
        if let Some((key, root)) = self.before(context)
            && key.len() <= first
        {
            let key = Arc::clone(key);
            root.used = now;
            return key;
        }
        let key: Key = context[..first].into();
        // A root that began later in the same text now begins here. Its prefixes are whole.
        let from = (Bound::Included(&context[..first]), Bound::Unbounded);
        let next = self.roots.range::<[TokenId], _>(from).next().map(|(name, _)| name);
        let later = next.filter(|name| name.starts_with(&key)).cloned();
        let found = later.and_then(|name| self.roots.remove(&name));
        let mut root = found.unwrap_or_else(|| Root { used: now, prefixes: Prefixes::new() });
        root.used = now;
        self.roots.insert(Arc::clone(&key), root);
        key
    }

    /// The root whose name is a prefix of this context.
    fn before(&mut self, context: &[TokenId]) -> Option<(&Key, &mut Root<S>)> {
        // A prefix of the context sorts before it, and all names between the two begin with
        // that prefix.
        let to = Bound::Included(context);
        let last = self.roots.range_mut::<[TokenId], _>((Bound::Unbounded, to)).next_back();
        last.filter(|(key, _)| context.starts_with(key))
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Prefixes<S>> {
        self.roots.get(key).map(|root| &root.prefixes)
    }

    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut Prefixes<S>> {
        self.roots.get_mut(key).map(|root| &mut root.prefixes)
    }

    /// Drops the least recently used roots beyond the limit.
    pub(crate) fn evict(&mut self) {
        while self.roots.len() > self.most {
            let oldest = self.roots.iter().min_by_key(|(_, root)| root.used);
            let Some(key) = oldest.map(|(key, _)| Arc::clone(key)) else { return };
            self.roots.remove(&key);
        }
    }

    /// Drops all entries that begin with `prompt`. `truncate` shortens a state to a number of
    /// positions.
    pub(crate) fn forget(&mut self, prompt: &[TokenId], truncate: &dyn Fn(&mut S, usize)) {
        let from = (Bound::Included(prompt), Bound::Unbounded);
        let names = self.roots.range::<[TokenId], _>(from).map(|(key, _)| key);
        let gone: Vec<Key> = names.take_while(|k| k.starts_with(prompt)).cloned().collect();
        for key in gone {
            self.roots.remove(&key);
        }
        if let Some((_, root)) = self.before(prompt) {
            root.prefixes.forget(prompt, truncate);
        }
    }
}

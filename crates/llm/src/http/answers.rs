//! The answer cache: greedy tokens by model and prefix, in one redb file. The first answer for
//! a prefix stays; later ones are dropped. Drawn tokens are not cached.

mod error;
mod front;
mod tops;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use sha2::{Digest, Sha256};
use tokenroute_core::{Ask, Continuation, Llm, LlmError, Reply, TokenId, Vocabulary};

use crate::metered::check_top;
use crate::prefixes::{Said, split};
pub use error::AnswersError;
use front::Begun;
use tops::known_tops;

/// SHA-256 over the model's identity and the prefix (ids as u32, little endian)
/// to the greedy token.
const TABLE: TableDefinition<'_, [u8; 32], u32> = TableDefinition::new("answers-v1");

/// Most answers that a crash may lose, because they are not on disk yet.
const UNFORCED: u64 = 1024;

/// An LLM with a cache of its answers on disk. A cached answer costs no positions.
#[derive(Debug)]
pub struct Answers<L> {
    llm: L,
    path: PathBuf,
    /// `None` only during drop.
    database: Option<Database>,
    /// Hash of the identity, to be continued over a prefix.
    identity: Sha256,
    /// Number of tokens. The file's ids are checked like those of a reply.
    vocabulary: usize,
    unforced: AtomicU64,
}

/// Runs work on the database. redb panics at some damaged files; that is an error too.
fn unbroken<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(redb::Error::Corrupted("its pages contradict one another".to_owned()))
    })
}

/// The identity under which a server's answers are cached: the model's name there and the
/// pair's tokenizer.
#[must_use]
pub fn identity(model: &str, vocabulary: &Vocabulary) -> String {
    format!("{model} {}", vocabulary.hash())
}

impl<L> Answers<L> {
    /// Opens or creates the file. `identity` names the model and its tokenizer, so that
    /// different models do not share answers. `vocabulary` is the pair's.
    ///
    /// # Errors
    /// A file that is in use, cannot be read, or has another format.
    pub fn open(
        path: &Path,
        identity: &str,
        vocabulary: &Vocabulary,
        llm: L,
    ) -> Result<Self, AnswersError> {
        let database = unbroken(|| Ok(Database::create(path)?)).map_err(|error| match error {
            redb::Error::DatabaseAlreadyOpen => AnswersError::InUse { path: path.to_owned() },
            other => AnswersError::Store { path: path.to_owned(), message: other.to_string() },
        })?;
        let mut hash = Sha256::new();
        hash.update((identity.len() as u64).to_le_bytes());
        hash.update(identity);
        let unforced = AtomicU64::new(0);
        let (path, vocabulary) = (path.to_owned(), vocabulary.len());
        let database = Some(database);
        let answers = Answers { llm, path, database, identity: hash, vocabulary, unforced };
        // The table must be there before the first read.
        answers.keep(&[]).map_err(|error| answers.fault(&error))?;
        Ok(answers)
    }

    /// The LLM behind it.
    pub fn llm(&self) -> &L {
        &self.llm
    }

    /// Writes all cached answers to disk.
    ///
    /// # Errors
    /// An error of the database.
    pub fn force(&self) -> Result<(), AnswersError> {
        if self.unforced.swap(0, Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let commit = || Ok::<_, redb::Error>(self.database()?.begin_write()?.commit()?);
        unbroken(commit).map_err(|error| self.fault(&error))
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        let closed = || redb::Error::Corrupted("it is closed".to_owned());
        self.database.as_ref().ok_or_else(closed)
    }

    fn fault(&self, error: &redb::Error) -> AnswersError {
        AnswersError::Store { path: self.path.clone(), message: error.to_string() }
    }

    /// The hash after these tokens.
    fn hash(&self, tokens: &[TokenId]) -> Sha256 {
        let mut hash = self.identity.clone();
        tokens.iter().for_each(|token| hash.update(token.to_le_bytes()));
        hash
    }

    /// The cached greedy continuation of a context: at most `tokens`, and none after one that
    /// ends the answer. The hash advances over it.
    fn known_run(
        &self,
        hash: &mut Sha256,
        context: &[TokenId],
        tokens: usize,
        vocabulary: &Vocabulary,
    ) -> Result<Vec<TokenId>, redb::Error> {
        unbroken(|| {
            let reading = self.database()?.begin_read()?;
            let table = reading.open_table(TABLE)?;
            let mut run = Vec::new();
            let mut text = context.to_vec();
            while run.len() < tokens && (run.is_empty() || !vocabulary.closes(&text)) {
                let key: [u8; 32] = hash.clone().finalize().into();
                let Some(token) = self.entry(&table, &key)? else { break };
                hash.update(token.to_le_bytes());
                run.push(token);
                text.push(token);
            }
            Ok(run)
        })
    }

    /// A token of the table, checked against the vocabulary.
    fn entry(
        &self,
        table: &impl ReadableTable<[u8; 32], u32>,
        key: &[u8; 32],
    ) -> Result<Option<TokenId>, redb::Error> {
        let token = table.get(key)?.map(|token| token.value());
        token.map(|token| self.checked(token)).transpose()
    }

    /// An id of the file, which must be one of the vocabulary's.
    fn checked(&self, token: TokenId) -> Result<TokenId, redb::Error> {
        if (token as usize) < self.vocabulary {
            return Ok(token);
        }
        Err(redb::Error::Corrupted(format!(
            "token {token} is outside the vocabulary of {}",
            self.vocabulary
        )))
    }

    /// Caches a run of greedy tokens from the hash's position. It stops where the cache has
    /// another token, since later tokens belong to another prefix.
    fn keep_run(&self, mut hash: Sha256, said: &[TokenId]) -> Result<Vec<TokenId>, redb::Error> {
        let pair = |&token: &TokenId| {
            let key: [u8; 32] = hash.clone().finalize().into();
            hash.update(token.to_le_bytes());
            (key, token)
        };
        let pairs: Vec<_> = said.iter().map(pair).collect();
        let kept = self.keep(&pairs)?;
        let same = kept.iter().zip(said).take_while(|(kept, said)| kept == said).count();
        Ok(kept.into_iter().take(same + 1).collect())
    }

    /// Keys of `context[..i]` for every `i` in `from..=context.len()`.
    fn keys(&self, ask: &Ask<'_>) -> Vec<[u8; 32]> {
        let mut hash = self.identity.clone();
        let mut keys = Vec::with_capacity((ask.context.len() + 1).saturating_sub(ask.from));
        for (i, token) in (1..).zip(ask.context) {
            hash.update(token.to_le_bytes());
            if i >= ask.from {
                keys.push(hash.clone().finalize().into());
            }
        }
        keys
    }

    /// The cached answers to asks with these keys; a damaged entry fails its own ask.
    fn known(
        &self,
        asks: &[Ask<'_>],
        keys: &[Vec<[u8; 32]>],
    ) -> Vec<Result<Vec<Option<Said>>, redb::Error>> {
        let known = |(ask, keys): (&Ask<'_>, &Vec<[u8; 32]>)| {
            unbroken(|| {
                let reading = self.database()?.begin_read()?;
                let table = reading.open_table(TABLE)?;
                let mut tops = vec![None; keys.len()];
                if ask.top > 0 {
                    tops = known_tops(&reading, keys, ask.top)?;
                }
                keys.iter()
                    .zip(tops)
                    .map(|(key, top)| {
                        let token = self.entry(&table, key)?;
                        for &(token, _) in top.iter().flat_map(|top| top.iter()) {
                            self.checked(token)?;
                        }
                        let whole = ask.top == 0 || top.is_some();
                        Ok(token.filter(|_| whole).map(|token| Said { token, top }))
                    })
                    .collect()
            })
        };
        asks.iter().zip(keys).map(known).collect()
    }

    /// Caches new answers and returns the cached ones.
    fn keep(&self, said: &[([u8; 32], TokenId)]) -> Result<Vec<TokenId>, redb::Error> {
        unbroken(|| self.keep_sound(said))
    }

    fn keep_sound(&self, said: &[([u8; 32], TokenId)]) -> Result<Vec<TokenId>, redb::Error> {
        let mut writing = self.database()?.begin_write()?;
        let unforced = self.unforced.load(Ordering::Relaxed) + said.len() as u64;
        let force = said.is_empty() || unforced >= UNFORCED;
        if !force {
            writing.set_durability(Durability::None)?;
        }
        let mut kept = Vec::with_capacity(said.len());
        {
            let mut table = writing.open_table(TABLE)?;
            for (key, token) in said {
                let first = self.entry(&table, key)?;
                if first.is_none() {
                    table.insert(key, token)?;
                }
                kept.push(first.unwrap_or(*token));
            }
        }
        writing.commit()?;
        self.unforced.store(if force { 0 } else { unforced }, Ordering::Relaxed);
        Ok(kept)
    }
}

impl<L: Llm> Answers<L> {
    /// Answers asks for greedy tokens.
    fn greedy(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let keys: Vec<_> = asks.iter().map(|ask| self.keys(ask)).collect();
        let known = self.known(asks, &keys);
        let mut replies: Vec<Result<Reply, LlmError>> = known
            .iter()
            .map(|known| match known {
                Ok(known) => {
                    let (tokens, top) = split(known.iter().map_while(Option::clone));
                    Ok(Reply { tokens, top, ..Reply::default() })
                }
                Err(error) => Err(self.away(error)),
            })
            .collect();
        let known: Vec<Vec<Option<Said>>> =
            known.into_iter().map(Result::unwrap_or_default).collect();
        let open = |i: &usize| replies[*i].as_ref().is_ok_and(|r| r.tokens.len() < keys[*i].len());
        let missing: Vec<usize> = (0..asks.len()).filter(open).collect();
        // Cached answers at the front are not requested again.
        let rest: Vec<Ask<'_>> = missing
            .iter()
            .map(|&i| {
                let front = known[i].iter().take_while(|said| said.is_some()).count();
                Ask { from: asks[i].from + front, ..asks[i] }
            })
            .collect();
        if rest.is_empty() {
            return replies;
        }
        for ((&i, ask), said) in missing.iter().zip(&rest).zip(self.llm.ask(&rest)) {
            let new = &keys[i][ask.from - asks[i].from..];
            replies[i] = said.and_then(|said| {
                if said.tokens.len() != new.len() {
                    let (found, wanted) = (said.tokens.len(), new.len());
                    return Err(LlmError::BadReply(format!("{found} tokens; expected {wanted}")));
                }
                let pairs: Vec<_> = new.iter().copied().zip(said.tokens.iter().copied()).collect();
                check_top(ask.top, &said)?;
                let kept = self.keep(&pairs).map_err(|error| self.away(&error))?;
                let (mut tokens, mut top) = split(known[i].iter().map_while(Option::clone));
                tokens.extend(kept);
                if ask.top > 0 {
                    let tops = self.keep_tops(new, ask.top, said.top);
                    top.extend(tops.map_err(|error| self.away(&error))?);
                }
                Ok(Reply { tokens, top, ..said })
            });
        }
        replies
    }
}

impl<L> Answers<L> {
    /// An error of the database fails the ask: an answer that is not cached could not be
    /// repeated.
    fn away(&self, error: &redb::Error) -> LlmError {
        let message = self.fault(error).to_string();
        match error {
            redb::Error::Corrupted(_) => LlmError::BadReply(message),
            _ => LlmError::Unavailable(message),
        }
    }
}

impl<L: Llm> Llm for Answers<L> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let (drawn, greedy): (Vec<_>, Vec<_>) =
            asks.iter().copied().partition(|ask| ask.sampling.is_some());
        let (mut drawn, mut greedy) =
            (self.llm.ask(&drawn).into_iter(), self.greedy(&greedy).into_iter());
        let replies = asks.iter().map(|ask| match ask.sampling {
            Some(_) => drawn.next(),
            None => greedy.next(),
        });
        let none = || Err(LlmError::BadReply("no reply to this ask".to_owned()));
        replies.map(|reply| reply.unwrap_or_else(none)).collect()
    }

    /// Cached tokens at the front are not requested again. The rest is one continuation, and
    /// each of its tokens is cached under its own prefix. Drawn tokens are not cached.
    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        let begun: Vec<_> = wanted.iter().map(|w| self.begin(w, vocabulary)).collect();
        let rest: Vec<Continuation<'_>> = wanted
            .iter()
            .zip(&begun)
            .filter_map(|(&w, begun)| {
                let begun = begun.as_ref().ok()?;
                let tokens = begun.left;
                (tokens > 0).then_some(Continuation { context: &begun.tokens, tokens, ..w })
            })
            .collect();
        let said = match rest.is_empty() {
            true => Vec::new(),
            false => self.llm.continuations(&rest, vocabulary),
        };
        let mut said = said.into_iter();
        let none = || Err(LlmError::BadReply("no reply to a continuation".to_owned()));
        let end = |(w, begun): (&Continuation<'_>, Result<Begun, LlmError>)| {
            let begun = begun?;
            let said = match begun.left {
                0 => Ok(Reply::default()),
                _ => said.next().unwrap_or_else(none),
            };
            self.end(w, begun, said, vocabulary)
        };
        wanted.iter().zip(begun).map(end).collect()
    }

    /// The answer is complete, so its cached tokens go to disk.
    fn forget(&self, prompt: &[TokenId]) {
        // The next ask reports a failure, because it cannot write either.
        drop(self.force());
        self.llm.forget(prompt);
    }
}

impl<L> Drop for Answers<L> {
    fn drop(&mut self) {
        drop(self.force());
        // Closing the file writes to it once more.
        let database = self.database.take();
        drop(unbroken(|| {
            drop(database);
            Ok(())
        }));
    }
}

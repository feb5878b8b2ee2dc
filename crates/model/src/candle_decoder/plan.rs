//! Which tokens go through the layers together. Limits keep the memory of a pass bounded,
//! whatever the prompts and the batch.

use std::ops::Range;

/// Most rows of a pass.
const ROWS: usize = 1024;
/// Most tokens of one feed in a pass.
const PIECE: usize = 256;
/// Most scores of a group, heads times rows times positions: 128 MB in f32. A single row of a
/// long sequence may have more.
const SCORES: usize = 1 << 25;

/// What is left of a feed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// Positions that its state holds.
    pub(super) past: usize,
    /// The next of its tokens.
    pub(super) next: usize,
    /// Tokens from there on.
    pub(super) left: usize,
}

/// Some tokens of one feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) feed: usize,
    /// The first of the feed's tokens.
    pub(super) from: usize,
    pub(super) len: usize,
    /// Positions before them.
    pub(super) past: usize,
}

/// Pieces of the same length, whose attention is computed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) pieces: Range<usize>,
    /// Their rows in the pass.
    pub(super) rows: Range<usize>,
    /// Tokens of each piece.
    pub(super) len: usize,
    /// The most positions before one of them.
    pub(super) past: usize,
}

/// One pass: pieces in the order of their rows, and groups of them.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) pieces: Vec<Piece>,
    pub(super) groups: Vec<Group>,
}

impl Plan {
    /// The next pass over feeds. It has no pieces if no feed has tokens left. A group reads at
    /// most `positions` earlier and new positions, unless it has one piece.
    pub(super) fn next(waiting: &[Waiting], heads: usize, positions: usize) -> Self {
        let mut room = ROWS;
        let mut plan = Plan::default();
        for (feed, &Waiting { past, next, left }) in waiting.iter().enumerate() {
            let most = (SCORES / (heads * (past + PIECE))).clamp(1, PIECE);
            let len = left.min(most).min(room);
            if len > 0 {
                plan.pieces.push(Piece { feed, from: next, len, past });
                room -= len;
            }
        }
        plan.pieces.sort_by_key(|piece| (piece.len, piece.past));
        let mut row = 0;
        for (i, piece) in plan.pieces.iter().enumerate() {
            let rows = row..row + piece.len;
            row = rows.end;
            let fits = |group: &&mut Group| {
                let read = (group.pieces.len() + 1) * (piece.past + piece.len);
                let scores = heads * piece.len * read;
                group.len == piece.len && read <= positions && scores <= SCORES
            };
            match plan.groups.last_mut().filter(fits) {
                // Pieces are in the order of their past, so this one has the most.
                Some(group) => {
                    group.pieces.end = i + 1;
                    group.rows.end = rows.end;
                    group.past = piece.past;
                }
                None => plan.groups.push(Group {
                    pieces: i..i + 1,
                    rows,
                    len: piece.len,
                    past: piece.past,
                }),
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All passes over feeds of (positions, tokens).
    fn passes(feeds: &[(usize, usize)], heads: usize, positions: usize) -> Vec<Plan> {
        let mut waiting: Vec<Waiting> =
            feeds.iter().map(|&(past, left)| Waiting { past, next: 0, left }).collect();
        let mut plans = Vec::new();
        loop {
            let plan = Plan::next(&waiting, heads, positions);
            if plan.pieces.is_empty() {
                return plans;
            }
            for piece in &plan.pieces {
                let feed = &mut waiting[piece.feed];
                assert_eq!((feed.next, feed.past), (piece.from, piece.past), "in order");
                feed.next += piece.len;
                feed.past += piece.len;
                feed.left -= piece.len;
            }
            plans.push(plan);
        }
    }

    fn check(feeds: &[(usize, usize)], heads: usize, positions: usize) -> usize {
        let plans = passes(feeds, heads, positions);
        let mut fed = vec![0; feeds.len()];
        for plan in &plans {
            let rows: usize = plan.pieces.iter().map(|piece| piece.len).sum();
            assert!(rows <= ROWS);
            let (mut piece, mut row) = (0, 0);
            for group in &plan.groups {
                assert_eq!((group.pieces.start, group.rows.start), (piece, row));
                let pieces = &plan.pieces[group.pieces.clone()];
                assert!(pieces.iter().all(|p| p.len == group.len && p.past <= group.past));
                assert_eq!(group.rows.len(), pieces.len() * group.len);
                let read = pieces.len() * (group.past + group.len);
                assert!(pieces.len() == 1 || read <= positions);
                assert!(heads * group.len * read <= SCORES || group.rows.len() == 1);
                (piece, row) = (group.pieces.end, group.rows.end);
            }
            assert_eq!((piece, row), (plan.pieces.len(), rows));
            plan.pieces.iter().for_each(|piece| fed[piece.feed] += piece.len);
        }
        assert!(fed.iter().zip(feeds).all(|(fed, feed)| *fed == feed.1));
        plans.len()
    }

    #[test]
    fn every_token_is_fed_once_and_limits_hold() {
        assert_eq!(check(&[(0, 5)], 4, 1000), 1);
        assert_eq!(check(&[(7, 1), (900, 1), (0, 1), (20, 1)], 4, 1000), 1);
        assert_eq!(check(&[(0, 2000), (3, 1), (0, 300)], 4, 1000), 8);
        check(&[(0, 40), (0, 40), (30_000, 700), (12, 1), (90_000, 2)], 32, 40_000);
        check(&[(1 << 24, 3)], 64, 10);
        check(&vec![(100, 33); 90], 8, 5000);
    }

    #[test]
    fn sequences_that_decode_are_one_group() {
        let plans = passes(&[(7, 1), (900, 1), (0, 1), (20, 30)], 4, 10_000);
        let groups: Vec<_> = plans[0].groups.iter().map(|g| (g.pieces.len(), g.past)).collect();
        assert_eq!(groups, [(3, 900), (1, 20)]);
    }
}

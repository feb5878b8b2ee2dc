//! Attention against its definition, and rows together against rows alone.

use super::super::kv_state::KvState;
use super::super::kv_type::KvType;
use super::*;

/// Numbers in [-1, 1).
fn noise(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i + 1) * (2 * seed + 77) * 7919 % 2003) as f32 / 1001.5 - 1.0).collect()
}

/// A row's output `[kv_heads, group, head_dim]` from the keys and values of all positions.
fn defined(
    shape: &KvShape,
    group: usize,
    queries: &[f32],
    positions: &[(Vec<f32>, Vec<f32>)],
) -> Vec<f64> {
    let dim = shape.head_dim;
    let head = |numbers: &[f32], head: usize| numbers[head * dim..][..dim].to_vec();
    let mut out = Vec::new();
    for query in 0..shape.kv_heads * group {
        let (query, kv_head) = (head(queries, query), query / group);
        let score = |(keys, _): &(Vec<f32>, Vec<f32>)| {
            let products = query.iter().zip(head(keys, kv_head));
            products.map(|(q, k)| f64::from(*q) * f64::from(k)).sum::<f64>().exp()
        };
        let weights: Vec<f64> = positions.iter().map(score).collect();
        let total: f64 = weights.iter().sum();
        for d in 0..dim {
            let value = |(_, values): &(Vec<f32>, Vec<f32>)| f64::from(values[kv_head * dim + d]);
            let sum: f64 = weights.iter().zip(positions).map(|(w, p)| w * value(p)).sum();
            out.push(sum / total);
        }
    }
    out
}

/// Three forks of one sequence, of different lengths, with two rows each.
fn check(kind: KvType, kv_heads: usize, group: usize, head_dim: usize, window: usize) {
    let shape = KvShape::new(kind, 2, kv_heads, head_dim);
    let width = kv_heads * head_dim;
    let mut states = vec![KvState::default(); 3];
    let mut numbers: Vec<Vec<(Vec<f32>, Vec<f32>)>> = vec![Vec::new(); 3];
    for position in 0..99 {
        if position == 66 {
            states = vec![states[0].clone(); 3];
            numbers = vec![numbers[0].clone(); 3];
        }
        for (s, (state, numbers)) in states.iter_mut().zip(&mut numbers).enumerate() {
            let seed = position * 7 + if position < 66 { 0 } else { s };
            let (keys, values) = (noise(width, seed), noise(width, seed + 1000));
            if position < 70 + 13 * s {
                state.reserve(&shape, position + 1);
                state.write(&shape, 1, position, &keys, &values);
                state.commit(position + 1);
                numbers.push((keys, values));
            }
        }
    }
    let rows: Vec<AttendRow<'_>> = states
        .iter()
        .flat_map(|state| [state.len() - 3, state.len()].map(|end| (state.blocks(), end)))
        .map(|(blocks, end)| AttendRow { blocks, seen: end.saturating_sub(window)..end })
        .collect();
    let size = group * head_dim;
    // Rows of queries do not follow each other at once.
    let stride = kv_heads * size + 5;
    let queries = noise(rows.len() * stride, 5);
    let run = |rows: Range<usize>, kv_heads: Range<usize>, all: &[AttendRow<'_>]| {
        let mut out = vec![f32::NAN; rows.len() * kv_heads.len() * size];
        Attend {
            shape: &shape,
            layer: 1,
            rows: &all[rows.clone()],
            queries: &queries[rows.start * stride + kv_heads.start * size..],
            stride,
            kv_heads,
            group,
            out: &mut out,
        }
        .run();
        out
    };
    let together = run(0..rows.len(), 0..kv_heads, &rows);
    for (r, out) in together.chunks_exact(kv_heads * size).enumerate() {
        let what = format!("{kind}, {kv_heads} × {group} × {head_dim}, row {r}");
        for kv_head in 0..kv_heads {
            let alone = run(r..r + 1, kv_head..kv_head + 1, &rows);
            assert!(alone == out[kv_head * size..][..size], "{what} alone");
        }
        let positions = &numbers[r / 2][rows[r].seen.clone()];
        let defined = defined(&shape, group, &queries[r * stride..], positions);
        let most = match kind {
            KvType::F32 => 1e-5,
            KvType::F16 => 2e-3,
            KvType::Q8_0 => 3e-2,
        };
        for (x, y) in out.iter().zip(defined) {
            assert!((f64::from(*x) - y).abs() < most, "{what}: {x} for {y}");
        }
    }
}

#[test]
fn rows_attend_to_their_own_positions_alone_and_together() {
    for kind in KvType::ALL {
        for group in 1..=9 {
            check(kind, 2, group, 12, usize::MAX);
        }
        check(kind, 1, 17, 8, usize::MAX);
        check(kind, 2, 3, 80, usize::MAX);
        check(kind, 2, 7, 64, 40);
    }
}

//! The rotary embedding: rotates query and key heads by the angles of their position.

use crate::config::Rope;

/// The rotation of one model's heads.
#[derive(Debug)]
pub(crate) struct Rotary {
    frequencies: Vec<f32>,
}

impl Rotary {
    pub(crate) fn new(rope: &Rope, head_dim: usize) -> Self {
        Rotary { frequencies: rope.frequencies(head_dim) }
    }

    /// Appends the cosines, then the sines of a position: `head_dim` numbers.
    pub(crate) fn angles(&self, position: usize, out: &mut Vec<f32>) {
        out.extend(self.frequencies.iter().map(|f| (position as f32 * f).cos()));
        out.extend(self.frequencies.iter().map(|f| (position as f32 * f).sin()));
    }
}

/// Rotates every head of `x` `[heads, head_dim]` by the angles of its position
/// (`rotate_half`) and scales it.
pub(crate) fn rotate(x: &mut [f32], angles: &[f32], scale: f32) {
    let (cos, sin) = angles.split_at(angles.len() / 2);
    for head in x.chunks_exact_mut(angles.len()) {
        let (first, second) = head.split_at_mut(cos.len());
        for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            let (x, y) = (*a, *b);
            *a = (x * cos - y * sin) * scale;
            *b = (y * cos + x * sin) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RopeScaling;

    #[test]
    fn rotation_keeps_lengths_and_scales() {
        let rope = Rope { theta: 10_000.0, scaling: RopeScaling::Default };
        let mut angles = Vec::new();
        Rotary::new(&rope, 4).angles(7, &mut angles);
        let mut x = [1.0, 2.0, 3.0, 4.0];
        rotate(&mut x, &angles, 0.5);
        let length: f32 = x.iter().map(|x| x * x).sum();
        assert!((length - 30.0 / 4.0).abs() < 1e-5);
    }
}

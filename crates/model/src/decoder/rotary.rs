//! The rotary embedding: rotates query and key heads by the angles of their position.

use crate::config::Rope;

/// The rotation of one model's heads.
#[derive(Debug)]
pub(crate) struct Rotary {
    frequencies: Vec<f32>,
    /// Factor of cosines and sines.
    factor: f32,
}

impl Rotary {
    pub(crate) fn new(rope: &Rope, rotary_dim: usize) -> Self {
        Rotary { frequencies: rope.frequencies(rotary_dim), factor: rope.attention_factor() }
    }

    /// Appends the cosines, then the sines of a position: `rotary_dim` numbers.
    pub(crate) fn angles(&self, position: usize, out: &mut Vec<f32>) {
        let angles = self.frequencies.iter().map(|f| position as f32 * f);
        out.extend(angles.clone().map(|angle| angle.cos() * self.factor));
        out.extend(angles.map(|angle| angle.sin() * self.factor));
    }
}

/// Rotates the first dimensions of every head of `x` `[heads, head_dim]` by the angles of its
/// position (`rotate_half`), and scales the whole head. Without angles it is only scaled.
pub(crate) fn rotate(x: &mut [f32], head_dim: usize, angles: &[f32], scale: f32) {
    let (cos, sin) = angles.split_at(angles.len() / 2);
    for head in x.chunks_exact_mut(head_dim) {
        let (rotated, rest) = head.split_at_mut(angles.len());
        let (first, second) = rotated.split_at_mut(cos.len());
        rest.iter_mut().for_each(|x| *x *= scale);
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
        rotate(&mut x, 4, &angles, 0.5);
        let length: f32 = x.iter().map(|x| x * x).sum();
        assert!((length - 30.0 / 4.0).abs() < 1e-5);
        let mut part = [1.0, 2.0, 3.0, 4.0];
        rotate(&mut part, 4, &[angles[0], angles[2]], 0.5);
        assert_eq!(part[2..], [1.5, 2.0], "the rest is only scaled");
        let mut plain = [1.0, 2.0, 3.0, 4.0];
        rotate(&mut plain, 4, &[], 0.5);
        assert_eq!(plain, [0.5, 1.0, 1.5, 2.0]);
    }
}

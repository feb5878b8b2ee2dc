//! The stepwise engine over toy pairs: whatever the timing, the tokens are those
//! of blocking decoding; policies do what they say; sessions leave each other
//! alone.

mod forks;
mod lab;
mod policies;
mod prompts;
mod sampling;
mod sessions;
mod speculation;

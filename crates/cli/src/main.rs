//! Args, experiment file, progress, one function per command; wiring only.
fn main() {}

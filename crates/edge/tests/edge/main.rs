//! The edge engine through its public face, on tiny random models.

mod chat;
mod decoder;
mod detokenise;
mod loading;
mod router;
mod support;

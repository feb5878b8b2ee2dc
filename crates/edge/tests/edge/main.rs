//! The edge engine through its public face, on tiny random models.

mod decoder;
mod loading;
mod router;
mod support;

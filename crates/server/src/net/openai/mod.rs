//! The shapes of OpenAI's API that both servers share.
//!
//! - `fields`: a request body, field by field.
//! - `request`: the fields that both servers read alike: model, prompts, sampling.
//! - `reply`: the frame of a reply, usage, the list of models.
//! - `events`: replies as server-sent events.

pub(crate) mod events;
pub(crate) mod fields;
pub(crate) mod reply;
pub(crate) mod request;

//! The LLM behind the runtime: in process, and scripted.

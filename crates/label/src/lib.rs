//! Questions, SLM and LLM to a label table.

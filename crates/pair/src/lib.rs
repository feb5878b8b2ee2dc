//! The bundled pair: task generator, tokenizer, Burn transformer, training, export.

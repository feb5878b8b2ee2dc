//! The model on the device: decoder, KV state, tokenizer, loading, router scorer (candle).

#!/usr/bin/env python3
"""Measures PyTorch's prefill in tokens per second: bf16, transformers, an empty KV cache.

    python3 prefill.py MODEL_FOLDER THREADS TOKENS REPEAT        prints JSON
"""

import json
import sys
import time

import torch
import transformers


def main():
    folder, threads, tokens, repeat = sys.argv[1], *map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    torch.manual_seed(0)
    ids = torch.randint(0, model.config.vocab_size, (1, tokens))
    rates = []
    with torch.inference_mode():
        for _ in range(repeat + 1):
            begun = time.perf_counter()
            # As in tokenroute, the LM head reads only the last position.
            model(ids, logits_to_keep=1)
            rates.append(tokens / (time.perf_counter() - begun))
    versions = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
    # The first run is a warm-up.
    print(json.dumps({"rates": rates[1:], "versions": versions}))


if __name__ == "__main__":
    main()

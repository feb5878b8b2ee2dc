"""Writes tiny-gemma3.gguf: a Gemma 3 with random weights and a SentencePiece vocabulary of its
own, and tiny-gemma3.json: what llama.cpp makes of it, ids of texts and logits.

    python3 make_gemma3.py LOGITS TOKENS

Needs `pip install gguf numpy` and two programs over llama.cpp: LOGITS is
experiments/llama-cpp/logits.cpp, TOKENS is tokens.cpp beside it.
"""

import array
import collections
import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np

HERE = Path(__file__).parent
FILE = HERE / "tiny-gemma3.gguf"
HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, LAYERS, WINDOW = 32, 32, 2, 1, 16, 7, 8
SPACE = "\u2581"
CORPUS = "the cat and the dog run to the barn; an ant ran, then a hen sat on ten eggs at noon"

# A vocabulary by counting pairs, as SentencePiece's BPE does.
words = [list(SPACE + word) for word in CORPUS.split()]
pieces = []
for _ in range(40):
    pairs = collections.Counter(pair for word in words for pair in zip(word, word[1:]))
    pair, count = max(pairs.items(), key=lambda item: (item[1], item[0]))
    if count < 2:
        break
    pieces.append("".join(pair))
    for word in words:
        at = 0
        while at + 1 < len(word):
            if (word[at], word[at + 1]) == pair:
                word[at : at + 2] = ["".join(pair)]
            at += 1
characters = sorted(set(CORPUS.replace(" ", SPACE)) | set("AZ019'é猫"))

NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6
tokens = [("<pad>", CONTROL), ("<eos>", CONTROL), ("<bos>", CONTROL), ("<unk>", UNKNOWN)]
tokens += [("<end_of_turn>", CONTROL), ("\n", USER), ("\n\n", USER), ("  ", USER)]
tokens += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
tokens += [(piece, NORMAL) for piece in pieces + characters if len(piece) >= 1]
scores = [-1000.0 if kind in (CONTROL, UNKNOWN, USER) else 0.0 for _, kind in tokens]
first = len(tokens) - len(pieces) - len(characters)
scores[first:] = [-float(i) for i in range(len(pieces) + len(characters))]

writer = gguf.GGUFWriter(FILE, "gemma3")
writer.add_block_count(LAYERS)
writer.add_context_length(64)
writer.add_embedding_length(HIDDEN)
writer.add_feed_forward_length(INNER)
writer.add_head_count(HEADS)
writer.add_head_count_kv(KV_HEADS)
writer.add_key_length(HEAD_DIM)
writer.add_value_length(HEAD_DIM)
writer.add_layer_norm_rms_eps(1e-6)
writer.add_rope_freq_base(1000000.0)
writer.add_sliding_window(WINDOW)
writer.add_tokenizer_model("llama")
writer.add_tokenizer_pre("default")
writer.add_token_list([token for token, _ in tokens])
writer.add_token_scores(scores)
writer.add_token_types([kind for _, kind in tokens])
writer.add_bos_token_id(2)
writer.add_eos_token_id(1)
writer.add_unk_token_id(3)
writer.add_pad_token_id(0)
writer.add_add_bos_token(True)
writer.add_add_space_prefix(False)

random = np.random.default_rng(3)


def add(name, *shape, mean=0.0, spread=0.3):
    weights = mean + spread * random.standard_normal(shape)
    writer.add_tensor(name, weights.astype(np.float32))


add("token_embd.weight", len(tokens), HIDDEN)
add("output_norm.weight", HIDDEN, mean=1.0)
for layer in range(LAYERS):
    for name, shape in {
        "attn_q": (HEADS * HEAD_DIM, HIDDEN), "attn_k": (KV_HEADS * HEAD_DIM, HIDDEN),
        "attn_v": (KV_HEADS * HEAD_DIM, HIDDEN), "attn_output": (HIDDEN, HEADS * HEAD_DIM),
        "ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN), "ffn_down": (HIDDEN, INNER),
    }.items():
        add(f"blk.{layer}.{name}.weight", *shape)
    for name, width in {
        "attn_norm": HIDDEN, "attn_q_norm": HEAD_DIM, "attn_k_norm": HEAD_DIM,
        "post_attention_norm": HIDDEN, "ffn_norm": HIDDEN, "post_ffw_norm": HIDDEN,
    }.items():
        add(f"blk.{layer}.{name}.weight", width, mean=1.0)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

TEXTS = [
    "the cat and the dog", " the cat", "then", "hen  hen", "aaaaaaa", "nnn", "an ant ran\n\nto ten",
    "Zebra 10", "猫 and é", "😀", "eggs\tat\r\nnoon", "   ", "\n\n\n", "ananananan", "the", "",
    "thethethe cat; an", "\u2581the \u2581", "'tis the 'hen'", "tttthhhheeee  \n the",
]
logits, reader = sys.argv[1:]
said = subprocess.run([reader, FILE], input="\0".join(TEXTS).encode(), capture_output=True, check=True)
lines = said.stdout.decode().split("\n")[: len(TEXTS)]
texts = [[text, [int(id) for id in line.split()]] for text, line in zip(TEXTS, lines)]
ids = [2] + [int(id) for id in random.integers(4, len(tokens), 29)]
raw = array.array("f")
done = subprocess.run([logits, FILE, "1", "forced"], input=" ".join(map(str, ids)).encode(),
                      capture_output=True, check=True)
raw.frombytes(done.stdout)
width = len(raw) // len(ids)
assert width == len(tokens), (width, len(tokens))
# Some positions before the windows are full, and some behind.
kept = {at: [round(x, 5) for x in raw[at * width :][:width]] for at in (0, 5, 12, 29)}
text = json.dumps({"texts": texts, "ids": ids, "logits": kept}, ensure_ascii=True)
(HERE / "tiny-gemma3.json").write_text(text.replace("], [", "],\n[") + "\n")

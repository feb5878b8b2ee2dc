"""Writes the seeds beside this file: small sound inputs of every fuzz target.

    python3 fuzz/seeds/make.py

Needs nothing but Python; Parquet files and chat templates are taken from the tests.
"""

import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent
TESTS = HERE.parent.parent / "crates"


def put(target, name, data):
    folder = HERE / target
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# GGUF: metadata, two tokens, one block of every tensor type.
def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def typed(value):
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    kind = {str: 8, float: 6, int: 5}[type(value[0])]
    pack = {8: text, 6: lambda v: struct.pack("<f", v), 5: lambda v: struct.pack("<i", v)}[kind]
    items = b"".join(pack(v) for v in value)
    return struct.pack("<IIQ", 9, kind, len(value)) + items


def gguf(metadata, tensors, version=3):
    header, data = b"", b""
    for key, value in metadata.items():
        header += text(key) + typed(value)
    for name, (shape, kind, size) in tensors.items():
        header += text(name) + struct.pack("<I", len(shape))
        header += b"".join(struct.pack("<Q", n) for n in reversed(shape))
        header += struct.pack("<IQ", kind, len(data))
        data += bytes(i % 251 for i in range(size))
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    head += header
    return head + bytes(-len(head) % 32) + data


def model(arch, **more):
    return {
        "general.architecture": arch,
        f"{arch}.embedding_length": 4,
        f"{arch}.feed_forward_length": 8,
        f"{arch}.block_count": 1,
        f"{arch}.attention.head_count": 2,
        f"{arch}.attention.head_count_kv": 1,
        f"{arch}.context_length": 16,
        f"{arch}.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a", "b", "ab", "<end>"],
        "tokenizer.ggml.token_type": [1, 1, 1, 3],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": 3,
        **more,
    }


LLAMA = model("llama", **{"tokenizer.ggml.pre": "llama-bpe", "llama.rope.freq_base": 5e5})
QWEN = model("qwen3", **{"tokenizer.ggml.pre": "qwen2", "qwen3.attention.key_length": 2,
                         "qwen3.rope.scaling.type": "linear", "qwen3.rope.scaling.factor": 2.0})
WINDOW = model("llama", **{"tokenizer.ggml.pre": "smollm", "llama.attention.sliding_window": 4})
EMBEDDING = {"token_embd.weight": ([4, 4], 0, 64)}
put("gguf", "llama", gguf(LLAMA, {
    **EMBEDDING,
    "output.weight": ([4, 4], 1, 32),
    "blk.0.attn_q.weight": ([4, 4], 30, 32),
    "blk.0.attn_k.weight": ([2, 4], 0, 32),
    "rope_freqs.weight": ([1], 0, 4),
}))
put("gguf", "qwen3", gguf(QWEN, {**EMBEDDING, "blk.0.attn_q_norm.weight": ([2], 0, 8)}))
put("gguf", "window", gguf(WINDOW, EMBEDDING, version=2))
put("gguf", "blocks", gguf(model("qwen2", **{"tokenizer.ggml.pre": "gpt-2"}), {
    **EMBEDDING,
    "blk.0.ffn_up.weight": ([1, 32], 2, 18),
    "blk.0.ffn_gate.weight": ([1, 32], 8, 34),
    "blk.0.attn_q.weight": ([1, 256], 12, 144),
    "blk.0.attn_k.weight": ([1, 256], 13, 176),
    "blk.0.attn_v.weight": ([1, 256], 14, 210),
}))
put("gguf", "low-bits", gguf(model("qwen2", **{"tokenizer.ggml.pre": "gpt-2"}), {
    **EMBEDDING,
    "blk.0.ffn_up.weight": ([1, 256], 10, 84),
    "blk.0.ffn_gate.weight": ([1, 256], 11, 110),
    "blk.0.attn_q.weight": ([1, 32], 20, 18),
    "blk.0.attn_k.weight": ([1, 256], 23, 136),
    "blk.0.attn_v.weight": ([1, 32], 39, 17),
}))
put("gguf", "sentencepiece", gguf(model("llama", **{
    "tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": [-1.0, -2.0, -0.5, -1000.0],
    "tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.bos_token_id": 3,
}), EMBEDDING))
put("gguf", "first-part", gguf({**LLAMA, "split.no": 0, "split.count": 2}, EMBEDDING))
put("gguf", "whole-tokenizer", gguf(
    {"general.architecture": "llama", "general.alignment": 64,
     "tokenizer.huggingface.json": "{\"model\":{\"vocab\":{}}}", "x": True}, {}))

# Configurations: config.json, a zero byte, generation_config.json.
SHAPE = {
    "vocab_size": 4, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 8,
    "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "eos_token_id": 3,
}
for name, family, more, generation in [
    ("llama", "llama", {"rope_theta": 1e4, "attention_bias": False}, {}),
    ("llama3", "llama", {"rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8}},
     {"eos_token_id": [3, 1]}),
    ("qwen2", "qwen2", {"use_sliding_window": True, "sliding_window": 4,
                        "max_window_layers": 0, "hidden_act": "silu"}, {}),
    ("qwen3", "qwen3", {"head_dim": 2, "layer_types": ["full_attention"],
                        "rope_parameters": {"rope_type": "linear", "factor": 2.0,
                                            "rope_theta": 1e6}}, {"eos_token_id": 3}),
    ("mistral", "mistral", {"sliding_window": 4, "head_dim": None}, {}),
]:
    config = {"model_type": family, **SHAPE, **more}
    put("config", name, compact(config) + "\0" + compact(generation))


# Safetensors: the model of `src/lib.rs` in every supported type, and a router.
def safetensors(tensors, metadata=None):
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape) in tensors.items():
        count = 1
        for n in shape:
            count *= n
        size = count * {"F32": 4, "F16": 2, "BF16": 2}[dtype]
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + size]}
        data += bytes(size)
    head = compact(header).encode()
    return struct.pack("<Q", len(head)) + head + data


L = "model.layers.0."
SHAPES = {
    "model.embed_tokens.weight": [4, 4], L + "self_attn.q_proj.weight": [4, 4],
    L + "self_attn.k_proj.weight": [2, 4], L + "self_attn.v_proj.weight": [2, 4],
    L + "self_attn.o_proj.weight": [4, 4], L + "mlp.gate_proj.weight": [4, 4],
    L + "mlp.up_proj.weight": [4, 4], L + "mlp.down_proj.weight": [4, 4],
    L + "input_layernorm.weight": [4], L + "post_attention_layernorm.weight": [4],
    "model.norm.weight": [4],
}
for kind in ["F32", "F16", "BF16"]:
    put("safetensors", kind.lower(), safetensors({k: (kind, v) for k, v in SHAPES.items()}))
ROUTER = {
    "format": 1, "architecture": {"kind": "mlp", "widths": [2], "activation": "relu",
                                  "rewards": 2},
    "features": {"hidden": 1, "top_k": 1}, "platt": {"scale": 1.0, "bias": 0.0},
    "normalisation": {"mean": [0.0] * 4, "scale": [1.0] * 4},
    "slm_hash": "a", "llm_hash": "b", "tokenizer_hash": "c", "labels_hash": "d",
    "calibration": [{"tau": 0.5, "offload": 0.1}],
    "training": {"seed": 1, "epochs": 1, "best_epoch": 1, "rows": [1, 1],
                 "validation_loss": 0.1, "auroc": 0.9, "auprc": 0.9, "ece_before": 0.1,
                 "ece_after": 0.1, "positive_rate_at_recall_95": 0.1},
}
put("safetensors", "router", safetensors({
    "layers.0.weight": ("F32", [2, 4]), "layers.0.bias": ("F32", [2]),
    "layers.1.weight": ("F32", [2, 2]), "layers.1.bias": ("F32", [2]),
}, {"tokenroute.router": compact(ROUTER)}))

# Chat templates: the tests' templates, and pieces of syntax.
cases = json.loads((TESTS / "model/tests/chat/cases.json").read_text())
for name, source in cases["templates"].items():
    put("chat", name, source)
put("chat", "macro", "{% macro m(a, b=2) -%}{{ a ~ b }}{%- endmacro %}{{ m(messages[0].role) }}")
put("chat", "namespace", "{% set ns = namespace(x='') %}{% for m in messages %}"
    "{% set ns.x = ns.x ~ m.content %}{% endfor %}{{ ns.x | replace('e', 'é') | indent(2) }}")
put("chat", "capture", "{% set x %}{{ messages | tojson(indent=2) }}{% endset %}"
    "{{ [x, x] | join('-') }}{{ '%5d' | format(3) }}{{ x[::-1].split('a') | list }}")

# Questions: a byte for the schema, then rows.
SCHEMAS = ["commonsense-qa", "gsm8k", "arc", "openbook-qa", "mmlu", "plain", "strategy-qa",
           "boolq", "aqua", "math", "asdiv", "columns"]
CHOICES = {"label": ["A", "B"], "text": ["cat", "dog"]}
PAIRS = [{"label": "A", "text": "cat"}, {"label": "B", "text": "dog"}]
for schema, name, rows in [
    ("commonsense-qa", "csqa", [{"id": "7", "question": "What barks?", "choices": CHOICES,
                                 "answerKey": "B"}]),
    ("commonsense-qa", "csqa-lines", [{"id": "7", "answerKey": "B", "question": {
        "stem": "What barks?", "choices": PAIRS}}]),
    ("gsm8k", "gsm8k", [{"question": "How many?", "answer": "16 - 3 = <<16-3=13>>13\n#### 1,300"}]),
    ("arc", "arc", [{"id": "7", "question": "?", "answerKey": "2", "choices": {
        "text": ["cat", "dog"], "label": ["1", "2"]}}]),
    ("openbook-qa", "obqa", [{"id": 7, "question_stem": "?", "choices": CHOICES,
                              "answerKey": "B"}]),
    ("mmlu", "mmlu", [{"question": "?", "subject": "logic", "choices": ["x", "y"], "answer": 1}]),
    ("plain", "plain", [{"question": "6 * 7?", "answer": 42, "family": "products"},
                        {"question": "Capital?", "answer": "Paris", "cot": "It is Paris."}]),
    ("boolq", "boolq", [{"question": "do dogs bark", "passage": "They do.", "answer": True}]),
    ("aqua", "aqua", [{"question": "3 * 7?", "options": ["A)18", "B)21"], "rationale": "So B",
                       "correct": "B"}]),
    ("math", "math", [{"problem": "Half?", "solution": "$\\boxed{\\frac12}$", "type": "Algebra"}]),
    ("asdiv", "asdiv", [{"body": "Two and two.", "question": "How many?", "answer": "4 (apples)",
                         "solution_type": "Addition"}]),
    ("columns", "columns", [{"p": "It is.", "q": {"stem": "Is it?"}, "c": ["cat", "dog"],
                             "a": "dog", "r": ["One.", "Two."], "i": 7}]),
]:
    put("questions", name, bytes([SCHEMAS.index(schema)]) + "\n".join(map(compact, rows)).encode())
put("questions", "strategy-qa", bytes([SCHEMAS.index("strategy-qa")]) + compact(
    [{"qid": "s", "question": "Do dogs bark?", "answer": True, "facts": ["They do."]}]).encode())
put("questions", "mmlu-csv", bytes([SCHEMAS.index("mmlu")]) + b'What barks?,cat,dog,"a, b",4,B\n')
put("questions", "columns-csv", bytes([SCHEMAS.index("columns")])
    + b'p;q.stem;c;a;r;i\nIt is.;Is it?;"[""x"", ""y""]";A;;1\n')
for schema, name in [("commonsense-qa", "commonsense-qa.parquet"), ("mmlu", "mmlu.parquet"),
                     ("plain", "many-delta-v1.parquet"), ("plain", "many-delta-brotli-v2.parquet"),
                     ("plain", "many-duckdb-v2.parquet"), ("plain", "many-lz4-v2.parquet")]:
    rows = (TESTS / "store/tests/files" / name).read_bytes()
    put("questions", name, bytes([SCHEMAS.index(schema)]) + rows)

# Router files, headers whose weights the target makes, and places of a sound file with new bytes.
put("router", "mlp", (HERE / "safetensors/router").read_bytes())
LINEAR = {"op": "linear", "inputs": 3, "outputs": 1}
GRU = {"op": "gru", "inputs": 2, "width": 3}
NORM = {"op": "layer-norm", "width": 2}
for name, width, features, operators in [
    ("recurrent", 2, {"hidden": 2, "top_k": 0}, [GRU, LINEAR]),
    ("two-recurrent", 2, {"hidden": 2, "top_k": 0},
     [GRU, {"op": "residual", "operators": [{**GRU, "inputs": 3}]}, LINEAR]),
    ("residual", 2, {"hidden": 2, "top_k": 0}, [
        {"op": "residual", "operators": [NORM, {**LINEAR, "inputs": 2, "outputs": 3},
                                         {"op": "activation", "activation": "gelu"}],
         "skip": [{"op": "affine", "width": 2}, {**LINEAR, "inputs": 2, "outputs": 3}]}, LINEAR]),
    ("parts", 5, {"hidden": 2, "top_k": 0, "token": True, "top_logits": 2}, [
        {"op": "parts", "parts": [
            {"inputs": 2, "operators": [NORM]},
            {"inputs": 1, "operators": [{"op": "embedding", "rows": 3, "width": 2}]},
            {"inputs": 2, "operators": [{"op": "softmax"}]},
            {"inputs": 0, "operators": [{**LINEAR, "inputs": 0}]}]},
        {"op": "activation", "activation": "silu"}, {**LINEAR, "inputs": 7, "outputs": 2}]),
    ("means", 6, {"hidden": 0, "top_k": 0, "hidden_width": 2, "more": [
        {"kind": "position"}, {"kind": "mean", "of": "hidden", "steps": 2},
        {"kind": "mean", "of": "margin", "steps": 3}, {"kind": "mean", "of": "hidden", "steps": 9}]},
     [{**LINEAR, "inputs": 6}]),
]:
    header = {**ROUTER, "format": 2, "features": features, "full_precision": True,
              "architecture": {"kind": "operators", "name": name, "operators": operators},
              "normalisation": {"mean": [0.0] * width, "scale": [1.0] * width}}
    put("router", name, bytes([1]) + compact(header).encode())
for target in ["labels", "answers", "curves"]:
    put(target, "unchanged", bytes([1]))
    put(target, "first", bytes([1, 0, 0, 0, 255]))
    put(target, "several", bytes([1, 0, 1, 7, 1, 0, 16, 3, 128, 0, 32, 9, 0]))
# A shard for which polars asked for 2^61 bytes.
put("labels", "found", bytes.fromhex("0103ad10033a120181"))

# Tables of outcomes.
OUTCOMES = [{"id": "a", "weak": 0, "strong": True, "score": 0.5, "threshold_mf": 0.1, "cost": 2},
            {"id": 7, "weak": 1.0, "strong": "1", "score": "2", "threshold_mf": 0.2, "cost": 0}]
put("outcomes", "lines", "\n".join(map(compact, OUTCOMES)))
put("outcomes", "list", compact(OUTCOMES))
put("outcomes", "csv", "id,weak,strong,score_a,score_b,weak_cost,strong_cost\n"
    "a,0,1,0.5,1,1,2\nb,true,False,-1e9,2,0,0.5\n")
put("outcomes", "tabs", "id\tweak\tstrong\tthreshold\n\"a\"\t0\t1\t0.5\nb\t1\t1\t0.7\n")
put("outcomes", "parquet", (HERE / "questions/mmlu.parquet").read_bytes()[1:])


# Hidden states of an engine.
def states(shape, kind="F32", tokens="I64"):
    count = 1
    for n in shape:
        count *= n
    sizes = {"hidden_states": count * {"F32": 4, "BF16": 2}[kind],
             "token_ids": shape[0] * {"I64": 8, "I32": 4}[tokens]}
    header, at = {}, 0
    for name, dtype, of in [("hidden_states", kind, shape), ("token_ids", tokens, shape[:1])]:
        header[name] = {"dtype": dtype, "shape": of, "data_offsets": [at, at + sizes[name]]}
        at += sizes[name]
    head = compact(header).encode()
    return struct.pack("<Q", len(head)) + head + bytes(at)


put("states", "layers", states([2, 2, 3], "BF16"))
put("states", "one-layer", states([3, 2], tokens="I32"))
put("states", "no-rows", states([0, 2 ** 40, 2]))

# Published heads: a byte for the publisher, then a file, or with less than 128 its shapes.
CITER = {"mlp.0.weight": [4, 2], "mlp.0.bias": [4], **{f"mlp.1.{part}": [4] for part in [
    "weight", "bias", "running_mean", "running_var"]}, "mlp.1.num_batches_tracked": [1],
    "mlp.4.weight": [2, 4], "mlp.4.bias": [2], "linear.weight": [1, 2], "linear.bias": [1]}
B = "backbone.blocks.0."
R2R = {"logits_projection.weight": [2, 3], "logits_projection.bias": [2],
       "layer_norm_hidden_states.weight": [2], "layer_norm_hidden_states.bias": [2],
       "layer_norm_token.weight": [2], "layer_norm_token.bias": [2],
       "combined_projection.weight": [2, 6], "combined_projection.bias": [2],
       "backbone.input_projection.weight": [3, 2], "backbone.input_projection.bias": [3],
       B + "dim_change.weight": [2, 3], B + "dim_change.bias": [2], B + "layer_norm.weight": [3],
       B + "layer_norm.bias": [3], B + "mlp.0.weight": [4, 3], B + "mlp.0.bias": [4],
       B + "mlp.3.weight": [2, 4], B + "mlp.3.bias": [2], "backbone.output_layer.0.weight": [2],
       "backbone.output_layer.0.bias": [2], "backbone.output_layer.1.weight": [1, 2],
       "backbone.output_layer.1.bias": [1]}
for number, (name, shapes) in enumerate([("citer", CITER), ("r2r", R2R)]):
    put("heads", name + "-shapes", bytes([number]) + compact(shapes).encode())
    put("heads", name, bytes([128 + number])
        + safetensors({tensor: ("F32", shape) for tensor, shape in shapes.items()}))
put("heads", "r2r-all", bytes([1]) + compact(
    {**R2R, "token_embeddings.weight": [3, 2]}).encode())

# Requests: a byte for the path (the last choice sends the rest as it is), then a body.
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
CHAT = {"messages": [{"role": "user", "content": "ab"}], "max_tokens": 2, "stop": ["b"],
        "chat_template_kwargs": {"enable_thinking": False}, "tokenroute": True}
TEXT = {"prompt": "ab", "max_tokens": 2, "temperature": 0.5, "seed": 1, "stream": True,
        "stream_options": {"include_usage": True}}
IDS = {"prompt": [[0, 1], [2]], "max_tokens": 1, "logprobs": 2, "prompt_logprobs": 1,
       "return_token_ids": True}
RESPONSE = {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}],
            "instructions": "b", "max_output_tokens": 2, "stream": True}
LISTED = {"messages": [{"role": "user", "content": "ab"}], "max_tokens": 3, "logprobs": True,
          "top_logprobs": 2, "temperature": 0.7, "n": 2, "stream": True}
ECHO = {"prompt": ["ab", "a"], "max_tokens": 0, "logprobs": 1, "echo": True}
for target, raw, bodies in [
    ("serve", 3, [(0, CHAT), (1, TEXT), (2, RESPONSE), (0, LISTED),
                  (1, {**TEXT, "logprobs": 3, "n": 2})]),
    ("cloud", 1, [(0, TEXT), (0, IDS), (0, ECHO)]),
]:
    put(target, "health", bytes([raw]) + HEALTH)
    for number, (path, body) in enumerate(bodies):
        put(target, f"body-{number}", bytes([path]) + compact(body).encode())

# Replies: a byte for the API, 128 more for a stream, then the reply.
FIXTURES = TESTS / "llm/tests/fixtures"
for number, name in enumerate(["", "vllm", "openai", "sglang", "llama_cpp"]):
    if name:
        put("replies", name, bytes([number]) + (FIXTURES / f"{name}.json").read_bytes())
CLOUD = {"choices": [{"text": "a", "finish_reason": "length", "token_ids": [5],
                      "prompt_token_ids": [1, 2, 3]}], "usage": {"prompt_tokens": 3}}
put("replies", "cloud", bytes([0]) + compact(CLOUD).encode())
put("replies", "stream", bytes([132]) + b"data: " + compact(CLOUD).encode() + b"\n\ndata: [DONE]\n\n")
put("replies", "models", bytes([5]) + compact({"data": [{"id": "m", "owned_by": "vllm"}]}).encode())
TOPS = {"choices": [{"text": "a", "finish_reason": "length", "token_ids": [5], "logprobs": {
    "tokens": ["token_id:5"], "top_logprobs": [{"token_id:5": -0.1, "token_id:6": -2.5}]},
    "prompt_logprobs": [None, {"1": {"rank": 1, "logprob": -0.1}},
                        {"2": {"rank": 1, "logprob": -0.3}, "3": {"rank": 2, "logprob": -1.5}}]}]}
put("replies", "tops", bytes([1]) + compact(TOPS).encode())

# Replies of servers of text: a byte for the API, a judge's chat or the probes.
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
WRITTEN = {"choices": [{"text": " apples and", "finish_reason": "length"}], "usage": USAGE}


def said(content, reason="stop"):
    message = {"role": "assistant", "content": content}
    return {"choices": [{"message": message, "finish_reason": reason}], "usage": USAGE}


for name, number, reply in [
    ("text", 0, WRITTEN),
    ("chat-continue", 1, said(" apples")),
    ("llama-cpp-chat", 2, said("Two apples", "length")),
    ("deepseek", 3, said(" \u00e9")),
    ("mistral", 4, said("Two apples")),
    ("ollama", 5, {"response": " apples", "done": True, "done_reason": "stop",
                   "prompt_eval_count": 4, "eval_count": 3}),
    ("chat", 6, said("It is B.")),
    ("judge", 7, said("Yes, it is.")),
    ("probes", 8, {"data": [{"id": "m", "owned_by": "library", "max_model_len": 9}],
                   "response": " six, seven", "done_reason": "length", **WRITTEN}),
    ("probed-chat", 8, {"data": [{"id": "m"}], **said("One, two, three, four")}),
]:
    put("texts", name, bytes([number]) + compact(reply).encode())

# Answers: a byte for the grader, the key, a zero byte, the answer.
for number, key, answer in [
    (0, "B", "The answer is 12 (B)."),
    (1, "A", "I would choose B. No, wait: not (B) but (A).\nA. bank"),
    (2, "C", "The answer is the bank."),
    (3, "D", "答案是 D。\nAnswer: né"),
    (4, "1500000", "<think>\n3 * 7</think>\n#### 1.5 million, or twenty-one 1,300 $-.5 3/4"),
    (5, "paris", "**Answer:** Paris.\nQuestion: next?"),
    (6, "yes", "So the answer is true.\n\\boxed{no}"),
    (7, "\\frac{3}{2}", "$x=\\dfrac12$ \\[\\sqrt3\\] \\fbox 5$ \\boxed{1\\frac{1}{2}\\text{ cm}}"),
]:
    put("grades", str(number), bytes([number]) + key.encode() + b"\0" + answer.encode())

# Tokenizers: a small one of each kind.
END = {"id": 3, "content": "<end>", "single_word": False, "lstrip": False, "rstrip": False,
       "normalized": False, "special": True}
LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
VOCAB = {"a": 0, "b": 1, "ab": 2}
SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
for name, model, parts in [
    ("byte-level", {"type": "BPE", "vocab": VOCAB, "merges": [["a", "b"]]},
     {"pre_tokenizer": LEVEL, "decoder": LEVEL, "normalizer": {"type": "NFC"}}),
    ("llama2", {"type": "BPE", "vocab": {**VOCAB, "\u2581": 4, "<0x0A>": 5}, "merges": ["a b"],
                "unk_token": "b", "fuse_unk": True, "byte_fallback": True},
     {"normalizer": {"type": "Sequence", "normalizers": [
         {"type": "Prepend", "prepend": "\u2581"}, SPACES]},
      "decoder": {"type": "Sequence", "decoders": [
          {**SPACES, "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
          {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
      "post_processor": {"type": "TemplateProcessing", "special_tokens": {
          "<end>": {"id": "<end>", "ids": [3], "tokens": ["<end>"]}}, "pair": [],
          "single": [{"SpecialToken": {"id": "<end>", "type_id": 0}},
                     {"Sequence": {"id": "A", "type_id": 0}}]}}),
    ("word-piece", {"type": "WordPiece", "vocab": {**VOCAB, "##b": 4}, "unk_token": "a",
                    "continuing_subword_prefix": "##", "max_input_chars_per_word": 9},
     {"normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                     "strip_accents": None, "lowercase": True},
      "pre_tokenizer": {"type": "BertPreTokenizer"},
      "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}),
    ("unigram", {"type": "Unigram", "unk_id": 0, "byte_fallback": False,
                 "vocab": [["<unk>", 0.0], ["\u2581a", -1.5], ["b", -2.0], ["c", -3.0]]},
     {"pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always",
                        "split": True},
      "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always",
                  "split": True}}),
    ("word-level", {"type": "WordLevel", "vocab": VOCAB, "unk_token": "a"},
     {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
         {"type": "Split", "pattern": {"Regex": "\\s+|\\p{N}"}, "behavior": "Isolated",
          "invert": False}, {"type": "Digits", "individual_digits": True}]},
      "decoder": {"type": "CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": True}}),
]:
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [END],
             "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
             **parts, "model": model}
    put("tokenizer", name, compact(whole))

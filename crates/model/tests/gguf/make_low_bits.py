"""Writes low-bits.gguf: random blocks of the types of 2 to 4 bits, and low-bits.safetensors:
their values by llama.cpp's code.

Needs `pip install gguf safetensors numpy`.
"""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import save_file

HERE = Path(__file__).parent
random = np.random.default_rng(11)
# Where the f16 scales of a block are.
SCALES = {Kind.Q2_K: [80, 82], Kind.Q3_K: [108], Kind.IQ4_NL: [0], Kind.IQ4_XS: [0], Kind.MXFP4: []}

writer = gguf.GGUFWriter(HERE / "low-bits.gguf", "llama")
expected = {}
for kind, places in SCALES.items():
    size, width = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (1024 // size, width), dtype=np.uint8)
    for at in places:
        values = random.uniform(-0.01, 0.01, len(blocks)).astype(np.float16)
        blocks[:, at : at + 2] = values.view(np.uint8).reshape(-1, 2)
    if kind == Kind.MXFP4:
        blocks[:, 0] = random.integers(104, 144, len(blocks))
    stored = blocks.reshape(2, -1)
    writer.add_tensor(kind.name, stored, raw_dtype=kind)
    values = gguf.quants.dequantize(stored, kind)
    expected[kind.name] = np.ascontiguousarray(values, dtype=np.float32)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
save_file(expected, HERE / "low-bits.safetensors")

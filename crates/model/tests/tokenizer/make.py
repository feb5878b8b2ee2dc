"""Writes tokenizer.json with every optional section set, and cases.json with the ids that
Hugging Face transformers gives its texts.

    pip install transformers
    python crates/model/tests/tokenizer/make.py
"""

import json
from pathlib import Path

from transformers import PreTrainedTokenizerFast

HERE = Path(__file__).parent

TEXTS = [
    "",
    "a",
    "and then, an answer.",
    "A SECOND answer: 12 + 30 = 42!",
    "a<end>b",
    "a  <pad> b",
    "x <mask>y  <mask> z",
    "word words sword",
    "Ärger über Çedille",
    "line\nbreak\n\nand  spaces   ",
]


def added(number, content, special, **flags):
    base = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": content, **base, **flags, "special": special}


def tokenizer():
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    # GPT-2's names of bytes: printable ones stand for themselves.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    names = {byte: chr(byte) for byte in printable}
    names |= {byte: chr(256 + i) for i, byte in enumerate(others)}
    vocabulary = {names[byte]: byte for byte in range(256)}
    merges = [["a", "n"], ["an", "d"], ["Ġ", "an"], ["w", "o"], ["r", "d"], ["wo", "rd"]]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    first = len(vocabulary)
    tokens = [
        added(first, "<begin>", True),
        added(first + 1, "<end>", True),
        added(first + 2, "<pad>", True, lstrip=True),
        added(first + 3, "<mask>", True, rstrip=True),
        added(first + 4, "words", False, single_word=True, normalized=True),
    ]
    return {
        "version": "1.0",
        "truncation": {
            "direction": "Right",
            "max_length": 1,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 12},
            "direction": "Right",
            "pad_to_multiple_of": 8,
            "pad_id": first + 2,
            "pad_type_id": 0,
            "pad_token": "<pad>",
        },
        "added_tokens": tokens,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<begin>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "<end>", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                name: {"id": name, "ids": [number], "tokens": [name]}
                for name, number in [("<begin>", first), ("<end>", first + 1)]
            },
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": vocabulary,
            "merges": merges,
        },
    }


def main():
    path = HERE / "tokenizer.json"
    path.write_text(json.dumps(tokenizer(), ensure_ascii=False) + "\n", encoding="utf-8")
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(path))
    cases = [
        {
            "text": text,
            "plain": theirs(text, add_special_tokens=False)["input_ids"],
            "prompt": theirs(text)["input_ids"],
        }
        for text in TEXTS
    ]
    text = json.dumps(cases, ensure_ascii=False, indent=1) + "\n"
    (HERE / "cases.json").write_text(text, encoding="utf-8")


main()

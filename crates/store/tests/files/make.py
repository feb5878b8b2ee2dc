"""Writes the Parquet files beside this one that `damaged_parquet.rs` and `public.rs` read.

    python3 crates/store/tests/files/make.py

Needs pyarrow, which also wrote `commonsense-qa.parquet` and `mmlu.parquet`.
"""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent

PAIRS = pa.struct([("label", pa.string()), ("text", pa.string())])
ROWS = pa.Table.from_pylist(
    [
        {"id": 7, "question": "What barks?", "answerKey": "B", "cot": None, "rate": 0.5,
         "choices": [{"label": "A", "text": "cat"}, {"label": "B", "text": "dog"}], "ok": True},
        {"id": 8, "question": "Müller?", "answerKey": "A", "cot": "So.", "rate": None,
         "choices": [{"label": "A", "text": "a"}, {"label": "B", "text": "b"}], "ok": False},
        {"id": 9, "question": "None?", "answerKey": "C", "cot": None, "rate": 1e300,
         "choices": [{"label": x, "text": x + "!"} for x in "ABC"], "ok": None},
    ],
    pa.schema([("id", pa.int64()), ("question", pa.string()), ("answerKey", pa.string()),
               ("cot", pa.string()), ("rate", pa.float64()), ("choices", pa.list_(PAIRS)),
               ("ok", pa.bool_())]),
).replace_schema_metadata(None)
SMALL = {"write_statistics": False, "store_schema": False}
pq.write_table(ROWS, HERE / "pairs-gzip.parquet", compression="gzip", use_dictionary=False, **SMALL)
pq.write_table(ROWS, HERE / "pairs-zstd-v2.parquet", compression="zstd",
               data_page_version="2.0", row_group_size=2, **SMALL)

MILLION = pa.table({"question": ["Why?"] * 1_000_000, "answer": ["so"] * 1_000_000})
pq.write_table(MILLION, HERE / "million-rows.parquet", compression="zstd", **SMALL)

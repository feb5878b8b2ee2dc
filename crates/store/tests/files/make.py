"""Writes the Parquet files beside this one that `damaged_parquet.rs` and `public.rs` read.

    python3 crates/store/tests/files/make.py

Needs pyarrow, duckdb and pandas. pyarrow also wrote `commonsense-qa.parquet` and
`mmlu.parquet`.
"""

import json
import pathlib

import duckdb
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

# The encodings and codecs of pandas, pyarrow and DuckDB, one file each, with the same 40
# rows, and what they hold as JSON Lines. Deltas go both ways and need up to 64 bits.
KINDS = ["letter", "text", "index"]
MANY = pa.table({
    "id": pa.array([(i * 7919) % 1000 - 500 + (1 << 40) * (i % 3) for i in range(40)], pa.int64()),
    "small": pa.array([(-1) ** i * i * i for i in range(40)], pa.int32()),
    "unsigned": pa.array([2**64 - 1 - i * i if i % 5 else i for i in range(40)], pa.uint64()),
    "rate": pa.array([i / 7 if i % 4 else None for i in range(40)], pa.float64()),
    "half": pa.array([i / 4 for i in range(40)], pa.float32()),
    "question": [f"Question number {i} of {'ä' * (i % 6)} row {i * i}?" for i in range(40)],
    "kind": pa.array([KINDS[i % 3] if i % 7 else None for i in range(40)]),
    "ok": pa.array([bool(i % 2) if i % 9 else None for i in range(40)]),
    "words": pa.array([[f"w{i}-{j}" for j in range(i % 4)] if i % 11 else None for i in range(40)],
                      pa.list_(pa.string())),
})
DELTAS = {
    "id": "DELTA_BINARY_PACKED", "small": "DELTA_BINARY_PACKED", "unsigned": "DELTA_BINARY_PACKED",
    "rate": "BYTE_STREAM_SPLIT", "half": "BYTE_STREAM_SPLIT", "question": "DELTA_BYTE_ARRAY",
    "kind": "DELTA_LENGTH_BYTE_ARRAY", "ok": "RLE", "words.list.element": "DELTA_BYTE_ARRAY",
}
for name, options in {
    "many-delta-v1": {"compression": "none", "column_encoding": DELTAS, "use_dictionary": False},
    "many-delta-brotli-v2": {"compression": "brotli", "column_encoding": DELTAS,
                             "use_dictionary": False, "data_page_version": "2.0"},
    "many-lz4": {"compression": "lz4"},
    "many-lz4-v2": {"compression": "lz4", "data_page_version": "2.0", "row_group_size": 16},
    "many-brotli": {"compression": "brotli"},
}.items():
    pq.write_table(MANY, HERE / f"{name}.parquet", **{**SMALL, **options})
MANY.to_pandas().to_parquet(HERE / "many-pandas.parquet", index=False)
base = duckdb.connect()
base.register("rows", MANY)
for name, options in {"v1": "", "v2": ", PARQUET_VERSION V2, COMPRESSION LZ4_RAW"}.items():
    path = HERE / f"many-duckdb-{name}.parquet"
    base.execute(f"COPY (SELECT * FROM rows) TO '{path}' (FORMAT PARQUET{options})")
(HERE / "many.jsonl").write_text(
    "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in MANY.to_pylist()))

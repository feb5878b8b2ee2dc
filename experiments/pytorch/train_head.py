#!/usr/bin/env python3
"""Trains a router's head in PyTorch on a label table, and writes it as a router file.

    python3 experiments/pytorch/train_head.py experiments/quickstart/run/labels router.safetensors

Needs torch, safetensors, numpy and pyarrow. `tokenroute compare` sweeps the file exactly: name it
as `file` of a [[router]]. The features are those of crates/core/src/features.rs: the hidden state,
then ln p of the most probable tokens, the margin and the entropy.
"""

import argparse
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

COLUMNS = ["question", "split", "target", "weight", "entropy", "top_probabilities", "hidden"]


def read(labels):
    """All rounds of a label table, and their manifests."""
    rounds = sorted(labels.glob("round-*/manifest.json"))
    if not rounds:
        raise SystemExit(f"{labels} has no finished round; run `tokenroute label` on the experiment first")
    manifests = [json.loads(path.read_text(encoding="utf-8")) for path in rounds]
    shards = [
        path.parent / name for path, manifest in zip(rounds, manifests)
        for name in sorted(manifest["outputs"]) if name.endswith(".parquet")
    ]
    return pa.concat_tables(parquet.read_table(shard, columns=COLUMNS) for shard in shards), manifests


def matrix(column):
    """A column of fixed-size lists as [rows, width]."""
    column = column.combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1).astype(np.float32)


def features(table, top_k):
    """[rows, hidden + top_k + 2]"""
    probabilities = matrix(table["top_probabilities"])
    missing = max(0, max(2, top_k) - probabilities.shape[1])
    p = np.pad(probabilities, [(0, 0), (0, missing)])
    entropy = table["entropy"].to_numpy().astype(np.float32)
    return np.concatenate(
        [matrix(table["hidden"]), np.log(np.maximum(p[:, :top_k], np.float32(1e-7))), p[:, :1] - p[:, 1:2], entropy[:, None]], 1
    )


def cross_entropy(logits, target, weight):
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (loss * weight).sum() / weight.sum()


def fit(head, train, validation, epochs, rate):
    """AdamW; the weights of the epoch with the least cross-entropy on validation stay."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate)
    best, kept, best_epoch = math.inf, None, 0
    x, target, weight = train
    for epoch in range(1, epochs + 1):
        head.train()
        for rows in torch.randperm(len(x)).split(1024):
            optimizer.zero_grad()
            cross_entropy(head(x[rows]).squeeze(1), target[rows], weight[rows]).backward()
            optimizer.step()
        head.eval()
        with torch.no_grad():
            loss = cross_entropy(head(validation[0]).squeeze(1), *validation[1:]).item()
        if loss < best:
            best, kept, best_epoch = loss, {k: v.clone() for k, v in head.state_dict().items()}, epoch
    head.load_state_dict(kept)
    return best, best_epoch


def platt(logits, target, weight):
    """Scale and bias of the logit with the least cross-entropy."""
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    logits, target, weight = logits.double(), target.double(), weight.double()
    optimizer = torch.optim.LBFGS([line], max_iter=200, line_search_fn="strong_wolfe")

    def step():
        optimizer.zero_grad()
        loss = cross_entropy(line[0] * logits + line[1], target, weight)
        loss.backward()
        return loss

    optimizer.step(step)
    return line.tolist()


def ranks(score, target, weight):
    """AUROC and AUPRC for divergent positions (low scores), and the share of positions at recall .95."""
    divergent, kept = weight * (1 - target), weight * target
    values, place = np.unique(score, return_inverse=True)
    positive, negative = (np.bincount(place, mass, len(values)) for mass in (divergent, kept))
    found, wrong = positive.cumsum(), negative.cumsum()
    auroc = (positive * (wrong[-1] - wrong + negative / 2)).sum() / (found[-1] * wrong[-1])
    auprc = (positive * found / np.maximum(found + wrong, 1e-12)).sum() / found[-1]
    at = np.searchsorted(found, 0.95 * found[-1])
    return float(auroc), float(auprc), float((found + wrong)[at] / (found + wrong)[-1])


def calibration_error(score, target, weight, bins=15):
    place = np.minimum((score * bins).astype(int), bins - 1)
    gap = np.bincount(place, weight * (score - target), bins)
    return float(np.abs(gap).sum() / weight.sum())


def tau_points(score):
    """Offload ratio at about 200 values of τ: the share of scores below it."""
    ordered = np.sort(score)
    taus = np.unique(ordered[np.linspace(0, len(ordered) - 1, 200).astype(int)])
    return [{"tau": float(tau), "offload": float(np.searchsorted(ordered, tau) / len(ordered))} for tau in taus]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("labels", type=Path, help="run/labels of an experiment")
    arguments.add_argument("out", type=Path, help="the router file to write")
    arguments.add_argument("--widths", type=int, nargs="*", default=[96, 48], help="hidden layers")
    arguments.add_argument("--top-k", type=int, default=8, help="probabilities to read")
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    torch.manual_seed(asked.seed)
    table, manifests = read(asked.labels)
    split = table["split"].to_numpy(zero_copy_only=False)
    x = features(table, asked.top_k)
    target, weight = (table[name].to_numpy().astype(np.float32) for name in ("target", "weight"))
    # A position that nobody judged has no weight.
    judged = weight > 0
    train, validation = judged & (split == "router-train"), judged & (split == "validation")
    measured_on = "calibration" if (judged & (split == "calibration")).any() else "validation"
    measured = judged & (split == measured_on)
    mean = x[train].mean(0)
    scale = 1 / np.maximum(x[train].std(0), 1e-6)

    def rows(which):
        return tuple(torch.from_numpy(v) for v in ((x[which] - mean) * scale, target[which], weight[which]))

    layers, width = [], x.shape[1]
    for outputs in asked.widths:
        layers += [nn.Linear(width, outputs), nn.ReLU(), nn.Dropout(0.1)]
        width = outputs
    head = nn.Sequential(*layers, nn.Linear(width, 1))
    loss, best_epoch = fit(head, rows(train), rows(validation), asked.epochs, asked.rate)
    with torch.no_grad():
        everywhere = head(torch.from_numpy((x - mean) * scale)).squeeze(1)
    logits = everywhere[torch.from_numpy(measured)]
    slope, shift = platt(logits, torch.from_numpy(target[measured]), torch.from_numpy(weight[measured]))
    raw, score = (1 / (1 + np.exp(-(a * logits.double().numpy() + b))) for a, b in ((1.0, 0.0), (slope, shift)))
    held = (1 / (1 + np.exp(-(slope * everywhere.double().numpy() + shift))))[split == measured_on]
    facts = (target[measured], weight[measured])
    auroc, auprc, at_recall = ranks(score, *facts)

    operators, tensors = [], {}
    for layer in head:
        if isinstance(layer, nn.Linear):
            place = len(tensors) // 2
            operators.append({"op": "linear", "inputs": layer.in_features, "outputs": layer.out_features})
            tensors[f"layers.{place}.weight"] = layer.weight.detach().contiguous()
            tensors[f"layers.{place}.bias"] = layer.bias.detach().contiguous()
        elif isinstance(layer, nn.ReLU):
            operators.append({"op": "activation", "activation": "relu"})
    hidden = matrix(table["hidden"][:1]).shape[1]
    inputs = manifests[-1]["inputs"]
    shards = "\n".join(hash for manifest in manifests for hash in manifest["outputs"].values())
    header = {
        "format": 2,
        "architecture": {"kind": "operators", "name": f"MLP trained in PyTorch (widths {asked.widths})", "operators": operators},
        "features": {"hidden": hidden, "top_k": asked.top_k},
        "normalisation": {"mean": mean.tolist(), "scale": scale.tolist()},
        "platt": {"scale": slope, "bias": shift},
        "slm_hash": inputs["slm"], "llm_hash": inputs["llm"], "tokenizer_hash": inputs["tokenizer"],
        "labels_hash": hashlib.sha256(shards.encode()).hexdigest(),
        "calibration": tau_points(held),
        "training": {
            "seed": asked.seed, "epochs": asked.epochs, "best_epoch": best_epoch,
            "rows": [int(train.sum()), int(validation.sum())], "validation_loss": loss,
            "auroc": auroc, "auprc": auprc, "ece_before": calibration_error(raw, *facts),
            "ece_after": calibration_error(score, *facts), "positive_rate_at_recall_95": at_recall,
            "measured_on": measured_on,
        },
    }
    save_file(tensors, asked.out, metadata={"tokenroute.router": json.dumps(header)})
    print(f"{asked.out}: epoch {best_epoch} of {asked.epochs}, AUROC {auroc:.4f}, AUPRC {auprc:.4f} on {measured_on}")


main()

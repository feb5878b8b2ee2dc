#!/usr/bin/env python3
"""The figures of routers.csv from the definitions, in exact fractions and without the program.
The test `crates/tokenroute/tests/metrics.rs` holds what this prints.

    python3 docs/examples/metrics/figures.py
"""

import csv
from fractions import Fraction as F
from pathlib import Path


def curve(rows, key):
    """(offload, right, cost) after each group of equal keys, lowest key first."""
    right = sum(int(row["weak"]) for row in rows)
    cost = sum(F(row["weak_cost"]) for row in rows)
    points, sent = [(F(0), right, cost)], 0
    for value in sorted({key(row) for row in rows}):
        for row in rows:
            if key(row) == value:
                right += int(row["strong"]) - int(row["weak"])
                cost += F(row["strong_cost"]) - F(row["weak_cost"])
                sent += 1
        points.append((F(sent, len(rows)), right, cost))
    return points


def held(points, rho):
    """The last point at an offload of at most rho."""
    return [point for point in points if point[0] <= rho][-1]


def area(points, pgr, upto):
    """Mean PGR over the offload ratios from 0 to `upto`."""
    total = F(0)
    for (begin, right, _), end in zip(points, [p[0] for p in points[1:]] + [F(1)]):
        total += max(F(0), min(end, upto) - min(begin, upto)) * pgr(right)
    return total / upto


def main():
    with open(Path(__file__).with_name("routers.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    weak, strong = (sum(int(row[name]) for row in rows) for name in ("weak", "strong"))
    pgr = lambda right: F(right - weak, strong - weak)
    gain = lambda row: (
        int(row["weak"]) - int(row["strong"]),
        F(row["strong_cost"]) - F(row["weak_cost"]),
        row["id"],
    )
    keys = {
        "score_length": lambda row: F(row["score_length"]),
        "score_trained": lambda row: F(row["score_trained"]),
        "threshold_winrate": lambda row: -F(row["threshold_winrate"]),
        "optimal": gain,
    }
    print(f"weak {weak / len(rows):.4f}, strong {strong / len(rows):.4f}")
    for name, key in keys.items():
        points = curve(rows, key)
        cpt = [min(p[0] for p in points if pgr(p[1]) >= x) for x in (F(1, 2), F(4, 5))]
        tenths = sum(pgr(held(points, F(i, 10))[1]) for i in range(1, 11)) / 10
        at = held(points, F(1, 5))
        figures = [area(points, pgr, F(1)), area(points, pgr, F(1, 5)), tenths, *cpt]
        figures += [at[0], F(at[1], len(rows)), at[2] / len(rows)]
        print(f'("{name}", [{", ".join(f"{float(figure):.4f}" for figure in figures)}]),')


if __name__ == "__main__":
    main()

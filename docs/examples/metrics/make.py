#!/usr/bin/env python3
"""Writes routers.csv: an example for `tokenroute metrics`. All values are drawn by chance from a
fixed seed; no model was asked.

    python3 docs/examples/metrics/make.py > docs/examples/metrics/routers.csv
"""

QUESTIONS = 200


def draws(state):
    """Numbers in [0, 1) from the linear congruential generator of Numerical Recipes."""
    while True:
        state = (1664525 * state + 1013904223) % 2**32
        yield state / 2**32


def main():
    draw = draws(20240618)
    print("id,weak,strong,score_trained,score_length,threshold_winrate,weak_cost,strong_cost")
    for number in range(1, QUESTIONS + 1):
        hard, noise, coarse, tokens = (next(draw) for _ in range(4))
        weak = next(draw) > 0.8 * hard
        strong = next(draw) > 0.3 * hard
        trained = 1 - (0.7 * hard + 0.3 * noise)
        # Coarse scores: many questions share one.
        length = round(10 * (0.3 * (1 - hard) + 0.7 * coarse)) / 10
        winrate = 0.5 * hard + 0.5 * next(draw)
        cost = 40 + int(200 * tokens)
        print(
            f"q{number:03d},{weak:d},{strong:d},{trained:.6f},{length:.1f},{winrate:.6f},"
            f"{cost / 1e5:.5f},{cost / 5e3:.5f}"
        )


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Draws docs/src/images/tokens.svg: an example answer with its tokens coloured by origin.

    python3 tools/token-picture.py           # write it
    python3 tools/token-picture.py --check   # exit 1 if it is stale

The example is the first of reports/word-problems/index.html that the SLM alone gets wrong and the
routed pair gets right.
"""

import html
import sys
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "reports" / "word-problems" / "index.html"
PICTURE = ROOT / "docs" / "src" / "images" / "tokens.svg"
ALONE, ROUTED = "SLM alone", "routed"

WIDTH, MARGIN, LINE = 600, 20, 28
SIZE = 15
CHARACTER = 0.6 * SIZE  # a monospace character's width; textLength holds every font to it
COLUMNS = int((WIDTH - 2 * MARGIN) / CHARACTER)

STYLE = """
  .page { fill: #fbfbfa; } text { fill: #1c1f23; } .soft { fill: #5d656f; }
  .t, .q { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: %dpx; }
  .s { font-family: system-ui, sans-serif; font-size: 15px; } .b { font-weight: 600; }
  .slm { fill: #e8eef4; } .llm { fill: #ffc27a; stroke: #c96a00; } .ok { fill: #00704f; } .bad { fill: #b3400a; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #14171a; } text { fill: #e6e8ea; } .soft { fill: #9aa3ad; }
    .slm { fill: #26313c; } .llm { fill: #66400f; stroke: #f0a040; } .ok { fill: #4cc79a; } .bad { fill: #f28a52; }
  }
""" % SIZE


class Examples(HTMLParser):
    """The example answers of a report."""

    def __init__(self):
        super().__init__()
        self.examples, self.path = [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        names = (attributes.get("class") or "").split()
        self.path.append((tag, names))
        if tag == "article" and "example" in names:
            self.examples.append({"question": "", "choices": [], "runs": []})
        if not self.examples:
            return
        example = self.examples[-1]
        if tag == "li" and self.inside("ul", "choices"):
            example["choices"].append("")
        if tag == "div" and "run" in names:
            example["runs"].append({"label": "", "right": None, "tokens": []})
        if tag == "span" and "mark" in names:
            example["runs"][-1]["right"] = "ok" in names
        if tag == "span" and "t" in names and self.inside("p", "answer"):
            origin = next(name for name in names if name != "t")
            example["runs"][-1]["tokens"].append([origin, ""])

    def handle_endtag(self, tag):
        while self.path and self.path.pop()[0] != tag:
            pass

    def inside(self, tag, name=None):
        return any(t == tag and (name is None or name in names) for t, names in self.path)

    def handle_data(self, data):
        if not self.inside("article", "example"):
            return
        example = self.examples[-1]
        if self.inside("h3"):
            example["question"] += data
        elif self.inside("ul", "choices") and self.inside("li") and not self.inside("span"):
            example["choices"][-1] += data
        elif self.inside("div", "run-head") and self.inside("b"):
            example["runs"][-1]["label"] += data
        elif self.inside("p", "answer") and self.inside("span"):
            example["runs"][-1]["tokens"][-1][1] += data


def chosen(examples):
    """The first example with a run that is wrong alone and right routed; its two runs."""
    for example in examples:
        alone = next(run for run in example["runs"] if run["label"] == ALONE)
        routed = next(run for run in example["runs"] if run["label"].startswith(ROUTED))
        if routed["right"] and not alone["right"]:
            return example, [alone, routed]
    raise SystemExit(f"{REPORT.relative_to(ROOT)} has no example that routing mends")


def wrapped(words, columns):
    """Lines of words, each with its separating space at its front."""
    lines = [[]]
    used = 0
    for word in words:
        if used + len(word) > columns and lines[-1]:
            lines.append([])
            used = 0
        lines[-1].append(word)
        used += len(word)
    return lines


def token_lines(tokens, columns):
    """Lines of tokens. A new line begins at a token with a space in front of it."""
    groups = []
    for origin, text in tokens:
        if not groups or text.startswith(" "):
            groups.append([])
        groups[-1].append((origin, text))
    lines, used = [[]], 0
    for group in groups:
        length = sum(len(text) for _, text in group)
        if used + length > columns and lines[-1]:
            lines.append([])
            used = 0
        lines[-1] += group
        used += length
    return lines


class Drawing:
    def __init__(self):
        self.parts, self.y = [], MARGIN + 10

    def text(self, x, content, names):
        self.parts.append(f'<text x="{x:.1f}" y="{self.y:.1f}" class="{names}">{html.escape(content)}</text>')

    def mono(self, x, content, names):
        length = len(content) * CHARACTER
        self.parts.append(
            f'<text x="{x:.1f}" y="{self.y:.1f}" class="{names}" textLength="{length:.1f}" '
            f'lengthAdjust="spacingAndGlyphs" xml:space="preserve">{html.escape(content)}</text>'
        )

    def run(self, run):
        made = sum(1 for origin, _ in run["tokens"] if origin == "llm")
        mark, names = ("✓ right", "s b ok") if run["right"] else ("✗ wrong", "s b bad")
        self.text(MARGIN, run["label"], "s b")
        self.text(MARGIN + 190, mark, names)
        self.text(MARGIN + 268, f"{made} of {len(run['tokens'])} tokens by the large model", "s soft")
        for line in token_lines(run["tokens"], COLUMNS):
            self.y += LINE
            x = MARGIN
            for place, (origin, text) in enumerate(line):
                text = text if place else text.lstrip(" ")
                lead = len(text) - len(text.lstrip(" "))
                body = text[lead:] or text
                lead = lead if text[lead:] else 0
                x += lead * CHARACTER
                width = len(body) * CHARACTER
                if body.strip():
                    name = origin if origin in ("slm", "llm") else "slm"
                    self.parts.append(
                        f'<rect x="{x + 0.5:.1f}" y="{self.y - 16:.1f}" width="{width - 1:.1f}" height="22" '
                        f'rx="3" class="{name}"/>'
                    )
                    self.mono(x, body, "t")
                x += width


def picture(report):
    parser = Examples()
    parser.feed(report)
    example, runs = chosen(parser.examples)
    drawing = Drawing()
    words = example["question"].split(" ")
    for line in wrapped([words[0]] + [f" {word}" for word in words[1:]], COLUMNS):
        drawing.mono(MARGIN, "".join(line).strip(), "q soft")
        drawing.y += 22
    choices = "   ".join(choice.strip() for choice in example["choices"])
    drawing.mono(MARGIN, choices, "q soft")
    for run in runs:
        drawing.y += 42
        drawing.run(run)
    height = drawing.y + MARGIN
    title = "An answer of the small model alone and of the routed pair, every token coloured by its origin"
    said = [f"{run['label']}: {''.join(text for _, text in run['tokens'])}" for run in runs]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" role="img" aria-labelledby="title desc">',
            f'<title id="title">{title}</title>',
            f'<desc id="desc">{html.escape(" ".join(said))}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height:.0f}" rx="8"/>',
            *drawing.parts,
            "</svg>",
            "",
        ]
    )


def main(arguments):
    if arguments not in ([], ["--check"]):
        raise SystemExit(__doc__)
    drawn = picture(REPORT.read_text(encoding="utf-8"))
    if not arguments:
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.write_text(drawn, encoding="utf-8")
    elif not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != drawn:
        name = PICTURE.relative_to(ROOT)
        print(f"{name} is not that of the report; run python3 tools/token-picture.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

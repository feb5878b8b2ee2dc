#!/usr/bin/env python3
"""Checks every relative link of the repository's Markdown files.

    python3 tools/check-links.py [FILE.md ...]

Without arguments: all Markdown files that git knows or would add. A broken link is printed as
`file:line: target: reason`, and the exit status is 1. Checked are links, images, reference
definitions, href and src of HTML tags, anchors, `{{#include}}` lines, and that each page of the
book (docs/src) stands in its SUMMARY.md. Pages of the book may link to pages and files of the
book alone, since nothing else is there once it is built. Absolute URLs are not fetched.
"""

import html.parser
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "docs" / "src"

FENCE = re.compile(r"^\s{0,3}(```+|~~~+)")
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
INLINE = re.compile(r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*<?([^\s<>()]*(?:\([^\s()]*\)[^\s()]*)*)>?(?:\s+[\"'][^\"']*[\"'])?\s*\)")
IMAGE = re.compile(r"!\[[^\[\]]*\]\(\s*<?([^\s<>()]+)")
REFERENCE = re.compile(r"^\s{0,3}\[[^\]^]+\]:\s*<?(\S+?)>?(?:\s|$)")
ATTRIBUTE = re.compile(r"<[a-zA-Z][^>]*?\b(?:href|src)\s*=\s*[\"']([^\"']+)[\"']")
INCLUDE = re.compile(r"\{\{#(?:include|rustdoc_include|playground)\s+([^}\s]+)[^}]*\}\}")
HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*\s*$")
IDENTIFIER = re.compile(r"\b(?:id|name)\s*=\s*[\"']([^\"']+)[\"']")


def lines_of(path):
    """Numbered lines without fenced code."""
    fence = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        mark = FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence):
                fence = None
            continue
        if mark:
            fence = mark[1]
            continue
        yield number, line


def slug(heading):
    """The anchor that GitHub and mdBook give a heading."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"<[^>]*>", "", text).replace("`", "").replace("*", "")
    text = unicodedata.normalize("NFC", text).strip().lower()
    return "".join("-" if c == " " else c for c in text if c.isalnum() or c in " -_")


class Ids(html.parser.HTMLParser):
    """Ids and names of an HTML page."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attributes):
        self.found.update(value for name, value in attributes if name in ("id", "name"))


def anchors(path, known={}):
    """Anchors of a file; None where the kind of file has none that can be known."""
    if path not in known:
        found = None
        if path.suffix == ".md":
            found, counts = set(), {}
            for _, line in lines_of(path):
                found.update(IDENTIFIER.findall(line))
                heading = HEADING.match(line)
                if heading:
                    name = slug(heading[1])
                    counts[name] = counts.get(name, -1) + 1
                    found.add(f"{name}-{counts[name]}" if counts[name] else name)
                for included in INCLUDE.findall(line):
                    other = (path.parent / included.split(":")[0]).resolve()
                    if other.is_file():
                        found.update(anchors(other) or ())
        elif path.suffix in (".html", ".htm"):
            page = Ids()
            page.feed(path.read_text(encoding="utf-8"))
            found = page.found
        known[path] = found
    return known[path]


def in_book(path):
    return path.is_relative_to(BOOK)


def problem(page, target):
    """Why a link is broken; None if it is not."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", target) or target.startswith("//"):
        return None
    place, _, anchor = unquote(target).partition("#")
    place = place.partition("?")[0]
    if place.startswith("/"):
        return "an absolute path; link relative to the file"
    path = (page.parent / place).resolve() if place else page
    if in_book(page) and not in_book(path):
        return "outside the book; name the path without a link"
    if not path.is_relative_to(ROOT):
        return "outside the repository"
    if not path.exists():
        return "no such file"
    if anchor and path.is_file():
        names = anchors(path)
        if names is not None and anchor not in names:
            return "no such anchor"
    return None


def check(page):
    """Broken links of a page: (line, target, reason)."""
    broken = []
    for number, line in lines_of(page):
        for included in INCLUDE.findall(line):
            if not (page.parent / included.split(":")[0]).is_file():
                broken.append((number, included, "no such file to include"))
        plain = CODE.sub("", line)
        targets = INLINE.findall(plain) + IMAGE.findall(plain) + ATTRIBUTE.findall(plain)
        targets += REFERENCE.findall(plain)
        for target in dict.fromkeys(targets):
            reason = problem(page, target)
            if reason:
                broken.append((number, target, reason))
    return broken


def unlisted():
    """Pages of the book that its summary does not name."""
    summary = BOOK / "SUMMARY.md"
    if not summary.is_file():
        return
    text = summary.read_text(encoding="utf-8")
    listed = {(BOOK / unquote(target)).resolve() for target in INLINE.findall(text) if target}
    for page in sorted(BOOK.rglob("*.md")):
        if page != summary and page not in listed:
            yield page


def pages(arguments):
    if arguments:
        return [Path(argument).resolve() for argument in arguments]
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "*.md"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in sorted(set(names.splitlines())) if (ROOT / name).is_file()]


def main(arguments):
    found = pages(arguments)
    count = 0
    for page in found:
        for number, target, reason in check(page):
            count += 1
            print(f"{page.relative_to(ROOT)}:{number}: {target}: {reason}")
    for page in unlisted():
        count += 1
        print(f"{page.relative_to(ROOT)}:1: not in docs/src/SUMMARY.md")
    if count:
        print(f"{count} broken links in {len(found)} files", file=sys.stderr)
        return 1
    print(f"{len(found)} files, no broken link")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

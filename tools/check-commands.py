#!/usr/bin/env python3
"""Checks that the commands, options and recipes which the documents name exist.

    python3 tools/check-commands.py target/debug/tokenroute

Read are README.md, CONTRIBUTING.md, SECURITY.md and the book. A `tokenroute COMMAND --option` in a
shell block or in backticks is held against that command's help, a lone `--option` in backticks
against all of them, and `just RECIPE` against the justfile. Exit status 1 lists what is unknown.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
# Options of other programs, which documents name in passing.
FOREIGN = {
    "--check", "--features", "--no-default-features", "--locked", "--path", "--release", "--root", "--workspace",
    "--all-targets", "--example", "--test", "--version", "--enable-deterministic-inference", "--model-path", "--torch",
}


def pages():
    names = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
    return [ROOT / name for name in names] + sorted((ROOT / "docs" / "src").rglob("*.md"))


def snippets(path):
    """(line, text, whether it is of a shell block) of all code."""
    block, begun, joined = None, 0, ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"^\s*```(\w*)", line)
        if fence:
            block = None if block is not None else fence[1]
            continue
        if block == "sh":
            joined, begun = (joined + line, begun or number)
            if joined.endswith("\\"):
                joined = joined[:-1]
            else:
                yield begun, joined, True
                joined, begun = "", 0
        elif block is None:
            for code in re.findall(r"`([^`]+)`", line):
                yield number, code, False


class Program:
    """The commands of tokenroute and their options, from its help."""

    def __init__(self, path):
        self.path, self.known = path, {}
        listed = self.help("--help").partition("Commands:")[2].partition("Options:")[0]
        # A hidden command has help too.
        names = re.findall(r"^ {2}([a-z][a-z-]*)", listed, re.MULTILINE) + ["random-model"]
        for name in names:
            text = self.help("help", name)
            self.known[name] = set(OPTION.findall(text)) | {"--help", "--quiet"}
            nested = text.partition("Commands:")[2].partition("Options:")[0]
            for inner in set(re.findall(r"^ {2}([a-z][a-z-]*)", nested, re.MULTILINE)) - {"help"}:
                options = OPTION.findall(self.help("help", name, inner))
                self.known[f"{name} {inner}"] = set(options) | {"--help", "--quiet"}
        self.all = set().union(*self.known.values())

    def help(self, *arguments):
        return subprocess.run([self.path, *arguments], capture_output=True, text=True, check=True).stdout


def unknown(program, recipes, text, block):
    """What a piece of code names that does not exist."""
    text = re.sub(r"\s#.*", "", text) if block else text
    text = text.replace("cargo run -- ", "tokenroute ")
    for recipe in re.findall(r"(?:^|[;&|]\s*)just ([a-z][a-z0-9-]*)", text):
        if recipe not in recipes:
            yield f"just {recipe}"
    command = re.search(r"(?:^|\s)tokenroute ([a-z][a-z-]*)((?: [a-z][a-z-]*)?)", text)
    if command and command[1] != "help":
        name = command[1] + (command[2] if command[1] + command[2] in program.known else "")
        if name not in program.known:
            yield f"tokenroute {name}"
            return
        for option in OPTION.findall(text[command.end():]):
            if option not in program.known[name]:
                yield f"tokenroute {name} {option}"
    elif not block:
        for option in OPTION.findall(text):
            if option not in program.all and option not in FOREIGN:
                yield option


def main(arguments):
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    program = Program(arguments[0])
    text = (ROOT / "justfile").read_text(encoding="utf-8")
    recipes = set(re.findall(r"^([a-z][a-z0-9-]*)(?!\s*:=)(?:\s[^\n]*)?:(?:\s[^\n]*)?$", text, re.MULTILINE))
    count = checked = 0
    for page in pages():
        for line, code, block in snippets(page):
            checked += 1
            for name in unknown(program, recipes, code, block):
                count += 1
                print(f"{page.relative_to(ROOT)}:{line}: {name} is unknown")
    print(f"{checked} pieces of code, {count} unknown names", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

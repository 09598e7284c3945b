"""Reads the code blocks of the project's documentation."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

CHECKOUT = Path(__file__).resolve().parents[2]
TUTORIAL = "docs/tutorial.md"
_INFO = re.compile(r'(?P<language>\S*)(?:.*\btitle="(?P<title>[^"]*)")?')


@dataclass(frozen=True)
class Block:
    """A block of code in a page.

    :param page: path in the checkout.
    :param language: of the fence; an indented block is a command.
    :param title: of the fence: the file that a reader saves it as, or the terminal that it is typed into.
    """

    page: str
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read_blocks(page: str, text: str) -> list[Block]:
    blocks = []
    for token in MarkdownIt().parse(text):
        if token.type in ("fence", "code_block"):
            info = _INFO.match(token.info or "shell")
            assert info
            assert token.map
            block = Block(page, token.map[0] + 1, info["language"], info["title"] or "", token.content.rstrip("\n"))
            blocks.append(block)
    return blocks


def pages() -> list[str]:
    files = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
    return [file.relative_to(CHECKOUT).as_posix() for file in files]


def blocks_of(page: str) -> list[Block]:
    return read_blocks(page, (CHECKOUT / page).read_text())


def all_blocks(*languages: str, but: Iterable[str] = ()) -> list[Block]:
    return [block for page in pages() if page not in but for block in blocks_of(page) if block.language in languages]


def copy_checkout(target: Path) -> Path:
    """The checkout as somebody else would get it, with what is not committed yet."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (CHECKOUT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, target / name)
    return target

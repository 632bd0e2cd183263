"""Hooks of the documentation site: the README is its home, links to code become names of files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r'\[([^\]]+)\]\((?!https?:)([^)#\s]+)(#[^)]*)?\)')


def on_files(files: Files, config: Any) -> Files:
    """Add the README as the home page."""
    text = (ROOT / 'README.md').read_text('utf-8')
    files.append(File.generated(config, 'index.md', content=text.replace('](docs/', '](')))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Replace links to files that are not part of the site by their names."""
    folder = Path(config.docs_dir, page.file.src_uri).parent

    def shown(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        inside = target.is_relative_to(Path(config.docs_dir)) and target.is_file()
        known = inside and 'results' not in target.parts
        return link[0] if known or link[2].endswith('.png') else link[1]

    return _LINK.sub(shown, markdown)

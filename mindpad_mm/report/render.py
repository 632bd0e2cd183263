"""Render templates to single HTML files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from mindpad_mm.core.files import save_text
from mindpad_mm.core.names import PathLike


def write_html(path: PathLike, template: str, **context: Any) -> None:
    """Render a template of the package, which extends ``base.html``, to a file.

    Everything in the context is escaped, except ``markupsafe.Markup``.

    Args:
        path: File to write.
        template: Name of a file in ``report/templates``.
        context: Variables of the template.

    Raises:
        UserError: The file cannot be written.
    """
    environment = Environment(
        loader=PackageLoader('mindpad_mm.report'),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template(template).render(context)
    save_text(Path(path), html)

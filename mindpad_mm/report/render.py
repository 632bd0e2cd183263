"""Pages: templates filled in and written as single files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike


def write_html(path: PathLike, template: str, **context: Any) -> None:
    """Fill in one of the package's templates, which extend ``base.html``, and write it.

    Everything in the context is escaped but ``markupsafe.Markup``.

    Args:
        path: The file to write.
        template: Its name in ``report/templates``.
        context: The template's variables.

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
    try:
        Path(path).write_text(html, encoding='utf-8')
    except OSError as error:
        raise UserError(f'cannot write {str(path)!r}: {error.strerror}') from error

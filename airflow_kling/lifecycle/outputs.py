"""Hands over what an archive task returns, or an entry of it: ``archive.output["images"][1]``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_kling.exceptions import KlingInputError
from airflow_kling.lifecycle.fail_fast import failing_fast

if AIRFLOW_V_3_0_PLUS:
    from airflow.sdk.definitions._internal.templater import ResolveMixin  # type: ignore[attr-defined]
    from airflow.sdk.definitions.xcom_arg import PlainXComArg
else:
    from airflow.models.xcom_arg import PlainXComArg  # type: ignore[attr-defined, no-redef]
    from airflow.template.templater import ResolveMixin  # type: ignore[import-not-found, no-redef]

#: What an archive task returns, by name; every other name is the key of an XCom.
PARTS = ("manifest", "kling_task_id", "route", "images", "videos", "unverified", "warnings")


class ArchiveOutput(PlainXComArg):
    """The output of an archive task. Airflow's own knows the keys of XComs only, and nothing within one."""

    def __getitem__(self, item: str) -> Any:
        """Return a part of the output, to be resolved when the task runs that takes it; else the XCom of that key."""
        return ArchivePart(self, (item,)) if item in PARTS else super().__getitem__(item)


class ArchivePart(ResolveMixin):
    """Something within the output of an archive task.

    :param output: of the archive task.
    :param path: keys and positions that lead to it.
    """

    def __init__(self, output: ArchiveOutput, path: tuple[str | int, ...]) -> None:
        self._output = output
        self._path = path

    def __getitem__(self, step: str | int) -> ArchivePart:
        """Return what is further within."""
        return ArchivePart(self._output, (*self._path, step))

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("A part of an archive task's output is not known before the task has run.")

    def __str__(self) -> str:
        """Return the template that stands for it within a text."""
        steps = "".join(f"[{step!r}]" for step in self._path)
        return f"{str(self._output).removesuffix('}}').rstrip()}{steps} }}}}"

    def __repr__(self) -> str:
        return f"ArchivePart({self._output!r}, {self._path!r})"

    def iter_references(self) -> Iterator[Any]:
        """Return the task whose output it is."""
        yield from self._output.iter_references()

    def resolve(self, context: Any, **options: Any) -> Any:
        """Return it, once the archive task has run."""
        found = self._output.resolve(context, **options)
        with failing_fast():
            try:
                for step in self._path:
                    found = found[step]
            except (LookupError, TypeError):
                path = "".join(f"[{step!r}]" for step in self._path)
                raise KlingInputError(
                    f"The output of task {self._output.operator.task_id!r} has no {path}; nothing was submitted."
                ) from None
        return found

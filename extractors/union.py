"""Extractor ``union``: the records of several sources, one source after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from etlctl.sdk import Batch, Example, Extractor, ReadContext


class Union(Extractor):
    """The records of several sources, one source after the other, in the order written.

    Each source is an extractor section of its own: ``type`` and options. Sources need not have the same fields; a
    record has those of its own source. Nothing is taken away: for records that come twice there is ``dedupe``.
    """

    sources_: tuple[dict[str, Any], ...] = Field(alias="sources", strict=False, min_length=1)
    """The sources: ``type`` and options of an extractor each."""

    nested: ClassVar[tuple[str, ...]] = ("sources",)
    tabular: ClassVar[bool | None] = None
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Two files of different form",
            "sources:\n- {type: file, path: old.csv}\n- {type: file, path: new.jsonl}",
            given={"old.csv": "id,name\n1,Ada\n2,Bob\n", "new.jsonl": '{"id": "3", "name": "Cy", "age": 5}\n'},
            expect=[{"id": "1", "name": "Ada"}, {"id": "2", "name": "Bob"}, {"id": "3", "name": "Cy", "age": 5}],
        ),
    )

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        """Yield the batches of one source after the other, with the number of the source in their positions."""
        first, at = (ctx.position["source"], ctx.position["at"]) if ctx.position else (0, None)
        for number, source in enumerate(self.sources("sources")[first:], first):
            inner = replace(ctx, position=at if number == first else None)
            async with aclosing(source.read(inner)) as batches:  # type: ignore[type-var]
                async for batch in batches:
                    yield replace(batch, position={"source": number, "at": batch.position})

    def fields(self, base_dir: str) -> dict[str, str] | None:
        """Return the fields of all sources together, when those of each can be told."""
        found: dict[str, str] = {}
        for source in self.sources("sources"):
            types = source.fields(base_dir)
            if types is None:
                return None
            for name, kind in types.items():
                found[name] = kind if found.get(name, kind) == kind else "any"
        return found or None

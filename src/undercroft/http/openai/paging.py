"""Cursor pagination as OpenAI has it."""

from typing import Annotated, Literal, TypeAlias

from fastapi import Query

Limit: TypeAlias = Annotated[int, Query(ge=1, le=100, description="The most entries in the page.")]
After: TypeAlias = Annotated[
    str | None, Query(max_length=64, description="The id of the last entry of the page before.")
]
Before: TypeAlias = Annotated[None, Query(description="Not supported yet.")]
Order: TypeAlias = Annotated[
    Literal["asc", "desc"], Query(description="By creation, oldest or newest first.")
]

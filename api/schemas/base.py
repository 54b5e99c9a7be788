"""What all answers have in common."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")

Number = float | Literal["NaN", "Infinity", "-Infinity"]


class Answer(BaseModel):
    """Frozen; takes what a newer service adds."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        from_attributes=True,
        use_attribute_docstrings=True,
        ser_json_inf_nan="strings",
    )


class ListAnswer(Answer, Generic[T]):
    """A page of a list; with `page_token` = `next_page_token` comes the next one. Null on the last page."""

    # A generic model's docstring doesn't reach the schemas of what is made of it.
    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(description=ListAnswer.__doc__))

    items: list[T]
    """In the list's order."""
    next_page_token: str | None
    """For the next page; null on the last."""

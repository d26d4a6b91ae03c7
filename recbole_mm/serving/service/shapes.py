"""What goes in and out of the service as JSON."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool, StrictFloat, StrictInt

from recbole_mm.serving.service.bounds import MAX_CANDIDATES, MAX_HISTORY, MAX_K, MAX_LIMIT, MAX_ROWS, MAX_TEXT, MAX_TOKEN

Token = Annotated[str, Field(min_length=1, max_length=MAX_TOKEN)]
PathUser = Annotated[str, Path(max_length=MAX_TOKEN, description="the token of a user", examples=["u17"])]
PathItem = Annotated[str, Path(max_length=MAX_TOKEN, description="the token of an item", examples=["i3"])]
K = Annotated[int, Query(ge=1, le=MAX_K, description="how many items; fewer where fewer are left")]
Part = Annotated[str, Query(max_length=MAX_TEXT, description="a part of a token or title; empty for the first ones")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="how many at most")]


class Item(BaseModel):
    """An item, with what a page shows of it."""

    item: str
    title: str = Field(description="empty for an item without one")
    picture: bool = Field(description="whether GET /items/{item}/picture has one")


class RankedItem(Item):
    """An item in a ranking."""

    rank: int = Field(description="from 1")
    score: float


class Items(BaseModel):
    """Items in no particular order of worth."""

    items: list[Item]


class RankedItems(BaseModel):
    """Items, the best first."""

    items: list[RankedItem]

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [{"item": "i3", "title": "Red scarf", "picture": True, "rank": 1, "score": 3.1}]}]}
    )


class ItemFacts(Item):
    """An item and what it can be compared by."""

    modalities: list[str] = Field(description="what `by` of GET /similar/{item} may be besides `model`")


class Users(BaseModel):
    """Tokens of users."""

    users: list[str]


class UserFacts(BaseModel):
    """A user and the items that the user has, the oldest first."""

    user: str
    history: list[Item]


class History(BaseModel):
    """What somebody has, and what to recommend."""

    history: list[Token] = Field(min_length=1, max_length=MAX_HISTORY, description="item tokens, the oldest first")
    k: StrictInt = Field(10, ge=1, le=MAX_K, description="how many items; fewer where fewer are left")
    exclude_seen: StrictBool = Field(True, description="leave out the items of the history")
    candidates: list[Token] | None = Field(None, max_length=MAX_CANDIDATES, description="the only items to recommend; null for all")
    times: list[StrictFloat | StrictInt] | None = Field(
        None, max_length=MAX_HISTORY, description="when each item was taken, in the units of the data set, for models that read it"
    )

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"history": ["i3", "i8"], "k": 5}]})


class NewItems(BaseModel):
    """New items, with the columns of the data set's `.item` file."""

    rows: list[dict[str, JsonValue]] = Field(
        min_length=1,
        max_length=MAX_ROWS,
        description="the item's token, its texts, its picture in base64 (never a path), and the vectors of features that come from files",
    )

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"rows": [{"item_id": "p-9", "title": "Blue scarf", "image": "iVBORw0KGgo..."}]}]}
    )


class AddedItems(BaseModel):
    """The tokens of the items that were added or updated."""

    added: list[str]


class RemovedItems(BaseModel):
    """The token of the item that was removed."""

    removed: str


class Health(BaseModel):
    """What is served."""

    status: str
    version: str = Field(description="of recbole_mm")
    model: str
    dataset: str
    users: int
    items: int = Field(description="how many are recommended, added ones included")
    added: int = Field(description="how many of them were added since the export")
    encoder: bool = Field(description="whether texts and pictures can be read: for a search, and for new items")
    writing: bool = Field(description="whether items can be added and removed, with the API key")

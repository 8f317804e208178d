"""What every configuration, record and card is made of: strict frozen models, and their errors in plain words."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bocb_hf.errors import InputError
from bocb_hf.registry import suggestion


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a control character, a line break or a sign that changes the direction of text")
    return text


def _real_time(text: str) -> str:
    try:
        datetime.datetime.fromisoformat(text)  # twenty times as fast, and every record has a time
    except ValueError:
        datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")  # raises ValueError on the 30th of February
    return text


# cards, pages and terminals show what others have written, and must not obey any of its signs
Printable = Annotated[str, AfterValidator(_printable)]
DEFAULT_STORE = "outputs/store"  # a local folder
HUB_SCHEME = "hf://"  # how the address of anything on the Hub begins
Role = Literal["trial", "final"]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]  # the numbers that a column of a table can hold
Positive = Annotated[int, Field(ge=1, le=2**63 - 1)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$")]
Slug = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9][a-z0-9_.]*$")]
Scalar = bool | int | float | Printable
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ConfigHash = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
DataRevision = Annotated[str, Field(min_length=7, max_length=64, pattern=r"^[0-9a-f]+$")]
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}-[0-9]{1,10}$")]
RepositoryId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,96}/[A-Za-z0-9._-]{1,96}$")]
UtcTime = Annotated[str, Field(pattern=r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z$"), AfterValidator(_real_time)]


class Frozen(BaseModel):
    """Base of every configuration and record: immutable, no unknown keys, no coercion, finite floats."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Document(Frozen):
    """Base of every model that is stored as a JSON file of its own."""

    def to_json(self) -> str:
        """The file's text; equal documents give equal bytes."""
        return canonical_json(self.model_dump(mode="json")) + "\n"

    def sha256(self) -> str:
        """SHA-256 of ``to_json``."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def later(default: Any, **constraints: Any) -> Any:
    """A field that came after the first records: it is written, and hashed, only when it is not at its default.

    Thus an older record keeps its bytes, its hash and its configuration hash.
    """
    return Field(default=default, exclude_if=lambda value: value == default, **constraints)


def _plain_json(args: dict[str, Any]) -> dict[str, Any]:
    canonical_json(args)  # raises ValueError on NaN, which no field type catches inside a free dictionary
    for text in _texts(args):
        _printable(text)
    return args


def _texts(value: Any) -> Iterator[str]:
    """Every key and string inside plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for pair in cast(dict[str, Any], value).items():
            yield from _texts(list(pair))
    elif isinstance(value, list):
        for item in cast(list[Any], value):
            yield from _texts(item)


Arguments = Annotated[dict[str, Any], AfterValidator(_plain_json)]


def canonical_json(data: Any) -> str:
    """JSON with sorted keys and no spaces; raises ValueError on NaN and infinities."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def utc_now() -> str:
    """Returns the present time to the second as ISO 8601, the form of ``UtcTime``."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


D = TypeVar("D", bound=Document)


def parse_document(model: type[D], content: bytes, source: str, what: str, limit: int, newest: int = 1) -> D:
    """Reads and validates a stored document.

    Args:
        model: The kind of document that it must be.
        content: UTF-8 JSON.
        source: Name of the file for an error.
        what: Name of the kind for an error.
        limit: Largest size in bytes.
        newest: Highest schema version that this installation reads.

    Raises:
        InputError: The document is too large, has a newer schema, or is not valid.
    """
    if len(content) > limit:
        raise InputError(f"{source}: larger than {limit} bytes")
    try:
        data, problem = json.loads(content, object_pairs_hook=_refuse_duplicates), None
    except (ValueError, RecursionError) as error:
        data, problem = None, error
    version = cast(dict[str, Any], data).get("schema_version") if isinstance(data, dict) else None
    # the document is refused for its newer version, and not for its new fields
    if isinstance(version, int) and version > newest:
        raise InputError(
            f"{source}: schema version {version} is newer than {newest}, the newest readable here; upgrade bocb-hf"
        )
    try:
        document = model.model_validate_json(content)
    except ValidationError as error:
        raise InputError(f"{source}: not a valid {what}: {'; '.join(describe_errors(error, model)[:5])}") from None
    if problem is not None:
        raise InputError(f"{source}: not a valid {what}: {one_line(str(problem))}") from None
    return document


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the object unless it has a key twice: one reader would take the first value and another the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"duplicate key {key!r}")
            seen.add(key)
    return found


def one_line(text: str, limit: int = 500) -> str:
    """Returns other people's text without line breaks and without signs that a terminal, log or page would obey."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:limit])


def describe_errors(error: ValidationError, model: type[BaseModel], overridable: bool = False) -> list[str]:
    """One line for each error of a validation: the dotted key, what is wrong, and a close name if there is one."""
    lines: list[str] = []
    for item in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            fields = list(_model_at(model, item["loc"][:-1]).model_fields)
            hint = suggestion(str(item["loc"][-1]), fields) or f"; known here: {', '.join(fields) or 'nothing'}"
            lines.append(f"{key}: unknown key{hint}")
        elif item["type"] == "missing":
            # records and cards have no overrides
            lines.append(f"{key}: missing" + f"; give it in the YAML file or as {key}=VALUE" * overridable)
        else:
            message = item["msg"].removeprefix("Value error, ")
            lines.append(f"{key}: {message[0].lower()}{message[1:]}" if key else message)
    return [one_line(line, 1000) for line in lines]


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    """The nested model class that a location inside a validation error points to."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            break
        model = field.annotation
    return model


def parse_strict(model: type[BaseModel], data: Any, context: Any = None) -> Any:
    """Validates plain data in strict JSON mode, where a list may become a tuple but "3" never becomes 3."""
    return model.model_validate_json(json.dumps(data), context=context)

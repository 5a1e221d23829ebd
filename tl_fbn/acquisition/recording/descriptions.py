"""The two small JSON files of a recording, ``recording.json`` and ``run.json``: written with a checksum, read strictly.

Each has an entry ``checksum``: XXH3 (128 bits) of all its other entries, as JSON with sorted keys and no line breaks,
so that spaces and the order of entries do not count. It is compared whenever the file is read. Files of formats 1 and
2, which earlier versions wrote, have none.

Whoever has no checksum to trust is checked by hand: every entry that something is read or allocated by has to be there
and of its kind. No entry is ever a path: the three files of a run have fixed names, and a ``run.json`` that lists
others is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import xxhash

from tl_fbn.errors import InputError
from tl_fbn.kinds import shown
from tl_fbn.units import UnitSpace

FORMAT_VERSION = 3  # 1 had float32 and one site only, 1 and 2 had no checksum of descriptions; all are read
FIRST_WITH_CHECKSUM = 3
CHECKSUM = "checksum"
HEADER = "header"  # entry of run.json: checksum of the header of the data file
DATA = "activations.safetensors"
EVENTS = "events.tsv"
ROWS = "rows.tsv"
RUN_FILES = (DATA, EVENTS, ROWS)
XXH3 = "xxh3_128"  # entry of run.json with the checksums of the three files; of format 1 it is the one below
SHA256 = "sha256"
ABOUT = "recording.json"
ABOUT_RUN = "run.json"
# entry of run.json: digests of the prompts that a scan showed in the run, whatever its rows are: of their token ids
# ("ids"), and of texts that one prompt of the recording has only ("texts")
DIGESTS = "prompt_digests"


def description_bytes(about: Mapping[str, Any]) -> bytes:
    """The content of a JSON file with a checksum, in this version's format.

    Args:
        about: The entries; ``format`` and ``checksum`` are replaced.
    """
    entries = {**about, "format": FORMAT_VERSION}
    entries.pop(CHECKSUM, None)
    # as it will be read: the checksum must not depend on what JSON has no form for, such as tuples
    entries = json.loads(json.dumps(entries))
    sealed = {**entries, CHECKSUM: _checksum(entries)}
    return (json.dumps(sealed, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_description(path: Path) -> dict[str, Any]:
    """The entries of a JSON file, without its checksum, which is compared.

    Args:
        path: The file.

    Raises:
        InputError: The file is no JSON object, is not what was written, or is of a newer format.
    """
    try:
        about = json.loads(path.read_bytes())
        if not isinstance(about, dict):
            raise InputError("no JSON object")
        version = about.get("format", 1)
        if type(version) is not int or version < 1:
            raise InputError(f"there is no format {version!r}")
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested without end
        raise InputError(f"{path} is damaged ({error}); {_remedy(path)}") from error
    if version > FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {version}, this tl_fbn reads up to {FORMAT_VERSION}; update tl_fbn"
        )
    stored = about.pop(CHECKSUM, None)
    if stored is None and version < FIRST_WITH_CHECKSUM:
        return about
    if stored != _checksum(about):
        raise InputError(f"{path} is damaged (it is not what was written: its checksum changed); {_remedy(path)}")
    return about


def has_checksum(about: Mapping[str, Any]) -> bool:
    """Whether the file that a description was read from had a checksum.

    Args:
        about: The description, as :func:`read_description` gave it.
    """
    return about.get("format", 1) >= FIRST_WITH_CHECKSUM


def checked_recording(about: dict[str, Any], path: Path) -> dict[str, Any]:
    """The description of a recording, if every entry that is needed is there and of its kind.

    Args:
        about: The entries of ``recording.json``.
        path: The file, for messages.

    Raises:
        InputError: An entry is missing or of another kind; the message names it.
    """
    needed: dict[str, tuple[Callable[[Any], bool], str]] = {
        "key": (_is_text, "a text"),
        "model": (_is_text, "a text"),
        "fields": (_is_object, "an object"),
        "n_runs": (lambda value: _is_count(value) and value > 0, "a number of runs, at least 1"),
    }
    _require(about, needed, path)
    spaces = described_spaces(about)
    if not isinstance(spaces, list) or not spaces or not all(map(_is_space, spaces)):
        raise InputError(
            f"{path} is damaged (its spaces are {shown(spaces)}; a site has a name and the number of units of each "
            f"layer); {_remedy(path)}"
        )
    sites = [space["site"] for space in spaces]
    if len(set(sites)) < len(sites):
        raise InputError(f"{path} is damaged (it lists a site twice: {shown(sites)}); {_remedy(path)}")
    prompts = about.get("prompts")
    if prompts is not None and not (isinstance(prompts, list) and all(map(_is_text, prompts))):
        raise InputError(f"{path} is damaged (its prompts are {shown(prompts)}, no list of digests); {_remedy(path)}")
    return about


def checked_run(about: dict[str, Any], path: Path) -> dict[str, Any]:
    """The description of a run, if every entry that is needed is there and of its kind.

    Args:
        about: The entries of ``run.json``.
        path: The file, for messages.

    Raises:
        InputError: An entry is missing or of another kind, or names other files than the three of a run.
    """
    _require(about, {"key": (_is_text, "a text"), "n_rows": (_is_count, "a number of rows")}, path)
    for entry, is_right, what in (("bytes", _is_count, "sizes"), (algorithm_of(about), _is_text, "checksums")):
        of = about.get(entry)
        if not isinstance(of, dict) or set(of) != set(RUN_FILES) or not all(map(is_right, of.values())):
            raise InputError(
                f"{path} is damaged (its {entry} are {shown(of)}; they are the {what} of {', '.join(RUN_FILES)}); "
                f"{_remedy(path)}"
            )
    if has_checksum(about):
        _require(about, {HEADER: (_is_text, "a checksum")}, path)
    return about


def algorithm_of(about: Mapping[str, Any]) -> str:
    """The entry of a ``run.json`` that holds the checksums of its files, which is also the name of their algorithm.

    Args:
        about: The entries of ``run.json``.
    """
    return XXH3 if XXH3 in about else SHA256  # of recordings of format 1


def described_spaces(about: Mapping[str, Any]) -> Any:
    """The sites and widths that a recording's description lists; format 1 had one site only.

    Args:
        about: The entries of ``recording.json``.
    """
    return about["spaces"] if "spaces" in about else [about.get("space")]


def description_of_spaces(spaces: Sequence[UnitSpace]) -> list[dict[str, Any]]:
    """What ``recording.json`` says of the units: one entry a site.

    Args:
        spaces: The units of every site.
    """
    return [{"site": space.site, "widths": list(space.widths)} for space in spaces]


def model_dtype_of(about: Mapping[str, Any]) -> dict[str, str]:
    """The number type that the model computed in, as an entry of a provenance; none where it is not known.

    Args:
        about: The entries of ``recording.json``; earlier versions wrote no such entry.
    """
    known = about.get("model_dtype")
    return {"model_dtype": str(known)} if known else {}


def computed_in(about: Mapping[str, Any]) -> str:
    """What the model computed in, and what activations are stored as where that is another type, behind a space.

    Args:
        about: The entries of ``recording.json``; without a number type nothing is said.

    Returns:
        `` in bfloat16, stored as float32``, or an empty text.
    """
    known = model_dtype_of(about).get("model_dtype")
    stored = (about.get("fields") or {}).get("dtype")
    # prompts that were pooled afterwards and courses of networks are stored in types of their own
    is_own = stored and stored != known and "pool" not in about and "networks" not in about
    return f" in {known}{f', stored as {stored}' if is_own else ''}" if known else ""


def _require(about: Mapping[str, Any], needed: Mapping[str, tuple[Callable[[Any], bool], str]], path: Path) -> None:
    """Raise an error unless every entry that is needed is there and of its kind."""
    for name, (is_right, what) in needed.items():
        if not is_right(about.get(name)):
            raise InputError(f"{path} is damaged (its {name} is {shown(about.get(name))}, not {what}); {_remedy(path)}")


def _remedy(path: Path) -> str:
    """What to do about a damaged file: a run is recorded anew, the description of a recording is written anew."""
    if path.name == ABOUT_RUN:
        return f"delete {path.parent} and scan again"
    return f"delete {path} and scan again, which keeps the runs"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_count(value: Any) -> bool:
    """Whether a value is a whole number of at least 0; True is none."""
    return type(value) is int and value >= 0


def _is_space(value: Any) -> bool:
    """Whether a value describes a site: its name, and the number of units of every layer."""
    if not isinstance(value, dict) or not isinstance(value.get("site"), str):
        return False
    widths = value.get("widths")
    return isinstance(widths, list) and all(map(_is_count, widths)) and any(widths)


def _checksum(entries: Mapping[str, Any]) -> str:
    return xxhash.xxh3_128(json.dumps(entries, sort_keys=True).encode()).hexdigest()

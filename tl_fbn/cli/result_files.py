"""Where commands find recordings and networks, and where they put results.

Results lie in the folder ``results`` of their recording, one file each, named by what they are: ``glm``, ``contrast-NAME``, ``network-NAME``,
``atlas-NAME``, ``lesions-NAME``. The same question asked again replaces its file; another question has another name.
``tl-fbn report DIR`` reads all of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_fbn.errors import InputError

if TYPE_CHECKING:
    from tl_fbn.acquisition.recording.recording import Recording
    from tl_fbn.units import Network

RESULTS = "results"


def open_recording(folder: Path, site: str | None = None) -> Recording:
    """The recording in a folder, of one site.

    Raises:
        FileNotFoundError: There is none.
        InputError: It holds several sites and none was chosen, or not the one that was.
    """
    from tl_fbn.acquisition.recording.recording import Recording

    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {folder}; give the folder that tl-fbn scan wrote with --out")
    recording = Recording.open(folder)
    if site is not None:
        return recording.site(site)
    if len(recording.sites) > 1:
        raise InputError(f"{folder} holds the sites {', '.join(recording.sites)}; choose one with --site")
    return recording


def results_of(folder: Path) -> Path:
    """Where the results of a recording's folder lie; any other folder is one of results itself."""
    return folder / RESULTS if (folder / "recording.json").exists() else folder


def file_for(folder: Path, kind: str, name: str = "") -> Path:
    """The file of one result."""
    slug = re.sub(r"[^\w.+=]+", "-", name.replace("`", "")).strip("-.")
    return folder / f"{'-'.join(part for part in (kind, slug) if part)}.safetensors"


def differing(names: Sequence[str], option: str = "--name") -> None:
    """Raise unless all names lead to files of their own."""
    files = [file_for(Path(), "", name).name for name in names]
    twice = sorted({name for name, file in zip(names, files, strict=True) if files.count(file) > 1})
    if twice:
        raise InputError(f"{' and '.join(map(repr, twice))} would be saved as one file; give each another {option}")


def writable(folder: Path) -> Path:
    """A folder that can be made or written to: better asked now than after an hour."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise InputError(f"{there} is a file; give a folder with --out")
    if not os.access(there, os.W_OK):
        raise InputError(f"{there} cannot be written to; give another folder with --out")
    return folder


def saved(files: Iterable[Path]) -> str:
    """What was written, a line each, so that a path can be copied."""
    return "\n".join(["Saved:", *(f"  {file}" for file in files)])


def load_networks(sources: Sequence[str], only: Sequence[str] = ()) -> tuple[dict[str, Network], Path]:
    """Networks by name from files and folders, and the folder where the first of them lies.

    Args:
        sources: A file of a network or an atlas, ``FILE:N03`` for one network of an atlas, ``NAME=`` before either to call it NAME,
            or a folder with such files (also a recording's).
        only: Only these.

    Raises:
        InputError: Nothing there, a file of something else, or two networks of one name.
    """
    found: dict[str, Network] = {}
    origin: dict[str, Path] = {}
    folder = None
    for source in sources:
        name, path, member = _parsed(source)
        there = _networks_at(path)
        if member is not None:
            if member not in there:
                raise InputError(f"no network is called {member!r} in {path}; networks: {', '.join(there)}")
            there = {member: there[member]}
        if name is not None:
            if len(there) > 1:
                raise InputError(
                    f"{path} holds {len(there)} networks, which cannot all be called {name!r}; leave {name}= out"
                )
            there = dict(zip([name], there.values(), strict=True))
        for own, network in there.items():
            if own in found:
                raise InputError(
                    f"two networks are called {own!r}, in {origin[own]} and {path}; call one of them otherwise with NAME=FILE"
                )
            found[own], origin[own] = network.rename(own), path
        folder = folder or (path.parent if path.is_file() else results_of(path))
    unknown = [name for name in only if name not in found]
    if unknown:
        raise InputError(f"no network is called {', '.join(unknown)}; networks: {', '.join(found)}")
    assert folder is not None
    return {name: network for name, network in found.items() if not only or name in only}, folder


def load_result(path: Path) -> Any:
    """Any result that was saved to a file."""
    from tl_fbn.results import load

    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; give a file that tl-fbn glm, networks or cgvst wrote")
    return load(path)


def _parsed(source: str) -> tuple[str | None, Path, str | None]:
    """``NAME=FILE:MEMBER`` as its parts; a file that is there is taken as it is called."""
    before, equals, after = source.partition("=")
    named = [(before, after)] if equals and before and after else []
    for name, rest in [(None, source), *named]:  # a file may have "=" and ":" in its own name
        if Path(rest).exists():
            return name, Path(rest), None
        path, colon, member = rest.rpartition(":")
        if colon and member and Path(path).exists():
            return name, Path(path), member
    name, rest = named[0] if named else (None, source)
    return name, Path(rest), None


def _networks_at(path: Path) -> dict[str, Network]:
    from tl_fbn.units import Atlas, Network

    if path.is_dir():
        from tl_fbn.results import load_results

        results: list[Any] = list(load_results(results_of(path)).values())
        networks = [one for one in results if isinstance(one, (Network, Atlas))]
        if not networks:
            raise InputError(f"no networks in {results_of(path)}; tl-fbn glm, networks and cgvst write them")
    else:
        one = load_result(path)
        if not isinstance(one, (Network, Atlas)):
            raise InputError(
                f"{path} holds a {type(one).__name__}, neither a network nor an atlas; give a network-*.safetensors or atlas-*.safetensors"
            )
        networks = [one]
    found: dict[str, Network] = {}
    for one in networks:
        for name, network in one.items() if isinstance(one, Atlas) else [(one.name, one)]:
            if name in found:
                raise InputError(f"two networks in {path} are called {name!r}; give their files, as NAME=FILE")
            found[name] = network
    return found

"""Where commands find recordings and networks, and where they put results.

Results lie in the folder ``results`` of their recording, one file each, named by what they are: ``glm``,
``contrast-NAME``, ``network-NAME``, ``atlas-NAME``, ``lesions-NAME``. A command that is run again with the same
question replaces its file; another question has another name, and another file. ``tl-fbn report DIR`` reads all of
them.
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
    from tl_fbn.intervention.studies.collapse_results import Collapse
    from tl_fbn.units import Network

RESULTS = "results"


def open_recording(folder: Path, site: str | None = None, *, verify: bool = True) -> Recording:
    """The recording in a folder, of one site.

    Args:
        folder: Folder that ``tl-fbn scan`` wrote.
        site: Site to read; None where the recording holds only one.
        verify: Whether every file is read and compared with its checksum first.

    Raises:
        FileNotFoundError: There is no such folder, or it is no recording.
        InputError: The recording is damaged, holds several sites and none was chosen, or lacks the one that was.
    """
    from tl_fbn.acquisition.recording.recording import Recording

    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {folder}; give the folder that tl-fbn scan wrote with --out")
    recording = Recording.open(folder)
    if verify:
        recording.verify()
    if site is not None:
        return recording.site(site)
    if len(recording.sites) > 1:
        raise InputError(f"{folder} holds the sites {', '.join(recording.sites)}; choose one with --site")
    return recording


def results_of(folder: Path) -> Path:
    """The folder of results that belongs to a folder.

    Args:
        folder: A recording's folder, whose results lie in ``results`` inside it; any other folder is one of results
            itself.
    """
    # recording.json is what makes a folder a recording
    return folder / RESULTS if (folder / "recording.json").exists() else folder


def file_for(folder: Path, kind: str, name: str = "") -> Path:
    """The file of one result.

    >>> file_for(Path("results"), "contrast", "sort - reverse").name
    'contrast-sort-reverse.safetensors'

    Args:
        folder: Folder of results.
        kind: What the result is, the first word of the file's name: ``"contrast"``, ``"network"`` ...
        name: Name of the result, which may hold anything; empty for a result that is the only one of its kind.
    """
    # letters, digits and a few marks stay; all else becomes a hyphen, so that no name leaves the folder
    slug = re.sub(r"[^\w.+=]+", "-", name.replace("`", "")).strip("-.")
    return folder / f"{'-'.join(part for part in (kind, slug) if part)}.safetensors"


def require_different_files(names: Sequence[str], option: str = "--name") -> None:
    """Raise unless all names lead to files of their own.

    Args:
        names: Names of results of one kind.
        option: The option that gives such names, for the message.

    Raises:
        InputError: Two names lead to one file, as ``"a - b"`` and ``"a  b"`` do, and on some disks ``"A"`` and ``"a"``.
    """
    files = [file_for(Path(), "", name).name.lower() for name in names]
    same = sorted({name for name, file in zip(names, files, strict=True) if files.count(file) > 1})
    if same:
        raise InputError(f"{' and '.join(map(repr, same))} would be saved as one file; give each another {option}")


def writable(folder: Path) -> Path:
    """A folder for results, which is checked before the work begins and not after an hour.

    Args:
        folder: The folder; it need not exist yet.

    Raises:
        InputError: The folder, or the nearest folder above it that exists, is a file or cannot be written to.
    """
    # the nearest folder that exists decides: those below it will be made
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise InputError(f"{there} is a file; give a folder with --out")
    if not os.access(there, os.W_OK):
        raise InputError(f"{there} cannot be written to; give another folder with --out")
    return folder


def list_of_files(files: Iterable[Path]) -> str:
    """Text that lists the files that were written, a line each, so that a path can be copied.

    Args:
        files: The files.
    """
    return "\n".join(["Saved:", *(f"  {file}" for file in files)])


def load_networks(sources: Sequence[str], only: Sequence[str] = ()) -> tuple[dict[str, Network], Path]:
    """Networks by name from files and folders, and the folder where the first of them lies.

    Args:
        sources: Each is a file of a network or an atlas; ``FILE:N03`` for one network of an atlas; ``NAME=FILE`` or
            ``NAME=FILE:N03`` to call a network NAME; or a folder with such files (also a recording's folder).
        only: Names of the networks to keep; empty keeps all.

    Returns:
        Name to network, in the order of the sources; and the folder of results of the first source.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: A folder without networks, a file of another result, a name that no network has, or two networks of
            one name.
    """
    found: dict[str, Network] = {}
    origin: dict[str, Path] = {}
    folder = None
    for source in sources:
        new_name, path, member = _parts_of_source(source)
        networks = _networks_at(path)
        # FILE:N03
        if member is not None:
            if member not in networks:
                raise InputError(f"no network is called {member!r} in {path}; networks: {', '.join(networks)}")
            networks = {member: networks[member]}
        # NAME=FILE
        if new_name is not None:
            if len(networks) > 1:
                raise InputError(
                    f"{path} holds {len(networks)} networks, which cannot all be called {new_name!r}; leave "
                    f"{new_name}= out"
                )
            networks = dict(zip([new_name], networks.values(), strict=True))
        for name, network in networks.items():
            if name in found:
                raise InputError(
                    f"two networks are called {name!r}, in {origin[name]} and {path}; call one of them otherwise with "
                    "NAME=FILE"
                )
            found[name] = network.rename(name)
            origin[name] = path
        # the first source decides where results go
        folder = folder or (path.parent if path.is_file() else results_of(path))
    unknown = [name for name in only if name not in found]
    if unknown:
        raise InputError(f"no network is called {', '.join(unknown)}; networks: {', '.join(found)}")
    assert folder is not None
    return {name: network for name, network in found.items() if not only or name in only}, folder


def load_exclusion(path: Path) -> Network | Collapse:
    """Units that a study leaves alone: collapse neurons or a network.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged, or holds something else.
    """
    from tl_fbn.intervention.studies.collapse_results import Collapse
    from tl_fbn.units import Network

    result = load_result(path)
    if not isinstance(result, (Network, Collapse)):
        raise InputError(
            f"{path} holds a {type(result).__name__}, neither collapse neurons nor a network; give what "
            "fbn.collapse_neurons(...) or a network saved"
        )
    return result


def load_result(path: Path) -> Any:
    """Any result that was saved to a file.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged, or was not saved by tl_fbn.
    """
    from tl_fbn.results import load

    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; give a file that tl-fbn glm, networks or cgvst wrote")
    return load(path)


def _parts_of_source(source: str) -> tuple[str | None, Path, str | None]:
    """Name, file and member of ``NAME=FILE:MEMBER``; None for parts that are not given."""
    before, equals, after = source.partition("=")
    named = [(before, after)] if equals and before and after else []
    # a file may have "=" and ":" in its own name: what exists under the whole name is that file
    for name, rest in [(None, source), *named]:
        if Path(rest).exists():
            return name, Path(rest), None
        path, colon, member = rest.rpartition(":")
        if colon and member and Path(path).exists():
            return name, Path(path), member
    # nothing exists: the error will name the file that was meant
    name, rest = named[0] if named else (None, source)
    return name, Path(rest), None


def _networks_at(path: Path) -> dict[str, Network]:
    """The networks in a file or a folder by name, those of atlases among them."""
    from tl_fbn.units import Atlas, Network

    if path.is_dir():
        from tl_fbn.results import load_results

        results: list[Any] = list(load_results(results_of(path)).values())
        networks = [one for one in results if isinstance(one, (Network, Atlas))]
        if not networks:
            raise InputError(f"no networks in {results_of(path)}; tl-fbn glm, networks and cgvst write them")
    else:
        result = load_result(path)
        if not isinstance(result, (Network, Atlas)):
            raise InputError(
                f"{path} holds a {type(result).__name__}, neither a network nor an atlas; give a network-*.safetensors "
                "or atlas-*.safetensors"
            )
        networks = [result]
    found: dict[str, Network] = {}
    # an atlas holds several, under names of its own
    for one in networks:
        for name, network in one.items() if isinstance(one, Atlas) else [(one.name, one)]:
            if name in found:  # such as N00 of two atlases
                raise InputError(f"two networks in {path} are called {name!r}; give their files, as NAME=FILE")
            found[name] = network
    return found

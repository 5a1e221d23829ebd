"""``tl-fbn report``: everything that was saved in some folders, as one page; no model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tl_fbn.cli import result_files as places
from tl_fbn.cli.console import Console, table
from tl_fbn.cli.options import Json, Progress
from tl_fbn.errors import InputError

SHORT = "Write one page of everything saved in a folder."


def command(
    folder: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of recordings or of results.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The page; by default report.html in the first folder.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Heading of the page.")] = None,
    intro: Annotated[str | None, typer.Option(metavar="TEXT", help="Text under the title.")] = None,
    viewer: Annotated[
        bool, typer.Option("--viewer", help="Also write viewer.html beside it: networks over the recorded text.")
    ] = False,
    json: Json = False,
    progress: Progress = None,
) -> None:
    """Write one self-contained page of everything that was saved in some folders, in the order of the argument.

    \b
    Example: tl-fbn report recordings/first
    Several: tl-fbn report recordings/first recordings/second -o both.html --title "What sorts?" --viewer
    """
    console = Console(json, progress)
    with console.working():
        found = _found(folder, console)
        from tl_fbn.reporting.page.report import Report

        page = out or folder[0] / "report.html"
        if page.is_dir():
            raise InputError(f"{page} is a folder; give the page's file, e.g. {page / 'report.html'}")
        if viewer and page.name.lower() == "viewer.html":
            raise InputError(f"{page} is where --viewer puts the viewer; give the page another name with --out")
        report = Report(title or f"Results in {', '.join(map(str, folder))}", *found.values(), intro=intro)
        report.save(page)
        shown = _viewer(folder, found, page.parent / "viewer.html", console) if viewer else None
    import pandas as pd

    listed = pd.DataFrame({"result": list(found), "kind": [type(one).__name__ for one in found.values()]})
    written = f"Page: {page} ({page.stat().st_size / 1e6:.1f} MB)" + (f"\nViewer: {shown}" if shown else "")
    console.result(
        f"{table(listed)}\n\n{written}",
        verb="report",
        page=page,
        bytes=page.stat().st_size,
        viewer=shown,
        results=listed,
    )


def _found(folders: Sequence[Path], console: Console) -> dict[str, Any]:
    """Recordings and results by name, in the order of the argument."""
    from tl_fbn.acquisition.recording.recording import Recording
    from tl_fbn.results import load_results, place_in_argument

    found: dict[str, Any] = {}
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder at {folder}; give the folder of a recording or of results")
        at = places.results_of(folder)
        if at != folder:
            found[f"{folder}"] = Recording.open(folder)
        if not at.is_dir():
            raise InputError(f"no results in {at}; tl-fbn glm, networks, cgvst and lesion write them")
        results = load_results(at)
        for name, why in results.skipped.items():
            console.note(f"left out: {at / name} ({' '.join(why.split())})")
        found |= {
            f"{folder}: {name}" if len(folders) > 1 or name in found else name: result
            for name, result in results.items()
        }
    return dict(sorted(found.items(), key=lambda one: place_in_argument(one[1])))


def _viewer(folders: Sequence[Path], found: dict[str, Any], path: Path, console: Console) -> Path:
    from tl_fbn.reporting.viewer.viewer import view
    from tl_fbn.units import Atlas, Network

    at = next((folder for folder in folders if (folder / "recording.json").exists()), None)
    if at is None:
        raise InputError(
            f"--viewer shows networks over a recorded text, and none of {', '.join(map(str, folders))} is a recording"
        )
    recording = found[f"{at}"]
    atlases = [one for one in found.values() if isinstance(one, Atlas) and one.space.site in recording.sites]
    networks = [one for one in found.values() if isinstance(one, Network) and one.space.site in recording.sites]
    if not atlases and not networks:
        raise InputError(f"--viewer needs networks, and there are none of {at}; tl-fbn glm and networks write them")
    first = [*atlases, *networks][0].space
    recording = recording.site(first.site)
    named = [(name, one) for atlas in atlases for name, one in atlas.items()] + [(one.name, one) for one in networks]
    shown: dict[str, Any] = {}
    for name, one in named:
        if one.space == recording.space:
            shown.setdefault(name, one)
    if len(shown) < len(named):
        console.note(
            f"{len(named) - len(shown)} networks of other units, or of a name that comes twice, are not in the viewer"
        )
    maps = {name: one for name, one in _maps(found, atlases).items() if one.space == recording.space}
    view(recording, shown, maps=maps or None).save(path)
    return path


def _maps(found: dict[str, Any], atlases: Sequence[Any]) -> dict[str, Any]:
    """The map behind each network, under the network's name: an atlas's own, a contrast's z, scores."""
    from tl_fbn.analysis.glm.contrast import Contrast
    from tl_fbn.units import UnitMap

    maps: dict[str, Any] = {}
    for atlas in atlases:
        for name, values in zip(atlas, () if atlas.maps is None else atlas.maps, strict=False):
            maps.setdefault(name, UnitMap(atlas.space, values, "z"))
    for key, result in found.items():
        folder, colon, file = key.rpartition(": ")
        kind, _, slug = file.partition("-")
        network = found.get(f"{folder}{colon}network-{slug}")
        if isinstance(result, (Contrast, UnitMap)) and kind in ("contrast", "map"):
            maps.setdefault(network.name if network else slug, result.z if isinstance(result, Contrast) else result)
    return maps

"""``tl-fbn report``: everything that was saved in some folders, as one page.

The command loads the recordings and results of the folders and lays them out in the order of an analysis, from design
to lesions (:class:`tl_fbn.Report`). With ``--viewer`` it writes a second page, of networks over the recorded text.
Files that cannot be read are left out and named. No model is loaded, but for the words beside units, if ``--model``
asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tl_fbn.cli import model_argument, result_files
from tl_fbn.cli.console import Console, table
from tl_fbn.cli.options import JsonFlag, ProgressFlag, VerifyFlag, WordsModelOption
from tl_fbn.errors import InputError

SHORT = "Write one page of everything saved in a folder."


def command(
    folder: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folder of a recording or of results, or several of them.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="File of the page; by default report.html in the first folder.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Title of the page; by default it names the folders.")
    ] = None,
    intro: Annotated[str | None, typer.Option(metavar="TEXT", help="Text below the title.")] = None,
    viewer: Annotated[
        bool,
        typer.Option("--viewer", help="Also write viewer.html beside the page, which shows networks over the text."),
    ] = False,
    model: WordsModelOption = None,
    verify: VerifyFlag = True,
    json: JsonFlag = False,
    progress: ProgressFlag = None,
) -> None:
    """Write one self-contained page of everything that was saved in some folders, in the order of an analysis.

    The page needs no internet connection and no other file. No model is loaded, unless --model asks for the words that
    units promote.

    \b
    Example: tl-fbn report recordings/first
    Several: tl-fbn report recordings/first recordings/second -o both.html --title "What sorts?" --viewer
    """
    console = Console(json, progress)
    with console.working():
        found = _results_by_name(folder, console, verify=verify)
        from tl_fbn.reporting.page.report import Report

        page = out or folder[0] / "report.html"
        if page.is_dir():
            raise InputError(f"{page} is a folder; give the page's file, e.g. {page / 'report.html'}")
        if viewer and page.name.lower() == "viewer.html":
            raise InputError(f"{page} is where --viewer puts the viewer; give the page another name with --out")
        loaded = None
        if model is not None:
            loaded = model_argument.load(console, model, dtype="auto", device=None, label=None)
        heading = title or f"Results in {', '.join(map(str, folder))}"
        report = Report(heading, *found.values(), intro=intro, model=loaded)
        report.save(page)
        shown = _save_viewer(folder, found, page.parent / "viewer.html", console, loaded) if viewer else None
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


def _results_by_name(folders: Sequence[Path], console: Console, *, verify: bool) -> dict[str, Any]:
    """Recordings and results of the folders by name, in the order of an analysis."""
    from tl_fbn.acquisition.recording.recording import Recording
    from tl_fbn.results import load_results, place_in_argument

    found: dict[str, Any] = {}
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder at {folder}; give the folder of a recording or of results")
        results_folder = result_files.results_of(folder)
        if results_folder != folder:  # the folder is a recording's
            found[f"{folder}"] = recording = Recording.open(folder)
            if verify:
                recording.verify()
        if not results_folder.is_dir():
            raise InputError(f"no results in {results_folder}; tl-fbn glm, networks, cgvst and lesion write them")
        results = load_results(results_folder)
        for name, why in results.skipped.items():
            console.note(f"left out: {results_folder / name} ({' '.join(why.split())})")
        # names are made unique by their folder where there are several
        found |= {
            f"{folder}: {name}" if len(folders) > 1 or name in found else name: result
            for name, result in results.items()
        }
    return dict(sorted(found.items(), key=lambda one: place_in_argument(one[1])))


def _save_viewer(folders: Sequence[Path], found: dict[str, Any], path: Path, console: Console, model: Any) -> Path:
    """Write the viewer: all networks of the first recording's units over its text, the maps behind them, and words."""
    import numpy as np

    from tl_fbn.analysis.networks.promoted_tokens import promoted_tokens
    from tl_fbn.reporting.viewer.viewer import view
    from tl_fbn.units import Atlas, Network

    recorded = next((folder for folder in folders if (folder / "recording.json").exists()), None)
    if recorded is None:
        raise InputError(
            f"--viewer shows networks over a recorded text, and none of {', '.join(map(str, folders))} is a recording"
        )
    recording = found[f"{recorded}"]
    atlases = [one for one in found.values() if isinstance(one, Atlas) and one.space.site in recording.sites]
    networks = [one for one in found.values() if isinstance(one, Network) and one.space.site in recording.sites]
    if not atlases and not networks:
        raise InputError(
            f"--viewer needs networks, and there are none of {recorded}; tl-fbn glm and networks write them"
        )
    # the viewer shows one site: that of the first network
    first = [*atlases, *networks][0].space
    recording = recording.site(first.site)
    # networks of atlases go by their name in the atlas
    named = [(name, one) for atlas in atlases for name, one in atlas.items()] + [(one.name, one) for one in networks]
    shown: dict[str, Any] = {}
    for name, one in named:
        if one.space == recording.space:
            shown.setdefault(name, one)  # of two networks of one name, the first
    if len(shown) < len(named):
        console.note(
            f"{len(named) - len(shown)} networks of other units, or of a name that comes twice, are not in the viewer"
        )
    maps = {name: one for name, one in _maps_of_networks(found, atlases).items() if one.space == recording.space}
    promoted = None
    if model is not None:
        members = np.logical_or.reduce([one.members for one in shown.values()])
        promoted = promoted_tokens(Network(recording.space, members, name="shown"), model, n_tokens=3)
    view(recording, shown, maps=maps or None, promoted=promoted).save(path)
    return path


def _maps_of_networks(found: dict[str, Any], atlases: Sequence[Any]) -> dict[str, Any]:
    """The map behind each network, under the name of the network: an atlas's own, a contrast's z, or scores."""
    from tl_fbn.analysis.glm.contrast import Contrast
    from tl_fbn.units import UnitMap

    maps: dict[str, Any] = {}
    for atlas in atlases:
        for name, values in zip(atlas, () if atlas.maps is None else atlas.maps, strict=False):
            maps.setdefault(name, UnitMap(atlas.space, values, "z"))
    # "FOLDER: contrast-NAME" and "FOLDER: map-NAME" belong to "FOLDER: network-NAME"
    for key, result in found.items():
        folder, colon, file = key.rpartition(": ")
        kind, _, slug = file.partition("-")
        network = found.get(f"{folder}{colon}network-{slug}")
        if isinstance(result, (Contrast, UnitMap)) and kind in ("contrast", "map"):
            maps.setdefault(network.name if network else slug, result.z if isinstance(result, Contrast) else result)
    return maps

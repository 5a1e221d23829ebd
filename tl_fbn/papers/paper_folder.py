"""The folder of a protocol: every finished step is kept, and the same call goes on behind the last of them.

::

    study.json                    what is run: paper, model, tasks, settings, seed
    recordings/  lesions/  ...    what scans and lesion studies keep by themselves while they run
    steps/NAME.safetensors        the result of every finished step
    study.safetensors report.html the study itself, once all steps are done

A folder that was begun with another model, other tasks or settings is refused, with what differs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from tl_fbn import files
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.model_state import ModelState
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.intervention.studies.resume import Unfinished
from tl_fbn.units.prose import duration_in_words
from tl_fbn.units.result import Result

AnyResult = TypeVar("AnyResult", bound=Result)
Say = Callable[[str], None]


class PaperFolder:
    """What a protocol has finished, on disk.

    Args:
        path: The folder; it is made if there is none.
        model: The model that is studied.
        site: A site of it, whose activations tell whether the model still computes what it did.
        fields: What is run, as JSON-serialisable fields.
        say: A function that is called with a line of text at the start of every step that is not finished.

    Raises:
        InputError: The path is a file, or the folder holds something else.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        model: HookedModel,
        site: str,
        fields: Mapping[str, Any],
        say: Say = lambda line: None,
    ) -> None:
        self.path = Path(path)
        self._state = ModelState.of(model, resolve_site(model, site).taps)
        self._say = say
        state = self._state
        identity = {"weights": state.weights, "computes": state.fingerprint.fields, "interventions": state.edits}
        Unfinished(self.path, {**identity, **fields}, state)

    def inside(self, *names: str) -> Path:
        """A path in the folder.

        Args:
            *names: Names of folders and, last, of what lies in them.
        """
        return self.path.joinpath(*names)

    def step(self, name: str, noun: type[AnyResult], make: Callable[[], AnyResult]) -> AnyResult:
        """The result of a step: read if it is there, made and kept if it is not.

        Args:
            name: Name of the step, of letters, digits and hyphens.
            noun: Class of the result.
            make: Makes it.
        """
        file = self.inside("steps", f"{name}.safetensors")
        if file.exists():
            return noun.load(file)
        made = self._made(name, make)
        made.save(file)
        return made

    def table(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The table of a step: read if it is there, made and kept if it is not.

        Args:
            name: Name of the step, of letters, digits and hyphens.
            make: Makes it.
        """
        file = self.inside("steps", f"{name}.safetensors")
        if file.exists():
            _, about = files.read_result(file, "PaperTable")
            return pd.DataFrame(dict(about["table"]))
        made = self._made(name, make)
        files.write_result(file, "PaperTable", {}, {"table": list(made.to_dict("list").items())})
        return made

    def _made(self, name: str, make: Callable[[], Any]) -> Any:
        self._say(f"{name} ...")
        started = time.monotonic()
        made = make()
        self._state.require_unchanged(time.monotonic() - started)
        self._say(f"{name}: {duration_in_words(time.monotonic() - started)}")
        return made

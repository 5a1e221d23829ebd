"""What the column for first tokens does to tests: ``python -m tests.benchmarks.first_tokens [MODEL]``.

MODEL is what ``fbn.load_model`` takes; without one it is the embedded model (mlp.neurons, prompts of three tasks
mixed, every other unit). Another model reads sentences of the package's stories (mlp.out, every 48th unit). Blocks get
labels a and b at random, half each in every run, 300 times over (``-n``), so that a share of .05 of units should have
p < .05. Printed for the default design without and with ``first_token``:

- ``block``, ``token``, ``run``: that share at every level, over all units;
- ``token, quarter``: of the quarter of units that have most of their variance in first tokens, at the token level. Far
  below .05, a test there finds nothing whatever there is;
- ``planted``, ``planted, quarter``: share of units in which an effect of .15 standard deviations, in rows other than
  first tokens and of their deviations, has p < .05 at the block level.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import tl_fbn as fbn
from tests.helpers import real_calibration


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("-n", type=int, default=300, help="number of labellings")
    options = parser.parse_args()
    embedded = options.model == "demo"
    model = fbn.load_model(options.model, progress=False)
    with tempfile.TemporaryDirectory() as work:
        recording = real_calibration.recorded(
            model,
            Path(work) / "r",
            prompts=real_calibration.task_prompts() if embedded else real_calibration.sentences(),
            rows=32 if embedded else 64,
            site="mlp.neurons" if embedded else "mlp.out",
        )
        print(repr(recording).partition(": ")[2])
        table = real_calibration.first_token_table(recording, options.n, every=2 if embedded else 48)
    print(table.to_string(index=False, float_format="%.4f"))


if __name__ == "__main__":
    main()

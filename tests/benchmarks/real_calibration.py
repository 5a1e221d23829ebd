"""How often the GLM is wrong on real activations: ``python -m tests.benchmarks.real_calibration MODEL_FOLDER``.

A model reads story passages in blocks; the blocks then get labels a and b at random, half each in every run, 300 times
over. Nothing differs between a and b but chance, so a share of .05 of units should have p < .05. Printed for the model
as it was trained and with its weights drawn anew, at the block level (the default), at the run level, and at the token
level, where AR(1) is an approximation that real series break: token-level p values hold for these very prompts at best.
``tests.benchmarks.first_tokens`` says what the column for first tokens has to do with it.
"""

from __future__ import annotations

import sys

from tests.helpers.real_calibration import table


def main() -> None:
    print(table(sys.argv[1]).to_string(index=False, float_format="%.4f"))


if __name__ == "__main__":
    main()

"""The special-token question on the embedded model: ``python -m tests.benchmarks.special_tokens``.

Every set of tokens and every variant of CGVST, seven tasks each: how many tasks their networks isolate (own task hurt
more than every other and
more than 100 layer-matched random networks, p < .02), and the mean drop of the own task. Chats of one turn, then of
three shots and a question. Items are those of the battery's
seed 1; what is chosen here is confirmed on those of seed 0, with the whole lesion study. ``--quick`` takes 10 controls
(p < .1) and every variant's special, answer and
random tokens only.
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pandas as pd
import torch

import tl_fbn as fbn
from tl_fbn.acquisition.design.stimuli import formal


def tables(table: pd.DataFrame) -> str:
    """Isolated tasks, mean own drop with its interval's mean bounds, and mean margin over the worst other task."""
    margin = table.assign(margin=table["drop"] - table["other_worst"])
    grouped = margin.groupby(["variant", "tokens"], sort=False)
    columns = {
        "isolated": grouped["isolated"].sum().astype(str) + f" of {table['task'].nunique()}",
        "own drop": grouped["drop"].mean().map("{:.2f}".format)
        + " ["
        + grouped["low"].mean().map("{:.2f}".format)
        + ", "
        + grouped["high"].mean().map("{:.2f}".format)
        + "]",
        "random, 95 %": grouped["control_p95"].mean().map("{:.2f}".format),
        "less worst other": grouped["margin"].mean().map("{:+.2f}".format),
    }
    frame = pd.DataFrame(columns).reset_index()
    lines = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--items", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(2)
    model = fbn.demo.load_model()
    battery = fbn.demo.battery(n=options.items, seed=1)
    settings = {"n_controls": 10, "alpha": 0.1, "tokens": ("special", "answer", "random")} if options.quick else {}
    one_turn = {task: fbn.chats(task, n=100) for task in formal.TASKS}
    shots = {task: fbn.few_shot_chats(fbn.chats(task, n=100), n_shots=3, seed=0) for task in formal.TASKS}
    for name, chats in (("one turn", one_turn), ("three shots and a question", shots)):
        shown = sys.stderr.isatty()
        table = fbn.studies.token_ablation(model, chats, battery, seed=0, progress=shown, **settings)
        table = table.to_dataframe()
        print(f"\n{name}\n\n{tables(table)}", flush=True)
        by_task = table[table["isolated"]].groupby(["variant", "tokens"], sort=False)["task"].agg(", ".join)
        print(f"\n{by_task.to_string()}", flush=True)
    maps = {
        task: fbn.cgvst(model, chats, tokens="answer", variant="grad_x_act", progress=False)
        for task, chats in one_turn.items()
    }
    networks = {task: one.top(0.05) for task, one in fbn.specific_scores(maps, "difference", scale="mean").items()}
    study = fbn.lesion_study(model, networks, fbn.demo.battery(n=options.items, seed=0), seed=0, progress=False)
    print(f"\nanswer tokens, grad_x_act, on other items\n\n{study.summary().round(3).to_string()}")


if __name__ == "__main__":
    main()

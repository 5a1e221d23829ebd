# %% [markdown]
# # 2. Networks without a task
#
# **The question: if nobody tells the analysis what was shown, does it still find the model's tasks?**
#
# The first notebook knew what it was looking for: a column `sort` in a design matrix. Brains at rest have no such column,
# and yet their networks were found, by looking for regions that rise and fall together. Here the same is done to a
# transformer. The labels of the seven tasks are put away and only taken out at the end, to look.
#
# At the end you will know what independent component analysis finds, what its stability says, what it means for a network to
# come back (recurrence), and how a network can be real and never come back at all.

# %%
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import tl_fbn as fbn

model = fbn.demo.load_model()
folder = Path(tempfile.mkdtemp(prefix="tl-fbn-"))
tasks = ["copy", "reverse", "sort", "shift", "upper", "count", "add"]

# %% [markdown]
# ## Two recordings
#
# One to find networks in, and one of *other* prompts to see whether they are there too. A pattern found in some texts
# always fits those texts.


# %%
def scan(prompts: dict[str, list[str]], name: str, seed: int) -> fbn.Recording:
    design = fbn.block_design(prompts, n_runs=4, n_cycles=5, tokens_per_block=64, order="random", seed=seed)
    return fbn.Scanner(model).scan(design, folder / name, progress=False)


found_in = scan({task: fbn.prompts(task)[:250] for task in tasks}, "found in", seed=0)
looked_in = scan({task: fbn.prompts(task)[250:] for task in tasks}, "looked in", seed=1)
found_in

# %% [markdown]
# A task belongs to a prompt, not to a token. So average the rows of each prompt: one row a prompt is left.

# %%
prompts, other_prompts = found_in.pool("mean"), looked_in.pool("mean")
prompts

# %% [markdown]
# ## Independent component analysis
#
# The recording is a table: prompts down, neurons across. **ICA** explains it as a handful of ingredients, each a *course* (how
# much of the ingredient is in each prompt) times a *map* (how strongly each neuron carries it). Many such splits fit equally
# well; ICA takes the one whose courses are as independent of each other as possible. You say how many; it does not know your
# tasks. The neurons that stand out of a map make a **network**, and all networks together an **atlas**.
#
# How many ingredients? Try some numbers.

# %%
as_they_are = {"standardize": False, "clip": None}  # this small model has no massive units, which the default is for
choice = fbn.choose_components(prompts, (4, 8, 12), method="temporal", seed=0, **as_they_are)
fbn.plot.component_choice(choice)

# %% [markdown]
# **What to see.** Left: how much variance each direction takes, beside data whose neurons were shifted against each other in
# time, which have nothing in common. Right: how **stable** the networks of each number are. ICA starts at random, so it is
# run many times on resampled data; a network that comes out the same each time has an index Iq near 1. The dotted line is what
# pure noise reaches.
#
# No number is plainly right, and the line below says so. That is common, and honest; 8 is used from here on.

# %%
print(choice)
atlas = fbn.find_networks(prompts, 8, method="temporal", seed=0, **as_they_are)
atlas

# %%
fbn.plot.stability(atlas)

# %% [markdown]
# **What to see.** One bar a network; those under the line are no steadier than networks of noise. Stable is not the same as meaningful: it says
# that the *method* settles, not that the model uses what it settles on. Nor is unstable the same as absent: see what happens to the shaky ones below.
#
# ## Now take out the labels
#
# The course of every network in the recording of **other** prompts, against "this prompt is a sorting prompt", "... an adding
# prompt" and so on. A correlation of 1 means that the network is high in all prompts of that task and low in all others.

# %%
courses = fbn.networks.time_courses(other_prompts, atlas, how="regression")
values = np.concatenate([run.layer(0) for run in courses])
task_of = np.concatenate([run.rows["trial_type"] for run in courses])
r = pd.DataFrame({task: np.corrcoef(values.T, task_of == task)[-1, :-1] for task in tasks}, index=list(atlas))
r.round(2)

# %%
best = r.abs().max().round(2).sort_values(ascending=False)
largest_by_chance = 4 / np.sqrt(len(task_of))  # four standard errors of a correlation, for the 56 that were looked at
print(f"best network of each task, |r|: {', '.join(f'{task} {value:.2f}' for task, value in best.items())}")
print(f"among unrelated courses |r| beyond {largest_by_chance:.2f} would be a surprise")
assert (best[["add", "count", "sort", "upper"]] > 0.85).all() and best["copy"] < 0.4

# %%
of_tasks = {task: atlas[r[task].abs().idxmax()] for task in ("add", "count", "sort", "upper")}
fbn.plot.time_courses(other_prompts, of_tasks, run=0, standardize=True)

# %% [markdown]
# **What to see.** The mean activity of four networks over the prompts of one run (new ones), blocks of tasks behind them. Here a row is a prompt. Each network
# rises where its task is shown, and the analysis was never told of any task.
#
# Nobody said what a task is, and networks of single tasks came out. Copying has none: it is what all other tasks depart from, and
# a method that explains variation cannot see what is always there.
#
# The **wrong conclusion** would be to read the table the other way: networks that follow no task are no failures. They may
# follow something nobody thought of labelling.
#
# ## The same analysis again
#
# Decompose the other recording by itself and pair its networks with these. Sizes and order may differ; do the maps agree?

# %%
again = fbn.find_networks(other_prompts, 8, method="temporal", seed=1, **as_they_are)
pairs = fbn.networks.match_networks(atlas, again, seed=0).to_dataframe()
pairs.round(3)

# %%
good = int((pairs["correlation"].abs() > 0.9).sum())
print(f"{good} of {len(pairs)} maps come back with |r| above .9; p is against atlases with shuffled neurons")
for name, other in pairs.set_index("a")["correlation"].loc[atlas.unstable].items():
    print(
        f"{name}, no steadier than noise in resampled data, is found again in other prompts with |r| {abs(other):.2f}"
    )
assert good >= 4

# %% [markdown]
# ## Recurrence
#
# A stricter question: is a network there in a *single* sample? **Recurrence** takes one sample at a time (here a run), works
# out the map of every network in it, and counts the samples in which the strongest neurons are the network's own. Chance is
# the same count for networks whose neurons were shuffled.

# %%
runs = fbn.recurrence(atlas, other_prompts, samples="run", threshold=0.2, seed=0, progress=False)
fbn.plot.recurrence(runs)

# %% [markdown]
# All come back in every run of new prompts. Now take single blocks of 64 tokens, row by row.

# %%
blocks = fbn.recurrence(atlas, looked_in, samples="block", threshold=0.2, n_null=19, seed=0, progress=False)
blocks.to_dataframe().assign(task=r.abs().idxmax(axis=1).to_numpy(), r=r.abs().max(axis=1).round(2).to_numpy())

# %%
rate = blocks.samples / blocks.n_samples
follows = (r.abs().max(axis=1) > 0.7).to_numpy()
print(
    f"networks that follow a task come back in {rate[follows].mean():.0%} of blocks, the others in {rate[~follows].mean():.0%}"
)
assert runs.samples.min() == runs.n_samples and rate[follows].mean() < 0.2 < rate[~follows].mean()

# %% [markdown]
# **What to see.** The networks that follow tasks almost vanish, and the others stay. "The task networks were a fluke" would be
# the **wrong conclusion**. A block holds prompts of one task only. Within it the network of `count` is always on (or always
# off), and what never varies leaves no trace in a correlation. A network comes back only where what it stands for changes. So a
# recurrence says as much about the samples as about the network: report both.
#
# ## What this does not show
#
# - That the model *uses* these networks. Neurons that rise and fall together may both be driven by a third thing. Silencing is
#   the test: the fourth notebook.
# - That eight is the number of networks: no candidate was plainly right.
# - That less data would do: runs of three cycles, tried first, gave maps of which three to five of eight came back in other prompts. That is
#   why these have five.
# - Anything about text that is not one of seven formal tasks.
#
# **Next:** [the third notebook](03_cgvst_and_special_tokens.ipynb) finds task neurons from gradients, and puts a published method to the
# test.

# %%
shutil.rmtree(folder)

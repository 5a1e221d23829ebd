# %% [markdown]
# # 1. A first scan, and a first map
#
# **The question: which neurons work harder while the model sorts?**
#
# You know `model.run_with_cache(...)`: one text in, all activations out. Neuroimaging asks the same question of a brain
# with an experiment around it: show one kind of stimulus, then another, many times over, and ask of every single point
# whether it follows. This notebook does that to a small transformer, from the first prompt to a map of its neurons.
#
# At the end you will know what a block design, a contrast, a t and a z value and a false discovery rate are, how to get
# a network of neurons from them, and why the first map that looks good answers the wrong question.

# %%
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

import tl_fbn as fbn

model = fbn.demo.load_model()  # ships with the package; any other bridge works the same way
folder = Path(tempfile.mkdtemp(prefix="tl-fbn-"))
print(f"{model.cfg.n_layers} layers of {model.cfg.d_mlp} MLP neurons each")

# %% [markdown]
# The model speaks a small formal language in which it has learnt seven tasks. Here are a sorting task, answer included,
# and a piece of text in which nothing is asked. The second kind is called `rest`, as in a scanner: the state that the
# task is compared with.

# %%
print(fbn.prompts("sort")[0])
print(fbn.prompts("rest")[0])

# %% [markdown]
# ## A block design
#
# A **block** is a stretch of text of one condition, here 64 tokens of it. A **block design** puts such blocks in a row:
# sort, rest, sort, rest ... Why not one long text of each? Because then anything that drifts would look like sorting.
# A **run** is a row of blocks with prompts of its own; four runs are four repetitions of the experiment with other
# prompts.
#
# Time is counted in *rows*: one row is one token.

# %%
design = fbn.block_design(
    {"sort": fbn.prompts("sort"), "rest": fbn.prompts("rest")}, n_runs=4, n_cycles=6, tokens_per_block=64, seed=0
)
print(design)
design.events(0).head(4)  # onset and duration in rows: the first two cycles of the first run

# %% [markdown]
# ## The scan
#
# A `Scanner` is a model and a place in it. `"mlp.neurons"` is `hook_post`, what the down projection reads. `plan` says
# what a scan will cost before anything runs.

# %%
scanner = fbn.Scanner(model, site="mlp.neurons")
print(scanner.plan(design, folder))

# %%
recording = scanner.scan(design, folder / "sort", progress=False)
recording[0].rows.head(6)[["prompt", "position", "token", "trial_type", "surprisal"]]

# %% [markdown]
# Nothing mysterious was recorded. It is what `run_with_cache` gives, for all prompts, on disk, and read layer by layer.

# %%
ids = recording[0].rows.query("prompt == 0")["token_id"].tolist()  # the first prompt, token by token
_, cache = model.run_with_cache(torch.tensor([ids]))
np.testing.assert_allclose(recording[0].layer(1)[: len(ids)], cache["blocks.1.mlp.hook_post"][0], atol=1e-5)
print("the recording and run_with_cache agree")

# %% [markdown]
# Asking for the same scan again costs no forward pass: a recording knows which weights and tokens it was made from.

# %%
scanner.scan(design, folder / "sort", progress=False)

# %% [markdown]
# ## The general linear model
#
# A **GLM** is a linear regression, one for every neuron. What is explained is the neuron's activation, row by row. What
# explains it are the columns of the **design matrix**. The column `sort` is 1 in rows of sorting blocks and 0 elsewhere.
# Drawn over time that looks like a row of boxes, hence **boxcar**. The other columns soak up what is of no interest: how
# deep into the prompt the token stands (`position`) and slow change over the run (`drift`).

# %%
fit = fbn.fit_glm(recording)
fbn.plot.design_matrix(fit, contrasts=["sort - rest"])

# %% [markdown]
# **What to see.** On the left time runs downwards, one line a token; the two boxcars alternate. On the right: which
# columns look alike. Two columns that were equal could not be told apart, and a number far above 5 behind a name (its
# variance inflation) would warn of that.
#
# ## A contrast: t, z and p
#
# The regression gives every neuron one weight for `sort` and one for `rest`, roughly its mean activation in either. A
# **contrast** is a question put to those weights: `"sort - rest"`. Its value is the **effect**. Divided by how much it
# wobbles from block to block it is called **t**: a large effect that wobbles a lot is worth little. **z** is the same
# evidence on a scale that does not depend on the number of blocks: without any difference, |z| exceeds 1.96 in one
# neuron of twenty.
#
# `"sort - rest"` is everybody's first question, and this notebook shows where it leads: the map is significant, and says
# little about sorting. The contrast that works, further down, is `"sort - reverse"`: against a task that shares all but
# what is asked. With more tasks it is one against the mean of all others, `"sort - (reverse + add) / 2"`.

# %%
contrast = fit.contrast("sort - rest")
contrast.to_dataframe().sort_values("t", ascending=False).head(3).round(2)

# %%
fbn.plot.contrast(contrast, fdr=0.05)

# %% [markdown]
# **What to see.** Every neuron is one cell, the three layers one above the other. Red ones are more active while the
# model sorts, blue ones while it rests. Neurons have no neighbours: left and right mean nothing.
# Below, how many neurons have which z, beside the bell that z would follow if nothing differed.
#
# ## How many of these are luck?
#
# With so many neurons some would look impressive by chance. The **false discovery rate** (FDR) deals with that: choose
# a threshold such that of the neurons that pass, no more than 5 % are expected to be false alarms.

# %%
network = contrast.threshold(fdr=0.05, name="sort - rest")
print(
    f"{(contrast.p.values < 0.05).sum()} neurons have p < .05; by luck alone: about {0.05 * network.space.n_units:.0f}"
)
print(f"{len(network)} of {network.space.n_units} neurons ({network.share:.0%}) pass at FDR .05")
assert network.share > 0.8

# %% [markdown]
# Is the test honest? Ask it where the answer is known: two halves of the *same* condition. Nothing differs but the
# draw of the prompts, so nothing should pass.

# %%
rest = fbn.prompts("rest")
halves = fbn.block_design({"this": rest[:250], "that": rest[250:]}, n_runs=2, n_cycles=6, tokens_per_block=64, seed=0)
nothing = fbn.fit_glm(scanner.scan(halves, folder / "halves", progress=False)).contrast("this - that")
print(f"p < .05 in {(nothing.p.values < 0.05).sum()} neurons, about {0.05 * network.space.n_units:.0f} expected")
print(f"{len(nothing.threshold(fdr=0.05))} neurons pass at FDR .05")
assert len(nothing.threshold(fdr=0.05)) == 0

# %% [markdown]
# (Neurons are correlated, so the first count may stray far from what is expected in any one experiment.)
#
# ## The wrong conclusion
#
# "Most of the model's neurons are for sorting." They are not. A sorting prompt has brackets, a colon and single letters;
# `rest` has words. Every neuron that can tell those apart differs, and with thousands of tokens even a tiny difference
# is certain. The map is *significant* and says next to nothing about sorting.
#
# Two repairs. Compare with a condition that shares everything but the task: reversing letters instead of sorting them.
# And take the neurons with the largest **effect**, not all that are significant.

# %%
pair = fbn.block_design(
    {"sort": fbn.prompts("sort"), "reverse": fbn.prompts("reverse")}, n_runs=4, n_cycles=6, tokens_per_block=64, seed=0
)
better = fbn.fit_glm(scanner.scan(pair, folder / "pair", progress=False)).contrast("sort - reverse")
networks = {
    "from sort - rest": contrast.effect.top(0.05, name="from sort - rest"),
    "from sort - reverse": better.effect.top(0.05, name="from sort - reverse"),
}
fbn.plot.layer_profile(networks)

# %%
shared = fbn.overlap(*networks.values(), seed=0)
print(f"{shared.shared} of {len(networks['from sort - rest'])} neurons in both, {shared.expected_shared:.1f} by chance")

# %% [markdown]
# Two questions that both sound like "sorting", two networks. Which one does the model sort with?
#
# ## The test: take them away
#
# Silence each network (its activations set to 0) while the model solves tasks it was not scanned on, and count the
# answers it now gets wrong. Taking away any 5 % of a brain may hurt, so each network stands beside **matched
# controls**: random networks with as many neurons in every layer.

# %%
battery = fbn.demo.battery(n=50).select(["sort", "reverse", "upper", "add"])
battery.evaluate(model)[["task", "exact_match", "chance", "n"]].round(3)

# %%
study = fbn.lesion_study(model, networks, battery, n_controls=40, seed=0, progress=False)
fbn.plot.lesion_matrix(study)

# %%
table = study.to_dataframe().set_index(["network", "task"])
on_sort = table.xs("sort", level="task")[["drop", "low", "high", "control_median", "control_p95", "p"]]
on_sort.round(3)

# %%
blunt, sharp = on_sort.loc["from sort - rest", "drop"], on_sort.loc["from sort - reverse", "drop"]
print(f"sorting answers lost: {blunt:.0%} without the first network, {sharp:.0%} without the second")
assert sharp > blunt + 0.3 and on_sort.loc["from sort - reverse", "p"] < 0.05

# %% [markdown]
# **What to see.** Left what each network costs each task, in points of 100; right what random networks of the same shape
# cost (their median). Both networks passed every test of significance. Only the second one breaks sorting.
#
# ## Keep it
#
# One page for a colleague: pictures, the tables behind them and how it was done, in a single file that needs neither a
# network connection nor this package.

# %%
page = folder / "sorting.html"
fbn.Report("Which neurons sort?", fit, better, networks, study).save(page)
print(f"{page.name}: {len(fbn.Report('', fit, better, networks, study).sections())} sections, one file")
assert page.stat().st_size < 7_000_000

# %% [markdown]
# ## What this does not show
#
# - That these neurons *only* sort: four tasks were looked at. The fourth notebook asks that question properly.
# - That they are all it takes: answers are lost without them; nobody showed that they alone produce any.
# - Anything about other prompts than such prompts. The test is over blocks, so it speaks about blocks drawn like these.
# - That five per cent is the right size. It is a choice; the fourth notebook varies it.
#
# **Next:** here you had to know the tasks. [The second notebook](02_ica_networks_and_recurrence.ipynb) finds networks
# without telling the analysis what was shown.

# %%
shutil.rmtree(folder)

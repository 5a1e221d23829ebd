# %% [markdown]
# # 3. Task neurons from gradients
#
# **The question: do the special tokens of a chat template tell which neurons a task needs?**
#
# A gradient says what would change. Ask of every neuron how much the loss would change if its weights did, and you have a score
# without any experiment. Song et al. (2024) restrict the loss to the *special tokens*, those that the chat template puts around the
# messages, and call the neurons with the largest scores task-specific. `fbn.cgvst` is their formula. Is their choice of tokens a good one?
# On this model the answer is no, and the notebook shows how one finds out.
#
# At the end you will know how to score neurons by gradients, how to compare one task with others, and why a score is a guess until a
# lesion has confirmed it.

# %%
import pandas as pd

import tl_fbn as fbn

model = fbn.demo.load_model()
tasks = ["sort", "upper", "add", "count"]
chats = {task: fbn.chats(task, n=100) for task in tasks}
chats["sort"][0]

# %% [markdown]
# ## Which tokens?
#
# The template wraps the question in `[INST]` and `[/INST]`. Those are special. The words of the question are content, the last ones the answer.

# %%
fbn.plot.token_strip(fbn.token_layout(model, chats["sort"][0]))

# %% [markdown]
# ## The released score
#
# One forward and one backward pass for every chat, and one number for every neuron. The five per cent with the largest
# numbers would be "the sorting neurons".

# %%
released = {task: fbn.cgvst(model, chats[task], progress=False) for task in tasks}
networks = {task: scores.top(0.05, name=task) for task, scores in released.items()}
fbn.plot.unit_map(released, networks=networks, title="Special tokens, released score")

# %% [markdown]
# **What to see.** Four maps, one a task, with the chosen neurons dotted. Those of `sort`, `upper` and `count` look alike. How alike? **Dice** is 1 for the
# same neurons and 0 for none in common; chance is what random networks with as many neurons in each layer share.

# %%
fbn.plot.overlap_matrix(networks, seed=0)

# %%
same = fbn.overlap(networks["sort"], networks["upper"], seed=0)
print(f"sort and upper share {same.shared} of {same.sizes[0]} neurons; by chance {same.expected_shared:.0f}")
assert same.dice > 0.8

# %% [markdown]
# The **wrong conclusion**: "these are the neurons of sorting". Most of them are just as strong for other tasks. A score of one
# task says nothing about that task alone. Contrast it with the others: how high it ranks less the highest
# that it ranks for any other.

# %%
specific = {task: scores.top(0.05, name=task) for task, scores in fbn.specific_scores(released).items()}
before, after = (
    pd.Series([fbn.overlap(a[s], a[t], seed=0).dice for s in tasks for t in tasks if s < t]).mean()
    for a in (networks, specific)
)
print(f"mean Dice of two tasks: {before:.2f} as released, {after:.2f} after the contrast")
assert after < before / 2

# %% [markdown]
# ## The test
#
# Different neurons for different tasks are still no proof. Silence each network and score all tasks on items that no score was made
# from. A network **isolates** its task if it costs its own task more than every other, and more than (nearly) all of its
# **matched controls**, random networks with as many neurons in every layer.
#
# Do it for three choices of tokens: the special ones, as many random ones, and those of the answer. If special tokens are special,
# they must beat random ones. That is the comparison the claim needs.

# %%
battery = fbn.demo.battery(n=30, seed=1).select(tasks)
ablation = fbn.studies.token_ablation(
    model,
    chats,
    battery,
    tokens=("special", "random", "answer"),
    variants=("row_sum",),
    n_controls=20,
    alpha=0.05,
    seed=0,
    progress=False,
)
table = ablation.to_dataframe()
table[["tokens", "task", "drop", "low", "high", "control_p95", "p", "other_worst", "isolated"]].round(2)

# %% [markdown]
# `drop` is the share of the task's answers that are lost, with its 95 % interval (`low`, `high`) over items; `control_p95` is what all but one in twenty of
# the random networks stay below, and `other_worst` the drop of the task that suffers most besides.

# %%
found = table.groupby(["variant", "tokens"], sort=False).agg(isolated=("isolated", "sum"), mean_drop=("drop", "mean"))
fbn.plot.special_tokens(ablation)

# %%
drop = found["mean_drop"]["row_sum"]
print(
    f"own answers lost, released score: {drop['special']:.0%} by special tokens, {drop['random']:.0%} by random ones, "
    f"{drop['answer']:.0%} by the answer's"
)
assert drop["answer"] > 0.6 and drop["special"] < 0.4 and drop["special"] <= drop["random"] + 0.05

# %% [markdown]
# On this model special tokens do no better than random tokens, and the answer's tokens do far better than both. It makes sense: the
# score asks what helps to predict *those* tokens, and to know that `[/INST]` comes next nobody has to sort anything.
#
# ## Which score should one trust?
#
# A score promises an effect. So silence neurons one by one and in random groups, measure the effects, and ask which score put them in the right
# order. `random_scores` is what a score without any knowledge gets.

# %%
scores = {
    "special tokens, released": released["sort"],
    "answer, released": fbn.cgvst(model, chats["sort"], tokens="answer", progress=False),
    "answer, gradient x activation": fbn.cgvst(
        model, chats["sort"], tokens="answer", variant="grad_x_act", progress=False
    ),
    "random": fbn.attribution.random_scores(model, seed=0),
}
validation = fbn.validate_scores(
    model, scores, battery, "sort", n_units=100, n_groups=40, n_controls=20, n_null=200, seed=0, progress=False
)
fbn.plot.score_validation(validation)

# %%
ranked = validation.to_dataframe().set_index("score")["spearman"]
print("rank correlation of score and effect:", ", ".join(f"{which} {rho:+.2f}" for which, rho in ranked.items()))
assert validation.best().startswith("answer")

# %% [markdown]
# **What to see.** Left, whether a larger score goes with a larger effect of silencing that neuron alone; middle, how many of the truly strongest neurons are among
# the score's strongest; right, what it costs to silence the score's strongest together. The black ticks are chance, and a hollow dot is not told apart from it.

# %% [markdown]
# ## What this does not show
#
# - That special tokens never help. This is one small model with two special tokens a turn and tasks of one line. Run the same comparison on your
#   model before you believe either answer; it is the same call with your chats and your battery.
# - That the neurons found *do* the task: silencing shows that it fails without them.
# - How steady the answer is: one seed of random positions, four tasks. The README has all seven tasks and more variants.
#
# **Next:** [the fourth notebook](04_lesions_dose_and_double_dissociation.ipynb) takes networks that passed and asks what exactly their loss proves.

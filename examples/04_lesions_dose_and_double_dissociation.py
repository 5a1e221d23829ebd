# %% [markdown]
# # 4. What a lesion proves
#
# **The question: the model fails without these neurons. Does that make them the neurons of this task?**
#
# Neurology has asked this for a century and a half. A patient who cannot speak after an injury might have lost speech, or be too tired for anything.
# The answer was never one patient but a comparison: another injury that spares speech and takes something else. `model.hooks` lets us
# have as many patients as we like.
#
# At the end you will know what a matched control, a dissociation, a double dissociation and a dose-response curve are, and which
# sentence each of them allows you to write.

# %%
import tl_fbn as fbn

model = fbn.demo.load_model()
tasks = ["copy", "reverse", "sort", "shift", "upper", "count", "add"]

# %% [markdown]
# ## Three networks
#
# Found from gradients at the answers of worked examples, each contrasted with the other tasks (the third notebook says how and why). Any other
# way of finding a network would do here: what follows takes a set of neurons and asks no questions about its origin.

# %%
maps = {
    task: fbn.cgvst(model, fbn.chats(task, n=60), tokens="answer", variant="grad_x_act", progress=False)
    for task in tasks
}
# the default, the least difference of log ranks, takes smaller and purer networks; here a large effect is easier to look at
scores = fbn.specific_scores(maps, "difference", scale="mean")
networks = {task: scores[task].top(0.05, name=task) for task in ("sort", "upper", "add")}
fbn.plot.layer_profile(networks)

# %% [markdown]
# ## A lesion by hand
#
# Inside the `with` block the network's activations are zero. It is `model.hooks(...)` underneath, and nothing is left behind.

# %%
battery = fbn.demo.battery(n=30).select(["sort", "upper", "add"])  # items that no network was found on: that is checked
with fbn.inhibit(model, networks["sort"]):
    lesioned = battery.evaluate(model)
lesioned[["task", "exact_match", "log_likelihood", "chance"]].round(3)

# %%
hurt = lesioned.set_index("task")["exact_match"]
print(
    f"without 'sort' the model still solves {hurt['sort']:.0%} of sort, {hurt['upper']:.0%} of upper and {hurt['add']:.0%} of add"
)
assert hurt["sort"] < 0.5 < hurt["upper"]

# %% [markdown]
# The **wrong conclusion**: "so these neurons sort". Perhaps the loss of *any* 5 % of neurons does that. Perhaps sorting is simply the most delicate
# task. Two controls answer these two doubts.
#
# ## First doubt: any 5 % would do
#
# **Matched controls** are random networks with as many neurons in every layer. The p value is the share of them that cost at least as much; with 100
# of them it cannot fall below 1/101.

# %%
print(fbn.plan_lesions(model, networks, battery, n_controls=100).lesions, "lesions will be run")
study = fbn.lesion_study(model, networks, battery, n_controls=100, seed=0, progress=False)
fbn.plot.lesion_matrix(study)

# %%
fbn.plot.lesion_controls(study)

# %%
summary = study.summary().set_index("network")
summary[["units", "own", "low", "high", "other_worst", "worst_task", "control_median", "control_p95", "p"]].round(3)

# %%
for name, line in summary.iterrows():
    print(
        f"{name}: {line['own']:.0%} of its answers lost; 95 % of {study.controls.shape[1]} random networks cost at most {line['control_p95']:.0%}"
    )
assert (summary["p"] < 0.05).all()

# %% [markdown]
# **What to see.** In the first picture a dark diagonal on the left and hardly anything on the right. In the second each network's own cost over the costs of its random
# networks: adding is delicate, and some random networks hurt it badly. Without controls every one of those would have been an "adding network".
# Look for stars off the diagonal, too: a network may serve more than one task, and then its name says too much.
#
# ## Second doubt: one task is just more delicate
#
# One network that hurts sorting and spares adding is a **dissociation**. Delicacy could explain it. If another network hurts adding and spares sorting,
# it no longer can: neither task is *the* delicate one. That is a **double dissociation**, the strongest pattern that lesions can show.

# %%
fbn.plot.dissociation(study)

# %%
pair = study.dissociation("sort", "add")
print(
    f"sort costs sort {pair['sort on sort']:.0%} and add {pair['sort on add']:.0%}; "
    f"add costs add {pair['add on add']:.0%} and sort {pair['add on sort']:.0%}"
)
print(f"interaction {pair['interaction']:.2f} [{pair['low']:.2f}, {pair['high']:.2f}], p {pair['p']:.4f}")
assert pair["double"]

# %% [markdown]
# **What to see.** Lines that cross: what one network takes the other spares, and the other way round.
#
# The **interaction** is how much more each network costs its own task than the other's, added up: 0 for a general weakness, 2 for a perfect
# double dissociation. Its interval is over items, its p against the controls.
#
# ## How much of it? A dose-response curve
#
# Off or on is a crude question. Multiply the network's activations by a **gain** instead: 1 changes nothing, 0 is the lesion, below 0 the sign is flipped, above
# 1 the network is amplified. A cause should act by degrees.

# %%
dose = fbn.dose_response(
    model,
    networks["sort"],
    battery,
    gains=(0, 0.25, 0.5, 1, 2, 3),
    n_controls=20,
    seed=0,
    progress=False,
)
curve = dose.to_dataframe()
fbn.plot.dose_response(dose)

# %%
at = curve.query("task == 'sort'").set_index("gain")["value"]
print(f"sorting: {at[0.0]:.0%} right at gain 0, {at[1.0]:.0%} at gain 1, {at[3.0]:.0%} at gain 3")
assert at[0.0] < 0.5 and at[1.0] == 1 and at[3.0] < 1

# %% [markdown]
# **What to see.** The grey band are random networks, whose p (above the panels) cannot fall below 1/21 with 20 of them. The curve of `sort` falls on *both* sides. "More of the sorting network makes it sort better" would have been the **wrong conclusion**: a model that
# already gets everything right has nowhere to go, and too much of a good thing is a disturbance like any other.
#
# ## How many neurons? Another dose
#
# Five per cent was a choice. Given the map instead of a network, the dose is the number of neurons silenced, strongest first.

# %%
size = fbn.dose_response(
    model, scores["sort"], battery, sizes=(0.01, 0.03, 0.05, 0.1), n_controls=10, seed=0, progress=False
)
sizes = size.to_dataframe()
fbn.plot.dose_response(size)

# %%
least = sizes.query("size == 0.03").set_index("task")["value"]
most = sizes.query("size == 0.1").set_index("task")["value"]
print(
    f"3 % of neurons: sort {least['sort']:.0%}, upper {least['upper']:.0%}; 10 %: sort {most['sort']:.0%}, upper {most['upper']:.0%}"
)
assert least["sort"] < least["upper"] and most["upper"] < least["upper"]

# %% [markdown]
# The larger the network, the less it belongs to sorting alone. A claim about a network is a claim about its size.
#
# ## What this does not show
#
# - **Where sorting happens.** A lesion shows that something is needed. A power cable is needed too.
# - **That the rest is not needed.** Other neurons may do the same work in parallel and be silent until asked.
# - That zero is a neutral value. It may be one the model never sees; `fbn.inhibit(..., method="mean")` and `"resample"` are gentler, and a claim should hold under
#   them as well.
# - Three tasks, one model, 30 items each: the intervals say how far that carries.
#
# **Next:** [the fifth notebook](05_a_real_model_end_to_end.ipynb) leaves the toy and does all of it, in one go, to a model that nobody here trained.

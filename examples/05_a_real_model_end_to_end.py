# %% [markdown]
# # 5. A real model, end to end
#
# **The question: which neurons know whether the child in the story is a *he* or a *she*?**
#
# The four notebooks before this one worked on a toy whose tasks are known. Here is the same argument on a model that nobody here trained, from the
# scan to the lesion, with a question about plain English. Three ways of choosing neurons compete: two that look for a *difference* between
# the two kinds of story, and one that looks for an *influence* on the next word.
#
# At the end you will have seen the whole chain on your own terms: change the model's name and the sentences, and it is your experiment. And
# you will know why "significantly different" and "needed" must never be written as if they were the same.

# %%
import importlib
import shutil
import tempfile
from pathlib import Path

import numpy as np

import tl_fbn as fbn

# %% [markdown]
# ## Which model?
#
# GPT-2 where it is in the local cache or the hub answers within three seconds; else `stories260K`, a small Llama trained on children's stories, where a copy lies
# in a folder `shared/models` beside the repository; else the demo model, which speaks no English and is asked another question. What follows is the same
# code for all three.


# %%
def find_model() -> str | Path | None:
    """A name for the hub, a local folder, or None for the embedded model."""
    hub = importlib.import_module("huggingface_hub")
    offline = importlib.import_module("huggingface_hub.constants").HF_HUB_OFFLINE
    if isinstance(hub.try_to_load_from_cache("gpt2", "model.safetensors"), str):
        return "gpt2"
    if not offline:
        try:
            hub.HfApi().model_info("gpt2", timeout=3)
            return "gpt2"
        except Exception:  # whatever the reason, there is another model
            pass
    here = Path.cwd().resolve()
    candidates = [parent / "shared" / "models" / "stories260K" for parent in (here, *here.parents)]
    return next((folder for folder in candidates if folder.is_dir()), None)


chosen = find_model()
if chosen is None:
    model = fbn.demo.load_model()
else:
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(str(chosen), device="cpu").eval()
name = model.cfg.model_name if chosen is None else Path(chosen).name
folder = Path(tempfile.mkdtemp(prefix="tl-fbn-"))
small = model.cfg.n_layers * model.cfg.d_mlp < 10_000  # a larger model gets fewer sentences, maps and controls
print(f"{name}: {model.cfg.n_layers} layers of {model.cfg.d_mlp} MLP neurons")

# %% [markdown]
# ## Two kinds of text, twice
#
# Stories about boys and about girls, the same but for the child. One set of sentences and names to *find* neurons, and others, with other names, to
# *test* them. Testing on the sentences that neurons were found on would only show that the search worked; the package refuses it.

# %%
BOYS, GIRLS = ["Tom", "Ben", "Max", "Tim", "Sam", "Jack"], ["Lily", "Lucy", "Mia", "Sue", "Anna", "Emma"]
NEW_BOYS, NEW_GIRLS = ["Bob", "Leo", "John", "Billy"], ["Jane", "Amy", "Sara", "Molly"]
FOUND_ON = [
    "Once upon a time, there was a little {kind} named {name}. One day,",
    "{name} was a happy {kind}. Every day,",
]
TESTED_ON = [
    "There was a {kind} called {name}. {name} was sad because",
    "{name} the {kind} went to the park with a ball. In the park,",
    "The {kind} named {name} liked to play. When it was late,",
]


def stories(frames: list[str], boys: list[str], girls: list[str]) -> dict[str, list[str]]:
    return {
        "he": [frame.format(kind="boy", name=boy) for frame in frames for boy in boys],
        "she": [frame.format(kind="girl", name=girl) for frame in frames for girl in girls],
    }


if chosen is None:  # the demo model: which task is asked for?
    a, b, asked = "upper", "reverse", "upper or reverse"
    shown = {task: [prompt.split(" [/INST]")[0] + " [/INST]" for prompt in fbn.prompts(task)[:12]] for task in (a, b)}
    answered = [prompt for task in (a, b) for prompt in fbn.prompts(task)[:12]]
    battery = fbn.Battery({asked: fbn.demo.battery(n=24).tasks[a]})
else:
    a, b, asked = "he", "she", "he or she"
    shown = stories(FOUND_ON, BOYS, GIRLS)
    answered = [f"{text} {pronoun}" for pronoun in (a, b) for text in shown[pronoun]]
    few = slice(None if small else 2)
    tested = stories(TESTED_ON[few], NEW_BOYS[few], NEW_GIRLS[few])
    battery = fbn.Battery.from_choices(
        {asked: [(text, [" he", " she"], i) for i, k in enumerate((a, b)) for text in tested[k]]}
    )
print(answered[0], answered[-1], sep="\n")

# %% [markdown]
# Can the model do it at all? There is nothing to break in a model that guesses. **Chance** is what guessing would get.

# %%
baseline = battery.evaluate(model)[["task", "exact_match", "log_likelihood", "chance", "majority", "n"]]
baseline.round(3)

# %%
right, chance = baseline["exact_match"].item(), baseline["chance"].item()
print(f"{right:.0%} right, {chance:.0%} by chance")
assert right > chance + 0.2

# %% [markdown]
# ## Scan
#
# A block design of both kinds of text (first notebook), recorded at every MLP neuron and every token.

# %%
design = fbn.block_design(shown, n_runs=1, n_cycles=4, tokens_per_block=40, order="random", reuse=True, seed=0)
scanner = fbn.Scanner(model)
print(scanner.plan(design, folder))
recording = scanner.scan(design, folder / "scan", progress=False)
recording

# %% [markdown]
# ## Three maps
#
# - **effect**: the difference of mean activations, in magnitude: where is the difference *large*?
# - **t**: the same divided by how much it wobbles from prompt to prompt: where is it *reliable*? The field's usual localizer.
# - **gradient x activation**: how much the log-likelihood of the right word would fall, to first order, if the neuron were silent. It needs the word
#   that comes next, and no comparison.

# %%
contrast = fbn.fit_glm(recording, replicates="prompts").contrast(f"{a} - {b}")
significant = contrast.threshold(fdr=0.05)
print(f"{len(significant)} of {contrast.space.n_units} neurons tell '{a}' from '{b}' at a false discovery rate of .05")

# %%
positions = [[len(fbn.token_layout(model, text).ids) - 1] for text in answered]  # of the answer's last token
maps = {
    "effect": fbn.UnitMap(contrast.space, np.abs(contrast.effect.values), "|effect|", contrast.effect.provenance),
    "t": contrast.t,
    "gradient x activation": fbn.attribution.gradient_x_activation(model, answered, positions, progress=False),
}
if not small:
    del maps["effect"]
fbn.plot.unit_map(maps)

# %% [markdown]
# **What to see.** A glass brain a map, each with its own scale. Do they point at the same neurons?

# %%
fbn.concordance(maps, top=0.03, n_null=200, seed=0).to_dataframe()[
    ["a", "b", "correlation", "dice", "expected", "p_dice"]
].round(3)

# %% [markdown]
# `dice` is the overlap of the strongest 3 % of either map, `expected` what chance gives.
#
# ## Which of them are needed?
#
# Silence the strongest 3 % of each map, and let the model choose the word in stories it was not searched on, beside matched random networks.

# %%
study = fbn.causal_check(model, maps, battery, top=0.03, n_controls=60 if small else 19, seed=0, progress=False)
nats = study.to_dataframe(metric="log_likelihood").set_index("network")
nats[["baseline", "lesioned", "drop", "low", "high", "control_median", "control_p95", "p"]].round(3)

# %%
fbn.plot.lesion_matrix(study)

# %%
networks = {which: each.top(0.03, two_sided=which == "t", name=which) for which, each in maps.items()}
for which, line in nats.iterrows():
    verdict = "more" if line["p"] <= 0.05 else "no more"
    print(
        f"{which}: {line['drop']:+.2f} nats (p {line['p']:.3f}), {verdict} than 95 % of random networks, which cost up to "
        f"{line['control_p95']:.2f}; {len(networks[which] & significant)} of its {len(networks[which])} neurons are significant"
    )

if name == "stories260K":
    assert nats.loc["gradient x activation", "p"] < 0.05 < nats.loc["t", "p"]

# %% [markdown]
# **What to see.** Compare the last numbers of the lines with the first. Where the significant neurons cost no more than random ones, "significant" and
# "needed" have come apart; the map that asks about influence may hold few significant neurons and be the one that counts.
#
# ## Look at it
#
# The viewer is one offline page: the map with a threshold, and the course of any neuron or network over the tokens.

# %%
fbn.view(recording, networks).save(folder / "viewer.html")
print("viewer.html written" if (folder / "viewer.html").stat().st_size < 7_000_000 else "viewer.html is large")

# %% [markdown]
# ## What this does not show
#
# - That the best map is *the* right one. It won on one question; ask yours.
# - That every t map fails like this one. Several were tried here (blocks or prompts as what is counted, other levels), and this one, in which some neurons are
#   significant, was kept because it makes the point; in none of them did the top by t or by effect cost more than random neurons.
# - That the neurons encode "he" and "she". The lesion broke the choice, by whatever route.
# - That the losing maps are wrong. They answer what they were asked: where activity differs. The **wrong conclusion** is to read "differs" as "is used".
#
# **Next:** replace `find_model()` by the name of your model and the sentences by yours. `python -m tl_fbn demo --model NAME` runs a longer version on topics of stories.

# %%
shutil.rmtree(folder)

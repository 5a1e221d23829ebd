"""Tasks to measure behaviour with: exact match, choices, plain text.

Three kinds of task, one table:

- ``"answer"``  a prompt and the answer that must follow. ``exact_match`` is teacher-forced: every answer token is the
  argmax given the true prefix, which equals exact match under greedy decoding.
- ``"choice"``  alternatives, the first of which is right (BLiMP's minimal pairs). ``exact_match`` is "the right one has the
  highest log-likelihood"; ties count as wrong.
- ``"text"``    a passage. Only ``log_likelihood`` is defined.

``log_likelihood`` is the mean over items of the mean log-probability a scored token, in nats (of the answer, of the right
alternative, of the passage). ``chance`` is the expected exact match of answers dealt out at random among the task's own
items (1 / alternatives for choices), ``majority`` that of always giving the commonest answer: an exact match means something
only above both.

Cost: one forward pass over all items, in batches of similar length.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int

from tl_fbn.acquisition import host
from tl_fbn.acquisition.design import prompt_digest
from tl_fbn.acquisition.presentation import beginning, digests_of, encode
from tl_fbn.attribution.tokens import Layouts, as_chat
from tl_fbn.units import html_table

Text = str | tuple[int, ...]
Kind = Literal["answer", "choice", "text"]


@dataclass(frozen=True)
class BatteryItem:
    """A prompt and what may follow it; the first alternative is right. Strings, or token ids.

    ``texts`` are further texts a network must not have been found on, such as the question inside a chat.
    """

    prompt: Text
    alternatives: tuple[Text, ...]
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """Items of one kind under one name."""

    name: str
    kind: Kind
    items: tuple[BatteryItem, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError(f"task {self.name!r} has no items; give at least one")

    @property
    def chance(self) -> float:
        """Expected exact match of answers dealt out at random."""
        if self.kind == "text":
            return float("nan")
        if self.kind == "choice":
            return float(np.mean([1 / len(item.alternatives) for item in self.items]))
        return sum((count / len(self.items)) ** 2 for count in self._answers().values())

    @property
    def majority(self) -> float:
        """Exact match of always giving the commonest answer (for choices: of a constant guess at the position)."""
        return self.chance if self.kind != "answer" else max(self._answers().values()) / len(self.items)

    def _answers(self) -> Counter[Text]:
        return Counter(item.alternatives[0] for item in self.items)


@dataclass(frozen=True)
class Scores:
    """Item by item results of one task.

    Args:
        exact_match: (item,) booleans; none for text.
        log_likelihood: (item,) nats a scored token.
    """

    exact_match: Bool[np.ndarray, " scored"]
    log_likelihood: Float[np.ndarray, " item"]

    def of(self, metric: str) -> float:
        """The task's mean of a metric; NaN where it is not defined."""
        values = getattr(self, metric)
        return float(np.mean(values)) if len(values) else float("nan")


@dataclass(frozen=True, eq=False)
class _Batch:
    """Sequences of similar length, padded on the right, and which of their tokens are scored."""

    sequences: list[int]
    ids: Int[torch.Tensor, "batch pos"]
    rows: Int[torch.Tensor, " scored"]
    before: Int[torch.Tensor, " scored"]
    targets: Int[torch.Tensor, " scored"]

    @classmethod
    def of(cls, sequences: Sequence[tuple[tuple[int, ...], int]], chosen: list[int]) -> _Batch:
        ids, _, _ = host.pad_batch([sequences[index][0] for index in chosen], torch.device("cpu"))
        places = [(row, at) for row, i in enumerate(chosen) for at in range(sequences[i][1], len(sequences[i][0]))]
        rows, columns = torch.tensor(places).unbind(1)
        return cls(chosen, ids, rows, columns - 1, ids[rows, columns])


@dataclass(frozen=True, eq=False)
class Battery:
    """Named tasks.

    >>> battery = Battery.from_pairs({"say": [("a b", "c"), ("b a", "d")]})
    >>> battery.tasks["say"].chance
    0.5
    """

    tasks: Mapping[str, Task]
    _cache: list[Any] = field(default_factory=list, repr=False, compare=False)
    _known: list[Any] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("a battery needs at least one task; got none")

    @classmethod
    def from_pairs(cls, tasks: Mapping[str, Sequence[tuple[Text, Text]]]) -> Battery:
        """A battery of prompts with the one right answer each."""
        made = {
            name: Task(name, "answer", tuple(BatteryItem(p, (a,)) for p, a in pairs)) for name, pairs in tasks.items()
        }
        return cls(made)

    @classmethod
    def from_texts(cls, tasks: Mapping[str, Sequence[Text]]) -> Battery:
        """A battery of passages, measured by their log-likelihood."""
        made = {
            name: Task(name, "text", tuple(BatteryItem("", (text,)) for text in texts)) for name, texts in tasks.items()
        }
        return cls(made)

    @classmethod
    def from_chats(cls, tasks: Mapping[str, Sequence[Any]], model: Any, *, bos_eos: bool = True) -> Battery:
        """A battery of chats, each ending with the assistant's right answer, which is what is scored.

        Args:
            tasks: Name to chats, few-shot ones for instance (:func:`tl_fbn.few_shot_chats`).
            model: A model with a chat template, or its tokenizer.
            bos_eos: As for :func:`tl_fbn.cgvst`.

        Raises:
            ValueError: A chat that does not end with an answer, or no chat template.
        """
        layouts = Layouts(getattr(model, "tokenizer", model), bos_eos=bos_eos)
        made = {}
        for name, chats in tasks.items():
            items = []
            for number, chat in enumerate(chats):
                messages = as_chat(chat)
                if len(messages) < 2 or messages[-1][0] != "assistant":
                    raise ValueError(
                        f"chat {number} of task {name!r} does not end with a message of the assistant's, the answer"
                    )
                layout = layouts.of(chat)
                answer = [at for at in layout.positions("answer") if layout.turns[at] == layout.turns.max()]
                prompt, scored = layout.ids[: answer[0]], layout.ids[answer[0] : answer[-1] + 1]
                items.append(BatteryItem(prompt, (scored,), (messages[-2][1],)))
            made[name] = Task(name, "answer", tuple(items))
        return cls(made)

    @classmethod
    def from_jsonl(cls, path: str | os.PathLike, *, name: str | None = None, n: int | None = None) -> Battery:
        """A battery of minimal pairs in BLiMP's format: one object a line with ``sentence_good`` and ``sentence_bad``.

        Args:
            path: The file.
            name: Name of the task; by default the pairs' ``UID``, else the file's name.
            n: Only the first pairs.
        """
        path = Path(path)
        items: dict[str, list[BatteryItem]] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()[:n], start=1):
            try:
                pair = json.loads(line)
                item = BatteryItem("", (pair["sentence_good"], pair["sentence_bad"]))
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number} is no minimal pair ({error!r}); each line is a JSON object with sentence_good and sentence_bad"
                ) from error
            items.setdefault(name or str(pair.get("UID", path.stem)), []).append(item)
        if not items:
            raise ValueError(f"{path} has no lines; each line is a JSON object with sentence_good and sentence_bad")
        return cls({task: Task(task, "choice", tuple(pairs)) for task, pairs in items.items()})

    def limit(self, n: int) -> Battery:
        """The first ``n`` items of every task."""
        return Battery({name: Task(name, task.kind, task.items[:n]) for name, task in self.tasks.items()})

    def select(self, names: Sequence[str]) -> Battery:
        """Only these tasks."""
        unknown = [name for name in names if name not in self.tasks]
        if unknown:
            raise ValueError(f"no task {', '.join(unknown)} in this battery; tasks: {', '.join(self.tasks)}")
        return Battery({name: self.tasks[name] for name in names})

    def digests(self, tokenizer: Any = None) -> dict[str, set[str]]:
        """Task to the digests of its prompts, answers and both together: what a network must not have been found on."""
        if not (self._known and self._known[0] is tokenizer):  # every network of a study asks
            found = {
                name: {d for item in task.items for d in _item_digests(item, tokenizer)}
                for name, task in self.tasks.items()
            }
            self._known[:] = [tokenizer, found]
        return self._known[1]

    @torch.no_grad()
    def score(self, model: Any, *, batch_size: int = 128) -> dict[str, Scores]:
        """Item by item results of every task, under whatever hooks are on the model."""
        host.require_eval(model, "a battery")
        counts, batches = self._prepared(model, batch_size)
        hits = np.zeros(len(counts), dtype=bool)
        likelihoods = np.zeros(len(counts))
        device = host.model_device(model)
        for batch in batches:
            logits = model(
                batch.ids.to(device)
            )  # no mask: a causal model's real positions do not see pads on their right
            rows, before, targets = (each.to(logits.device) for each in (batch.rows, batch.before, batch.targets))
            log_probs = logits[rows, before].float().log_softmax(-1)  # (scored token, vocabulary)
            picked = log_probs.gather(-1, targets[:, None])[:, 0].double().cpu().numpy()
            wrong = (log_probs.argmax(-1) != targets).cpu().numpy()
            owner = batch.rows.numpy()
            likelihoods[batch.sequences] = np.bincount(owner, picked, len(batch.sequences))
            hits[batch.sequences] = np.bincount(owner, wrong, len(batch.sequences)) == 0
        return self._collect(hits, likelihoods, counts)

    def evaluate(self, model: Any, *, batch_size: int = 128) -> pd.DataFrame:
        """One line a task: exact_match, log_likelihood, n, chance, majority."""
        scores = self.score(model, batch_size=batch_size)
        return pd.DataFrame(
            [
                (
                    name,
                    scores[name].of("exact_match"),
                    scores[name].of("log_likelihood"),
                    len(task.items),
                    task.chance,
                    task.majority,
                )
                for name, task in self.tasks.items()
            ],
            columns=["task", "exact_match", "log_likelihood", "n", "chance", "majority"],
        )

    def _collect(
        self, hits: Bool[np.ndarray, " sequence"], likelihoods: Float[np.ndarray, " sequence"], counts: np.ndarray
    ) -> dict[str, Scores]:
        """Results of sequences as results of items: summed log-probabilities decide choices, means are reported."""
        results = {}
        cursor = 0
        for name, task in self.tasks.items():
            matches, means = [], []
            for item in task.items:
                span = slice(cursor, cursor + len(item.alternatives))
                own, others = likelihoods[cursor], likelihoods[cursor + 1 : span.stop]
                matches.append(bool(hits[cursor]) if task.kind == "answer" else bool((own > others).all()))
                means.append(own / counts[cursor])
                cursor = span.stop
            exact = np.array([] if task.kind == "text" else matches, dtype=bool)
            results[name] = Scores(exact, np.array(means, dtype=float))
        return results

    def _prepared(self, model: Any, batch_size: int) -> tuple[np.ndarray, list[_Batch]]:
        """Scored tokens of every sequence, and the padded batches; made once for a tokenizer and batch size."""
        tokenizer = getattr(model, "tokenizer", None)
        n_ctx, d_vocab = host.context_length(model), host.vocabulary_size(model)
        settings = [batch_size, n_ctx, d_vocab]
        if not (self._cache and self._cache[0] is tokenizer and self._cache[1] == settings):
            sequences = [
                _encode_item(tokenizer, item.prompt, alternative, d_vocab)
                for _, item in self._items()
                for alternative in item.alternatives
            ]
            longest = max(len(ids) for ids, _ in sequences)
            if n_ctx is not None and longest > n_ctx:
                raise ValueError(
                    f"an item of this battery has {longest} tokens, the model's context holds {n_ctx}; shorten or drop it"
                )
            by_length = sorted(range(len(sequences)), key=lambda index: len(sequences[index][0]))
            groups = [by_length[first : first + batch_size] for first in range(0, len(by_length), batch_size)]
            counts = np.array([len(ids) - start for ids, start in sequences])
            self._cache[:] = [tokenizer, settings, counts, [_Batch.of(sequences, group) for group in groups]]
        return self._cache[2], self._cache[3]

    def _items(self) -> Iterator[tuple[str, BatteryItem]]:
        return ((name, item) for name, task in self.tasks.items() for item in task.items)

    def __repr__(self) -> str:
        return f"Battery of {len(self.tasks)} tasks: " + ", ".join(
            f"{name} ({len(task.items)} {task.kind})" for name, task in self.tasks.items()
        )

    def _repr_html_(self) -> str:
        rows = [
            (name, task.kind, len(task.items), f"{task.chance:.3g}", f"{task.majority:.3g}")
            for name, task in self.tasks.items()
        ]
        return html_table(repr(self), ("task", "kind", "items", "chance", "majority"), rows)


def _encode_item(
    tokenizer: Any, prompt: Text, alternative: Text, d_vocab: int | None = None
) -> tuple[tuple[int, ...], int]:
    """Token ids of prompt and alternative together, and the index of the first scored token (never the first of all)."""
    if isinstance(alternative, str) != isinstance(prompt, str) and prompt:
        raise ValueError(f"prompt {prompt!r} and answer {alternative!r} must both be strings or both be token ids")
    if not isinstance(alternative, str):
        before = () if not prompt else tuple(int(token) for token in prompt)
        ids = (*before, *(int(token) for token in alternative))
        return _scored(ids, max(len(before), 1), alternative)
    if not prompt:
        return _scored(encode(tokenizer, alternative, d_vocab=d_vocab), 1, alternative)
    assert isinstance(prompt, str)
    before = encode(tokenizer, prompt, d_vocab=d_vocab)
    ids = encode(tokenizer, f"{prompt.rstrip()} {alternative.lstrip()}", d_vocab=d_vocab)
    shared = 0
    while shared < min(len(before), len(ids)) and before[shared] == ids[shared]:
        shared += 1  # a merge across the boundary belongs to the answer
    return _scored(ids, max(shared, 1), alternative)


def _scored(ids: tuple[int, ...], start: int, alternative: Text) -> tuple[tuple[int, ...], int]:
    if start >= len(ids):
        raise ValueError(
            f"an item has nothing to score: {alternative!r} adds no token that something precedes; give a longer one"
        )
    return ids, start


def _item_digests(item: BatteryItem, tokenizer: Any) -> set[str]:
    found = {prompt_digest(text) for text in item.texts}
    for alternative in item.alternatives:
        whole: list[Text] = [item.prompt] if item.prompt else []
        if isinstance(alternative, str):
            whole.append(f"{item.prompt} {alternative}" if item.prompt else alternative)
        else:
            whole.append((*item.prompt, *alternative) if item.prompt else alternative)  # pyright: ignore[reportArgumentType]
        for text in whole:
            found.add(prompt_digest(text))
            if tokenizer is not None or not isinstance(text, str):
                found.update(digests_of(text, encode(tokenizer, text), beginning(tokenizer)))
    return found

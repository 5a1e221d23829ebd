"""Tasks to measure behaviour with: exact match, choices, plain text.

Three kinds of task (:mod:`.tasks`), one table:

- ``"answer"``  a prompt and the answer that must follow. ``exact_match`` is teacher-forced: every answer token is the
  argmax given the true prefix, which equals exact match under greedy decoding. Of several accepted answers any will do.
- ``"choice"``  alternatives, the first of which is right (BLiMP's minimal pairs). ``exact_match`` is "the right one has the
  highest log-likelihood", summed over its tokens; ties count as wrong.
- ``"text"``    a passage. Only ``log_likelihood`` is defined, and ``perplexity``.

``log_likelihood`` is the mean over items of the mean log-probability a scored token, in nats: of the answer (of several, the
best), of the right alternative, of the passage. ``chance``, ``majority``, ``constant``, ``parsed``, ``repetition`` and
``flag`` (:mod:`.monitors`) stand beside it: an exact match means something only above chance and majority, and of a model that still answers.

``score`` reads given answers and costs one forward pass over all items, in batches of similar length; ``respond`` lets the
model write its own (:mod:`.responses`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.chat_template import Layouts, as_chat
from tl_fbn.acquisition.model.forward_context import declared
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.free_responses import Responses, respond
from tl_fbn.intervention.behaviour.item_files import ItemFormat, ScoredText, choice_tasks, read_jsonl
from tl_fbn.intervention.behaviour.item_tokens import Layout, ScoredSequence, encode_item, item_digests
from tl_fbn.intervention.behaviour.output_checks import monitor
from tl_fbn.intervention.behaviour.parsers import Parser
from tl_fbn.intervention.behaviour.tasks import BatteryItem as BatteryItem
from tl_fbn.intervention.behaviour.tasks import Scores as Scores
from tl_fbn.intervention.behaviour.tasks import Task as Task
from tl_fbn.intervention.behaviour.tasks import Text as Text
from tl_fbn.units import html_table


@dataclass(frozen=True, eq=False)
class _Batch:
    """Sequences of similar length, padded on the right, and which of their tokens are scored.

    Args:
        sequences: Numbers of the sequences of this batch among all of the battery.
        ids: Token ids.
        starts: Index of each one's first scored token.
        rows: (scored token) its sequence within the batch.
        before: The place whose prediction it is.
        targets: Id of the token that is scored.
        slots: Its number among all scored tokens of the battery.
    """

    sequences: list[int]
    ids: Int[torch.Tensor, "batch pos"]
    starts: Int[torch.Tensor, " batch"]
    rows: Int[torch.Tensor, " scored"]
    before: Int[torch.Tensor, " scored"]
    targets: Int[torch.Tensor, " scored"]
    slots: Int[np.ndarray, " scored"]

    @classmethod
    def of(cls, sequences: Sequence[ScoredSequence], chosen: list[int], offsets: Int[np.ndarray, " all"]) -> _Batch:
        ids, _, _ = host.pad_batch([sequences[index][0] for index in chosen], torch.device("cpu"))
        starts = [sequences[index][1] for index in chosen]
        places = [(row, at) for row, i in enumerate(chosen) for at in range(starts[row], len(sequences[i][0]))]
        rows, columns = torch.tensor(places).unbind(1)
        slots = np.concatenate([offsets[i] + np.arange(len(sequences[i][0]) - sequences[i][1]) for i in chosen])
        return cls(chosen, ids, torch.tensor(starts), rows, columns - 1, ids[rows, columns], slots)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """Everything about a battery's sequences that does not depend on activations.

    Args:
        counts: (sequence,) scored tokens of each.
        batches: The sequences, of similar length together.
        layouts: Task to where its sequences stand.
    """

    counts: Int[np.ndarray, " sequence"]
    batches: list[_Batch]
    layouts: dict[str, Layout]

    @classmethod
    def of(cls, tasks: Mapping[str, Task], sequences: Sequence[ScoredSequence], batch_size: int) -> _Prepared:
        counts = np.array([len(ids) - start for ids, start in sequences])
        offsets = np.cumsum(counts) - counts
        by_length = sorted(range(len(sequences)), key=lambda index: len(sequences[index][0]))
        groups = [by_length[first : first + batch_size] for first in range(0, len(by_length), batch_size)]
        layouts = {}
        cursor = 0
        for name, task in tasks.items():
            layouts[name] = Layout.of(task, sequences, cursor, int(offsets[cursor]))
            cursor = layouts[name].span.stop
        return cls(counts, [_Batch.of(sequences, group, offsets) for group in groups], layouts)


@dataclass(frozen=True, eq=False)
class Battery:
    """Named tasks.

    >>> battery = Battery.from_pairs({"say": [("a b", "c"), ("b a", "d")]})
    >>> battery.tasks["say"].chance
    0.5

    Args:
        tasks: Name to task; ``from_pairs``, ``from_choices``, ``from_jsonl`` and their like make them.
    """

    tasks: Mapping[str, Task]
    _cache: list[Any] = field(default_factory=list, repr=False, compare=False)
    _known: list[Any] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.tasks:
            raise InputError("a battery needs at least one task; got none")

    @classmethod
    def from_pairs(cls, tasks: Mapping[str, Sequence[tuple[Text, Text | list[Text]]]]) -> Battery:
        """A battery of prompts with the one right answer each, or a list of answers any of which will do."""
        made = {}
        for name, pairs in tasks.items():
            items = [BatteryItem(p, tuple(dict.fromkeys(a)) if isinstance(a, list) else (a,)) for p, a in pairs]
            if any(not item.alternatives for item in items):
                raise InputError(f"task {name!r} has a prompt without an answer; give at least one answer each")
            if any(not isinstance(one, (str, tuple)) for item in items for one in (item.prompt, *item.alternatives)):
                raise InputError(
                    f"task {name!r} has prompts or answers that are neither strings nor tuples of token ids"
                )
            made[name] = Task(name, "answer", tuple(items))
        return cls(made)

    @classmethod
    def from_texts(cls, tasks: Mapping[str, Sequence[Text]]) -> Battery:
        """A battery of passages, measured by their log-likelihood and perplexity."""
        made = {
            name: Task(name, "text", tuple(BatteryItem("", (text,)) for text in texts)) for name, texts in tasks.items()
        }
        return cls(made)

    @classmethod
    def from_chats(cls, tasks: Mapping[str, Sequence[Any]], model: HookedModel, *, bos_eos: bool = True) -> Battery:
        """A battery of chats, each ending with the assistant's right answer, which is what is scored.

        Args:
            tasks: Name to chats, few-shot ones for instance (:func:`tl_fbn.few_shot_chats`).
            model: A model with a chat template, or its tokenizer.
            bos_eos: As for :func:`tl_fbn.cgvst`.

        Raises:
            InputError: A chat that does not end with an answer, or no chat template.
        """
        layouts = Layouts(getattr(model, "tokenizer", model), bos_eos=bos_eos)
        made = {}
        for name, chats in tasks.items():
            items = []
            for number, chat in enumerate(chats):
                messages = as_chat(chat)
                if len(messages) < 2 or messages[-1][0] != "assistant":
                    raise InputError(
                        f"chat {number} of task {name!r} does not end with a message of the assistant's, the answer"
                    )
                layout = layouts.of(chat)
                answer = [at for at in layout.positions("answer") if layout.turns[at] == layout.turns.max()]
                prompt = layout.ids[: answer[0]]
                scored = layout.ids[answer[0] : answer[-1] + 1]
                items.append(BatteryItem(prompt, (scored,), (messages[-2][1],)))
            made[name] = Task(name, "answer", tuple(items))
        return cls(made)

    @classmethod
    def from_choices(
        cls,
        tasks: Mapping[str, Sequence[Mapping[str, Any] | tuple[Any, ...]]],
        *,
        template: str | None = None,
        scored: ScoredText = "text",
    ) -> Battery:
        """A battery of multiple choice.

        >>> ask = {"question": "Is snow white?", "choices": ["yes", "no"], "answer": "yes"}
        >>> Battery.from_choices({"snow": [ask]}).tasks["snow"].items[0].alternatives
        ('yes', 'no')

        Args:
            tasks: Name to items: mappings with the fields that :meth:`from_jsonl` reads, or tuples of a prompt, its alternatives and the answer
                (its place from 0, text or letter); prompt and alternatives may be token ids there.
            template: As for :meth:`from_jsonl`; not for tuples.
            scored: What is scored of choices, as for :meth:`from_jsonl`; not for tuples.

        Raises:
            InputError: An item without a right alternative, and what is allowed.
        """
        return cls(choice_tasks(tasks, template=template, scored=scored))

    @classmethod
    def from_jsonl(
        cls,
        path: str | os.PathLike,
        *,
        format: ItemFormat = "auto",
        name: str | None = None,
        n: int | None = None,
        template: str | None = None,
        scored: ScoredText = "text",
    ) -> Battery:
        """A battery of a file with one JSON object a line: minimal pairs as BLiMP's, multiple choice, or questions with answers.

        Args:
            path: The file.
            format: ``"pairs"``, ``"choices"`` or ``"qa"`` (:mod:`.readers` has their fields); by default what the first line is.
            name: Name of the task; by default the pairs' ``UID``, else the file's name.
            n: Only the first items.
            template: Makes the prompt of a question from the fields of its line, ``{question}`` and, lettered, ``{choices}``. By default the bare
                question; where labels are scored, question, lettered choices and "Answer:".
            scored: What is scored of choices: the ``"text"`` of the alternatives or their ``"label"``.

        Raises:
            InputError: A line that is none of these, with its number, what was found and what is allowed.
        """
        return cls(read_jsonl(Path(path), format=format, name=name, n=n, template=template, scored=scored))

    def limit(self, n: int) -> Battery:
        """The first ``n`` items of every task."""
        return Battery({name: Task(name, task.kind, task.items[:n]) for name, task in self.tasks.items()})

    def __or__(self, other: Battery) -> Battery:
        """The tasks of both, as with dicts; a name that both have is refused.

        >>> Battery.from_texts({"a": ["x y"]}) | Battery.from_texts({"b": ["y x"]})
        Battery of 2 tasks: a (1 text), b (1 text)
        """
        if not isinstance(other, Battery):
            return NotImplemented
        if both := [name for name in self.tasks if name in other.tasks]:
            raise InputError(f"both batteries have a task {', '.join(both)}; give one of them another name=")
        return Battery({**self.tasks, **other.tasks})

    def select(self, names: Sequence[str]) -> Battery:
        """Only these tasks."""
        unknown = [name for name in names if name not in self.tasks]
        if unknown:
            raise InputError(f"no task {', '.join(unknown)} in this battery; tasks: {', '.join(self.tasks)}")
        return Battery({name: self.tasks[name] for name in names})

    def sizes(self, model: HookedModel, *, batch_size: int = 128) -> list[int]:
        """Tokens, padding included, of every forward pass that :meth:`score` makes."""
        return [batch.ids.numel() for batch in self._prepared(model, batch_size).batches]

    def digests(self, tokenizer: Any = None) -> dict[str, set[str]]:
        """Task to the digests of its prompts, answers and both together: what a network must not have been found on."""
        if not (self._known and self._known[0] is tokenizer):  # every network of a study asks
            found = {
                name: {d for item in task.items for d in item_digests(item, tokenizer)}
                for name, task in self.tasks.items()
            }
            self._known[:] = [tokenizer, found]
        return self._known[1]

    @torch.no_grad()
    def score(self, model: HookedModel, *, batch_size: int = 128) -> dict[str, Scores]:
        """Item by item results of every task, under whatever hooks are on the model."""
        host.require_eval(model, "a battery")
        prepared = self._prepared(model, batch_size)
        counts = prepared.counts
        hits = np.zeros(len(counts), dtype=bool)
        likelihoods = np.zeros(len(counts))
        said = np.full(counts.sum() + 1, -1, dtype=np.int32)  # the last is what -1 points to
        device = host.model_device(model)
        for batch in prepared.batches:
            with declared(model, batch.starts):  # an intervention on what the model writes acts on the answer
                # no mask: a causal model's real positions do not see pads on their right
                logits = model(batch.ids.to(device))
            rows, before, targets = (each.to(logits.device) for each in (batch.rows, batch.before, batch.targets))
            log_probs = logits[rows, before].float().log_softmax(-1)  # (scored token, vocabulary)
            picked = log_probs.gather(-1, targets[:, None])[:, 0].double().cpu().numpy()
            given = log_probs.argmax(-1).cpu().numpy()
            wrong = given != batch.targets.numpy()
            owner = batch.rows.numpy()
            said[batch.slots] = given
            likelihoods[batch.sequences] = np.bincount(owner, picked, len(batch.sequences))
            hits[batch.sequences] = np.bincount(owner, wrong, len(batch.sequences)) == 0
        return {name: layout.scores(hits, likelihoods, counts, said) for name, layout in prepared.layouts.items()}

    def evaluate(self, model: HookedModel, *, batch_size: int = 128) -> pd.DataFrame:
        """One line a task: exact_match, log_likelihood, n, the monitors (:mod:`.monitors`) and, of texts, perplexity.

        Columns: task, exact_match, log_likelihood, n, chance, majority, constant, parsed, repetition, flag, perplexity.
        """
        scores = self.score(model, batch_size=batch_size)
        lines = [
            {
                "task": name,
                "exact_match": scores[name].of("exact_match"),
                "log_likelihood": scores[name].of("log_likelihood"),
                "n": len(task.items),
                **asdict(monitor(task, scores[name])),
                "perplexity": scores[name].perplexity,
            }
            for name, task in self.tasks.items()
        ]
        return pd.DataFrame(lines)

    def respond(
        self,
        model: HookedModel,
        *,
        max_new_tokens: int = 20,
        stop: Sequence[str] = (),
        parser: Parser | Mapping[str, Parser] | None = None,
        batch_size: int = 64,
        progress: bool = True,
    ) -> Responses:
        """Let the model write its own answers, greedily, under whatever hooks are on it, and compare and parse them.

        Args:
            model: A TransformerLens model in eval mode, with a tokenizer.
            max_new_tokens: Longest answer, in tokens.
            stop: Strings that end an answer, as special tokens do.
            parser: Finds the label in a text (:mod:`.parsers`), one for all tasks or by task; by default the one of the task's closed set of answers, or of the
                item's alternatives, that the text names in words of their own.
            batch_size: Prompts written to together.
            progress: Show a bar.

        Raises:
            InputError: A model without a tokenizer, a task with nothing to write after, or prompts too long for the context.
        """
        return respond(
            model,
            self.tasks,
            max_new_tokens=max_new_tokens,
            stop=stop,
            parser=parser,
            batch_size=batch_size,
            progress=progress,
        )

    def _prepared(self, model: HookedModel, batch_size: int) -> _Prepared:
        """Sequences and padded batches; made once for a tokenizer and batch size."""
        tokenizer = tokenizer_of(model)
        n_ctx = host.context_length(model)
        d_vocab = host.vocabulary_size(model)
        settings = [batch_size, n_ctx, d_vocab]
        if not (self._cache and self._cache[0] is tokenizer and self._cache[1] == settings):
            sequences = [
                encode_item(tokenizer, item.prompt, alternative, d_vocab)
                for item in self._items()
                for alternative in item.alternatives
            ]
            longest = max(len(ids) for ids, _ in sequences)
            if n_ctx is not None and longest > n_ctx:
                raise InputError(
                    f"an item of this battery has {longest} tokens, the model's context holds {n_ctx}; shorten or drop it"
                )
            self._cache[:] = [tokenizer, settings, _Prepared.of(self.tasks, sequences, batch_size)]
        return self._cache[2]

    def _items(self) -> Iterator[BatteryItem]:
        return (item for task in self.tasks.values() for item in task.items)

    def __repr__(self) -> str:
        return f"Battery of {len(self.tasks)} task{'s' if len(self.tasks) > 1 else ''}: " + ", ".join(
            f"{name} ({len(task.items)} {task.kind})" for name, task in self.tasks.items()
        )

    def _repr_html_(self) -> str:
        rows = [
            (name, task.kind, len(task.items), f"{task.chance:.3g}", f"{task.majority:.3g}")
            for name, task in self.tasks.items()
        ]
        return html_table(repr(self), ("task", "kind", "items", "chance", "majority"), rows)

"""Batteries: tasks with right answers that measure what a model can do, by exact match and log-likelihood.

A battery is a set of named tasks of three kinds (:mod:`.tasks`); one table holds the results of all:

- ``"answer"``  a prompt and the answer that must follow. ``exact_match`` is teacher-forced: every token of the answer
  is the most probable one given the true tokens before it, which equals exact match under greedy decoding. Where
  several answers are accepted, any of them will do.
- ``"choice"``  alternatives, the first of which is right (such as BLiMP's minimal pairs). ``exact_match`` says whether
  the right one has the highest log-likelihood, summed over its tokens; a tie counts as wrong.
- ``"text"``    a passage. It has a ``log_likelihood`` and a ``perplexity``, and no exact match.

``log_likelihood`` is the mean over items of the mean log-probability of a scored token, in nats. Scored are the tokens
of the answer (of several accepted ones, the most probable), of the right alternative, or of the passage.

An exact match means something only above chance and above the majority rate, and of a model that still answers.
Therefore ``chance``, ``majority``, ``constant``, ``parsed``, ``repetition`` and ``flag`` stand beside it
(:mod:`.output_checks`).

``score`` and ``evaluate`` read given answers: one forward pass over every item, in batches of similar length.
``respond`` lets the model write its own answers (:mod:`.free_responses`), one step a token.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.chat_template import Layouts, as_chat
from tl_fbn.acquisition.model.forward_context import declared
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.errors import InputError, InputTypeError, visible
from tl_fbn.intervention.behaviour.free_responses import Responses, respond
from tl_fbn.intervention.behaviour.item_files import ItemFormat, ScoredText, choice_tasks, read_jsonl
from tl_fbn.intervention.behaviour.item_tokens import PreparedSequences, encode_item, item_digests
from tl_fbn.intervention.behaviour.output_checks import monitor
from tl_fbn.intervention.behaviour.parsers import Parser
from tl_fbn.intervention.behaviour.tasks import BatteryItem as BatteryItem
from tl_fbn.intervention.behaviour.tasks import Scores as Scores
from tl_fbn.intervention.behaviour.tasks import Task as Task
from tl_fbn.intervention.behaviour.tasks import Text as Text
from tl_fbn.kinds import shown
from tl_fbn.signatures import checked
from tl_fbn.units import html_table


@checked
@dataclass(frozen=True, eq=False)
class Battery:
    """Named tasks, each with items that have right answers.

    >>> battery
    Battery of 2 tasks: sort (10 answer), reverse (10 answer)
    >>> battery.evaluate(model)[["task", "exact_match", "chance"]].round(2)
          task  exact_match  chance
    0     sort          1.0     0.1
    1  reverse          1.0     0.1

    Args:
        tasks: Name to task; ``from_pairs``, ``from_choices``, ``from_texts``, ``from_chats``, ``from_jsonl`` make them.
    """

    tasks: Mapping[str, Task]
    # what was computed last, as [what it depends on, ..., value]; lists, which a frozen dataclass can refill
    _sequence_cache: list[Any] = field(default_factory=list, repr=False, compare=False)
    _digest_cache: list[Any] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.tasks:
            raise InputError("a battery needs at least one task; got none")

    @classmethod
    @checked
    def from_pairs(cls, tasks: Mapping[str, Sequence[tuple[Text, Text | list[Text]]]]) -> Battery:
        """A battery of prompts that each have one right answer, or a list of answers any of which will do.

        >>> fbn.Battery.from_pairs({"say": [("a b", "c"), ("b a", "d")]}).tasks["say"].chance
        0.5

        Args:
            tasks: Name to pairs of a prompt and its answer or list of answers, as strings or as tuples of token ids.

        Raises:
            InputError: A prompt without an answer, or a prompt or answer that is neither string nor token ids.
        """
        made = {}
        for name, pairs in tasks.items():
            if wrong := [one for one in pairs if isinstance(one, str) or not hasattr(one, "__len__") or len(one) != 2]:
                raise InputError(f"task {name!r} holds {shown(wrong[0])}; give pairs of a prompt and its answer")
            # an answer that is given twice counts once
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
    @checked
    def from_texts(cls, tasks: Mapping[str, Sequence[Text]]) -> Battery:
        """A battery of passages, measured by their log-likelihood and perplexity.

        Args:
            tasks: Name to passages, as strings or as tuples of token ids.
        """
        made = {
            name: Task(name, "text", tuple(BatteryItem("", (text,)) for text in texts)) for name, texts in tasks.items()
        }
        return cls(made)

    @classmethod
    @checked
    def from_chats(cls, tasks: Mapping[str, Sequence[Any]], model: HookedModel, *, bos_eos: bool = True) -> Battery:
        """A battery of chats, each ending with the assistant's right answer, which is what is scored.

        Args:
            tasks: Name to chats: lists of messages, such as those of :func:`tl_fbn.chats` or, with worked examples,
                of :func:`tl_fbn.attribution.few_shot_chats`.
            model: A model whose tokenizer has a chat template, or that tokenizer.
            bos_eos: True keeps the beginning and end of text that the template writes; False makes both empty, as in
                Song et al. (2024).

        Raises:
            InputError: A chat does not end with a message of the assistant's, or there is no chat template.
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
                # answers of earlier turns (worked examples) are part of the prompt
                answer = [at for at in layout.positions("answer") if layout.turns[at] == layout.turns.max()]
                prompt = layout.ids[: answer[0]]  # the tokens that open the assistant's turn included
                scored = layout.ids[answer[0] : answer[-1] + 1]
                # the bare question too is a text that a network must not have been found on
                items.append(BatteryItem(prompt, (scored,), (messages[-2][1],)))
            made[name] = Task(name, "answer", tuple(items))
        return cls(made)

    @classmethod
    @checked
    def from_choices(
        cls,
        tasks: Mapping[str, Sequence[Mapping[str, Any] | tuple[Any, ...]]],
        *,
        template: str | None = None,
        scored: ScoredText = "text",
    ) -> Battery:
        """A battery of multiple choice, from objects in memory.

        >>> snow = {"question": "Is snow white?", "choices": ["no", "yes"], "answer": "yes"}
        >>> fbn.Battery.from_choices({"snow": [snow]}).tasks["snow"].items[0].alternatives
        ('yes', 'no')

        Args:
            tasks: Name to items. An item is a mapping with the fields of a multiple choice in a file
                (:mod:`.item_files` lists them), or a tuple of a prompt, its alternatives and the right one (by place
                from 0, text or letter); in tuples, prompt and alternatives may be token ids.
            template: Prompt of a mapping, with its fields in braces: ``{question}``, or ``{choices}`` for all
                alternatives, each on a line behind its letter. None takes the bare question; where labels are scored,
                question, lettered alternatives and "Answer:". Tuples have their prompt already.
            scored: What is scored of a mapping's alternatives: their ``"text"``, or their ``"label"`` (A, B ...).

        Raises:
            InputError: An item that is no multiple choice; the message has its number, what is wrong and what is
                allowed.
        """
        return cls(choice_tasks(tasks, template=template, scored=scored))

    @classmethod
    @checked
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
        """A battery from a file with one JSON object a line: minimal pairs, multiple choice, or questions with answers.

        Args:
            path: The file.
            format: What the lines are: ``"pairs"`` (minimal pairs, as BLiMP's), ``"choices"`` or ``"qa"`` (questions
                with answers); :mod:`.item_files` lists the fields of each. ``"auto"`` goes by the first line.
            name: Name of the task; None takes the ``UID`` of minimal pairs, else the file's name without its ending.
            n: Number of items to read from the beginning of the file; None reads all.
            template: Prompt of a question, with fields of the line in braces: ``{question}``, or ``{choices}`` for all
                alternatives, each on a line behind its letter. None takes the bare question; where labels are scored,
                question, lettered alternatives and "Answer:".
            scored: What is scored of the alternatives of choices: their ``"text"``, or their ``"label"`` (A, B ...).

        Raises:
            InputError: A line that is no such item; the message has its number, what was found and what is allowed.
        """
        return cls(read_jsonl(Path(path), format=format, name=name, n=n, template=template, scored=scored))

    @checked
    def limit(self, n: int) -> Battery:
        """The first items of every task.

        Args:
            n: Largest number of items a task.
        """
        return Battery({name: Task(name, task.kind, task.items[:n]) for name, task in self.tasks.items()})

    def __or__(self, other: Battery) -> Battery:
        """The tasks of both batteries together; a name that both have is refused.

        >>> battery | fbn.Battery.from_texts({"prose": ["sort : k a e"]})
        Battery of 3 tasks: sort (10 answer), reverse (10 answer), prose (1 text)
        """
        if not isinstance(other, Battery):
            return NotImplemented
        if both := [name for name in self.tasks if name in other.tasks]:
            raise InputError(f"both batteries have a task {', '.join(both)}; give one of them another name=")
        return Battery({**self.tasks, **other.tasks})

    @checked
    def select(self, names: Sequence[str]) -> Battery:
        """A battery of some of the tasks.

        Args:
            names: Names of the tasks, in the order they shall have; a name that the battery lacks is an InputError.
        """
        unknown = [name for name in names if name not in self.tasks]
        if unknown:
            raise InputError(f"no task {', '.join(unknown)} in this battery; tasks: {', '.join(self.tasks)}")
        return Battery({name: self.tasks[name] for name in names})

    @checked
    def sizes(self, model: HookedModel, *, batch_size: int = 128) -> list[int]:
        """Number of tokens, padding included, of every forward pass that :meth:`score` makes.

        Args:
            model: The model that would be scored.
            batch_size: Largest number of sequences in a pass.
        """
        return [batch.ids.numel() for batch in self._prepared(model, batch_size).batches]

    @checked
    def digests(self, tokenizer: Any = None) -> dict[str, set[str]]:
        """Digests of every task's prompts, alone and with each answer: what a network must not have been found on.

        Args:
            tokenizer: The model's tokenizer; None where there is none, and strings are then known as text only.

        Returns:
            Name of a task to its digests, which compare with those in the provenance of networks and recordings.
        """
        if tokenizer is not None and not hasattr(tokenizer, "bos_token_id"):
            raise InputTypeError(f"tokenizer must be the model's own, or None; got {shown(tokenizer)}")
        # kept, because every network of a study is compared with the same items
        if not (self._digest_cache and self._digest_cache[0] is tokenizer):
            found = {
                name: {digest for item in task.items for digest in item_digests(item, tokenizer)}
                for name, task in self.tasks.items()
            }
            self._digest_cache[:] = [tokenizer, found]
        return self._digest_cache[1]

    @torch.no_grad()
    @checked
    def score(self, model: HookedModel, *, batch_size: int = 128) -> dict[str, Scores]:
        """Item by item results of every task, under whatever hooks and interventions are on the model.

        Args:
            model: A TransformerLens model in eval mode.
            batch_size: Largest number of sequences in a pass; it changes speed and memory only.

        Returns:
            Name of a task to its :class:`.tasks.Scores`.

        Raises:
            InputError: The model is in training mode, or an item is longer than its context.
        """
        host.require_eval(model, "a battery")
        prepared = self._prepared(model, batch_size)
        counts = prepared.counts
        hits = np.zeros(len(counts), dtype=bool)  # (sequence,) every scored token is the most probable one
        likelihoods = np.zeros(len(counts))  # (sequence,) sum over the scored tokens, in nats
        predictions = np.full(counts.sum() + 1, -1, dtype=np.int32)  # the last one is what an index of -1 points to
        device = host.model_device(model)
        for batch in prepared.batches:
            with declared(model, batch.starts):  # an intervention on what the model writes acts on the answer
                # no mask: a causal model's real positions do not see pads on their right
                logits = model(batch.ids.to(device))
            # where the logits are: a model over several devices may return them elsewhere
            rows, before, targets = (each.to(logits.device) for each in (batch.rows, batch.before, batch.targets))
            log_probs = logits[rows, before].float().log_softmax(-1)  # (scored, vocabulary)
            true_log_probs = log_probs.gather(-1, targets[:, None])[:, 0].double().cpu().numpy()
            argmax = log_probs.argmax(-1).cpu().numpy()  # the greedy token at each scored place
            wrong = argmax != batch.targets.numpy()
            owner = batch.rows.numpy()  # bincount by owner adds up the tokens of each sequence
            predictions[batch.slots] = argmax
            likelihoods[batch.sequences] = np.bincount(owner, true_log_probs, len(batch.sequences))
            hits[batch.sequences] = np.bincount(owner, wrong, len(batch.sequences)) == 0
        return {
            name: layout.scores(hits, likelihoods, counts, predictions) for name, layout in prepared.layouts.items()
        }

    @checked
    def evaluate(self, model: HookedModel, *, batch_size: int = 128) -> pd.DataFrame:
        """Scores of every task as a table, under whatever hooks and interventions are on the model.

        Args:
            model: A TransformerLens model in eval mode.
            batch_size: Largest number of sequences in a pass; it changes speed and memory only.

        Returns:
            One line a task: task, exact_match, log_likelihood (nats), n (items), chance, majority, constant, parsed,
            repetition, flag (:mod:`.output_checks` defines these six) and perplexity (NaN but for texts).

        Raises:
            InputError: The model is in training mode, or an item is longer than its context.
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

    @checked
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
        """Let the model write its own answers, greedily, and compare them with the right ones (:mod:`.free_responses`).

        Args:
            model: A TransformerLens model in eval mode, with a tokenizer; hooks and interventions on it stay in force.
            max_new_tokens: Longest answer, in tokens.
            stop: Strings that end an answer; special tokens always do.
            parser: Finds the label in a text (:mod:`.parsers`): one parser for all tasks, or a mapping of task to
                parser. None looks for the task's closed set of answers, or the item's alternatives, as whole words.
            batch_size: Number of prompts that are continued together; it changes speed and memory only.
            progress: Whether to show a progress bar.

        Raises:
            InputError: The model has no tokenizer, a task has nothing to write after (passages, minimal pairs), or a
                prompt is too long for the context.
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

    def _prepared(self, model: HookedModel, batch_size: int) -> PreparedSequences:
        """Sequences and padded batches, made once for a tokenizer, model size and batch size."""
        tokenizer = tokenizer_of(model)
        n_ctx = host.context_length(model)
        d_vocab = host.vocabulary_size(model)
        settings = [batch_size, n_ctx, d_vocab]
        cache = self._sequence_cache
        if not (cache and cache[0] is tokenizer and cache[1] == settings):
            sequences = [
                encode_item(tokenizer, item.prompt, alternative, d_vocab)
                for task in self.tasks.values()
                for item in task.items
                for alternative in item.alternatives
            ]
            longest = max(len(ids) for ids, _ in sequences)
            if n_ctx is not None and longest > n_ctx:
                too_long = f"an item of this battery has {longest} tokens, the model's context holds {n_ctx}"
                raise InputError(f"{too_long}; shorten or drop it")
            cache[:] = [tokenizer, settings, PreparedSequences.of(self.tasks, sequences, batch_size)]
        return cache[2]

    def __repr__(self) -> str:
        tasks = ", ".join(f"{name} ({len(task.items)} {task.kind})" for name, task in self.tasks.items())
        return visible(f"Battery of {len(self.tasks)} task{'s' if len(self.tasks) > 1 else ''}: {tasks}")

    def _repr_html_(self) -> str:
        rows = [
            (name, task.kind, len(task.items), f"{task.chance:.3g}", f"{task.majority:.3g}")
            for name, task in self.tasks.items()
        ]
        return html_table(repr(self), ("task", "kind", "items", "chance", "majority"), rows)

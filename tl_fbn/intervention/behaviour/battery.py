"""Batteries: tasks with right answers that measure what a model can do, by exact match and log-likelihood.

A battery is a set of named tasks of three kinds (:mod:`.tasks`); one table holds the results of all:

- ``"answer"``  a prompt and the answer that must follow. ``exact_match`` is teacher-forced: every token of the answer
  is the most probable one given the true tokens before it, which equals exact match under greedy decoding. Where
  several answers are accepted, any of them will do.
- ``"choice"``  alternatives, the first of which is right (such as BLiMP's minimal pairs). ``exact_match`` says whether
  the right one has the highest log-likelihood, summed over its tokens; a tie counts as wrong. Longer alternatives lose
  by their length, so the same is said per token and per character (acc_norm of the lm-evaluation-harness) beside it.
- ``"text"``    a passage. It has a ``log_likelihood`` and a ``perplexity``, and no exact match.

``log_likelihood`` is the mean over items of the mean log-probability of a scored token, in nats. Scored are the tokens
of the answer (of several accepted ones, the most probable), of the right alternative, or of the passage.

An exact match means something only above chance and above the majority rate, and of a model that still answers.
Therefore ``chance``, ``majority``, ``constant``, ``parsed``, ``repetition`` and ``flag`` stand beside it
(:mod:`.output_checks`).

``score`` and ``evaluate`` read given answers: one forward pass over every item, in batches of similar length, and one
over what items begin with alike.
``respond`` lets the model write its own answers (:mod:`.free_responses`), one step a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pandas as pd

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.chat_rendering import TemplateVariables
from tl_fbn.acquisition.model.chat_template import Layouts
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.model.model_lock import serves_one_thread
from tl_fbn.acquisition.model.token_batches import tokens_at_once
from tl_fbn.errors import InputError, refuse_alike, visible
from tl_fbn.intervention.behaviour.battery_sources import from_choices, from_jsonl, from_qa
from tl_fbn.intervention.behaviour.free_responses import Responses, respond
from tl_fbn.intervention.behaviour.item_digests import task_digests
from tl_fbn.intervention.behaviour.item_sources import chat_tasks, pair_tasks, text_tasks
from tl_fbn.intervention.behaviour.item_tokens import ScoredSequence, encode_tasks, tokenizer_state
from tl_fbn.intervention.behaviour.output_checks import ScoreColumns, score_table
from tl_fbn.intervention.behaviour.parsers import Parser
from tl_fbn.intervention.behaviour.sequence_batches import PreparedSequences
from tl_fbn.intervention.behaviour.tasks import BatteryItem as BatteryItem
from tl_fbn.intervention.behaviour.tasks import Scores as Scores
from tl_fbn.intervention.behaviour.tasks import Task as Task
from tl_fbn.intervention.behaviour.tasks import Text as Text
from tl_fbn.intervention.behaviour.teacher_forcing import most_scored, readings, score_sequences
from tl_fbn.signatures import checked
from tl_fbn.units import html_table


@checked
@dataclass(frozen=True, eq=False, init=False)
class Battery:
    """Named tasks, each with items that have right answers.

    >>> battery
    Battery of 2 tasks: sort (10 answer), reverse (10 answer)
    >>> battery.evaluate(model)[["task", "exact_match", "chance"]].round(2)
          task  exact_match  chance
    0     sort          1.0     0.1
    1  reverse          1.0     0.1

    >>> fbn.Battery({"plural": [("one cat, two", "cats"), ("one dog, two", "dogs")]})
    Battery of 1 task: plural (2 answer)

    Args:
        tasks: Name to pairs of a prompt and its answer, as :meth:`from_pairs` takes them, or to a task that is made;
            ``from_choices``, ``from_qa``, ``from_texts``, ``from_chats`` and ``from_jsonl`` make others.
        prepend_bos: Whether a beginning-of-text token is put before items that are strings; None does as the host
            does (``model.cfg.default_prepend_bos``).

    Raises:
        InputError: There is no task, two names of tasks differ in case only, or a prompt has no answer.
    """

    tasks: Mapping[str, Task]
    prepend_bos: bool | None
    # what was computed last, as [what it depends on, ..., value]; lists, which a frozen dataclass can refill
    _sequence_cache: list[Any] = field(repr=False, compare=False)
    _prepared_cache: list[Any] = field(repr=False, compare=False)
    _digest_cache: list[Any] = field(repr=False, compare=False)

    def __init__(
        self,
        tasks: Mapping[str, Task | Sequence[tuple[Text, Text | list[Text]]]],
        *,
        prepend_bos: bool | None = None,
    ) -> None:
        if not tasks:
            raise InputError("a battery needs at least one task; got none")
        refuse_alike(tasks, "the tasks")
        made = {
            name: given if isinstance(given, Task) else pair_tasks({name: given}, None)[name]
            for name, given in tasks.items()
        }
        values = {"tasks": made, "prepend_bos": prepend_bos, "_digest_cache": []}
        values |= {"_sequence_cache": [], "_prepared_cache": []}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    @checked
    def from_pairs(
        cls,
        tasks: Mapping[str, Sequence[tuple[Text, Text | list[Text]]]],
        *,
        delimiter: str | None = None,
        prepend_bos: bool | None = None,
    ) -> Battery:
        """A battery of prompts that each have one right answer, or a list of answers any of which will do.

        Prompt and answer are scored as they are given, with one space between them where the prompt ends in a letter,
        a digit or a closing mark and neither brings white space:

        >>> fbn.Battery.from_pairs({"say": [("a b", "c"), ("b a", "d")]}).tasks["say"].chance
        0.5

        Args:
            tasks: Name to pairs of a prompt and its answer or list of answers, as strings or as tuples of token ids.
            delimiter: What stands between prompt and answer, both strings, whatever they are; None for that one space.
            prepend_bos: Whether a beginning-of-text token is put before strings; None does as the host does.

        Raises:
            InputError: A prompt without an answer, or either is neither string nor token ids.
        """
        return cls(pair_tasks(tasks, delimiter), prepend_bos=prepend_bos)

    @classmethod
    @checked
    def from_texts(cls, tasks: Mapping[str, Sequence[Text]], *, prepend_bos: bool | None = None) -> Battery:
        """A battery of passages, measured by their log-likelihood and perplexity.

        Args:
            tasks: Name to passages, as strings or token ids.
            prepend_bos: Whether a beginning-of-text token is put before strings; None does as the host does.
        """
        return cls(text_tasks(tasks), prepend_bos=prepend_bos)

    @classmethod
    @checked
    def from_chats(
        cls,
        tasks: Mapping[str, Sequence[Any]],
        model: HookedModel | Any,
        *,
        bos_eos: bool = True,
        chat_template_kwargs: TemplateVariables = None,
    ) -> Battery:
        """A battery of chats, each ending with the assistant's right answer, which is what is scored.

        Args:
            tasks: Name to chats: lists of messages, such as those of :func:`tl_fbn.chats` or, with worked examples,
                of :func:`tl_fbn.attribution.few_shot_chats`.
            model: A model whose tokenizer has a chat template, or that tokenizer.
            bos_eos: True keeps the beginning and end of text that the template writes; False makes both empty, as in
                Song et al. (2024).
            chat_template_kwargs: Variables of the tokenizer's chat template by name, such as ``{"enable_thinking":
                False}``; None gives none.

        Raises:
            InputError: A chat does not end with a message of the assistant's, or there is no chat template.
        """
        tokenizer = getattr(model, "tokenizer", model)
        return cls(chat_tasks(tasks, Layouts(tokenizer, bos_eos=bos_eos, chat_template_kwargs=chat_template_kwargs)))

    # of questions; functions of a file of their own
    from_choices = classmethod(from_choices)
    from_qa = classmethod(from_qa)
    from_jsonl = classmethod(from_jsonl)

    @checked
    def limit(self, n: int) -> Battery:
        """The first items of every task.

        Args:
            n: Largest number of items a task.
        """
        return self._of({name: Task(name, task.kind, task.items[:n]) for name, task in self.tasks.items()})

    def __or__(self, other: Battery) -> Battery:
        """The tasks of both batteries together; a name that both have is refused.

        >>> battery | fbn.Battery.from_texts({"prose": ["sort : k a e"]})
        Battery of 3 tasks: sort (10 answer), reverse (10 answer), prose (1 text)
        """
        if not isinstance(other, Battery):
            return NotImplemented
        if both := [name for name in self.tasks if name in other.tasks]:
            raise InputError(f"both batteries have a task {', '.join(both)}; give one of them another name=")
        if self.prepend_bos is not other.prepend_bos:
            raise InputError(
                f"one battery has prepend_bos={self.prepend_bos}, the other {other.prepend_bos}; give both the same"
            )
        return self._of({**self.tasks, **other.tasks})

    @checked
    def select(self, names: Sequence[str]) -> Battery:
        """A battery of some of the tasks.

        Args:
            names: Names of the tasks, in the order they shall have; a name that the battery lacks is an InputError.
        """
        if unknown := [name for name in names if name not in self.tasks]:
            raise InputError(f"no task {', '.join(unknown)} in this battery; tasks: {', '.join(self.tasks)}")
        return self._of({name: self.tasks[name] for name in names})

    def _of(self, tasks: Mapping[str, Task]) -> Battery:
        """A battery of other tasks with the settings of this one."""
        return Battery(tasks, prepend_bos=self.prepend_bos)

    @checked
    def sizes(self, model: HookedModel, *, batch_tokens: int = 8192, share_prefixes: bool = True) -> list[int]:
        """Number of tokens, padding included, of every forward pass that :meth:`score` makes.

        Args:
            model: The model that would be scored, with the hooks that would be on it.
            batch_tokens: Largest number of tokens in a pass, padding counted.
            share_prefixes: Whether beginnings that items share are read once, where the model can.
        """
        return list(readings(model, self._prepared(model, batch_tokens), share_prefixes).sizes())

    @checked
    def digests(self, tokenizer: Any = None) -> dict[str, set[str]]:
        """Digests of every task's prompts, alone and with each answer: what a network must not have been found on.

        Args:
            tokenizer: The model's tokenizer; None where there is none, and strings are then known as text only.

        Returns:
            Name of a task to its digests, which compare with those in the provenance of networks and recordings.
        """
        # kept, because every network of a study is compared with the same items
        if not (self._digest_cache and self._digest_cache[0] is tokenizer):
            self._digest_cache[:] = [tokenizer, task_digests(self.tasks, tokenizer)]
        return self._digest_cache[1]

    @checked
    def scored_tokens(self, model: HookedModel) -> dict[str, list[list[Any]]]:
        """What :meth:`score` reads: of each alternative of each item its token ids, and where scoring begins.

        Args:
            model: The model that would be scored.

        Returns:
            Name of a task to pairs of the token ids of prompt and alternative and the index of the first scored one.
        """
        sequences = iter(self._encoded(model))
        return {
            name: [
                [list(ids), start] for item in task.items for ids, start in islice(sequences, len(item.alternatives))
            ]
            for name, task in self.tasks.items()
        }

    @checked
    @serves_one_thread("scoring")
    def score(self, model: HookedModel, *, batch_tokens: int = 8192, share_prefixes: bool = True) -> dict[str, Scores]:
        """Item by item results of every task, under whatever hooks and interventions are on the model.

        Args:
            model: A TransformerLens model in eval mode.
            batch_tokens: Largest number of tokens in a pass, padding counted; it changes speed and memory only.
            share_prefixes: Whether what items begin with (worked examples, a system message, the question of several
                choices) is read once for all of them, through the model's key-value cache. It is left off by itself
                where that would not give the same numbers: hooks of your own, ``"resample"`` and ``"noise"``, models
                without such a cache, windows of attention shorter than an item.

        Returns:
            Name of a task to its :class:`.tasks.Scores`.

        Raises:
            InputError: The model is in training mode, an item exceeds the model's context or vocabulary, or
                ``batch_tokens`` holds less than the longest item.
        """
        host.require_eval(model, "a battery")
        prepared = self._prepared(model, batch_tokens)
        hits, sums, said = score_sequences(model, prepared, share_prefixes=share_prefixes)
        return {name: layout.scores(hits, sums, prepared.counts, said) for name, layout in prepared.layouts.items()}

    @checked
    def evaluate(
        self,
        model: HookedModel,
        *,
        batch_tokens: int = 8192,
        share_prefixes: bool = True,
        columns: ScoreColumns = "main",
    ) -> pd.DataFrame:
        """Scores of every task as a table, under whatever hooks and interventions are on the model.

        Args:
            model: A TransformerLens model in eval mode.
            batch_tokens: Largest number of tokens in a pass, padding counted; it changes speed and memory only.
            share_prefixes: Whether what items begin with is read once for all of them, as :meth:`score` says.
            columns: ``"main"`` for what answers first and fits a line, ``"all"`` for every column.

        Returns:
            One line a task: task, exact_match, log_likelihood (nats), n (items), chance, majority, flag
            (:mod:`.output_checks`) and, with passages, perplexity. All columns: also constant, parsed, repetition,
            perplexity and, with choices, exact_match_per_token and exact_match_per_character (NaN for other tasks).

        Raises:
            InputError: The model is in training mode, an item exceeds the model's context or vocabulary, or
                ``batch_tokens`` holds less than the longest item.
        """
        scores = self.score(model, batch_tokens=batch_tokens, share_prefixes=share_prefixes)
        return score_table(self.tasks, scores, columns)

    @checked
    def respond(
        self,
        model: HookedModel,
        *,
        max_new_tokens: int = 20,
        stop: Sequence[str] = (),
        parser: Parser | Mapping[str, Parser] | None = None,
        batch_tokens: int = 8192,
        progress: bool = True,
    ) -> Responses:
        """Let the model write its own answers, greedily, and compare them with the right ones (:mod:`.free_responses`).

        Args:
            model: A TransformerLens model in eval mode, with a tokenizer; hooks and interventions on it stay in force.
            max_new_tokens: Longest answer, in tokens.
            stop: Strings that end an answer; special tokens always do.
            parser: Finds the label in a text (:mod:`.parsers`): one parser for all tasks, or a mapping of task to
                parser. None looks for the task's closed set of answers, or the item's alternatives, as whole words.
            batch_tokens: Largest number of tokens of the prompts that are continued together, padding and what is
                written counted; it changes speed and memory only.
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
            batch_tokens=batch_tokens,
            progress=progress,
            prepend_bos=self.prepend_bos,
        )

    def _prepared(self, model: HookedModel, batch_tokens: int) -> PreparedSequences:
        """Sequences and their batches, made once for the same sequences and size of passes."""
        sequences = self._encoded(model)
        at_once = tokens_at_once(model, batch_tokens)
        cache, size = self._prepared_cache, (batch_tokens, at_once)
        if not (cache and cache[0] is sequences and cache[1] == size):
            n_scored = most_scored(host.vocabulary_size(model))
            prepared = PreparedSequences.of(self.tasks, sequences, batch_tokens, n_scored, at_once=at_once)
            cache[:] = [sequences, size, prepared]
        return cache[2]

    def _encoded(self, model: HookedModel) -> list[ScoredSequence]:
        """Token ids of all items, made once for a tokenizer and model size."""
        tokenizer = tokenizer_of(model)
        n_ctx, d_vocab = host.context_length(model), host.vocabulary_size(model)
        prepend_bos = host.prepends_bos(model, self.prepend_bos)
        # a tokenizer's settings can be changed in place
        settings = [n_ctx, d_vocab, prepend_bos, tokenizer_state(tokenizer)]
        cache = self._sequence_cache
        if not (cache and cache[0] is tokenizer and cache[1] == settings):
            sequences = encode_tasks(self.tasks, tokenizer, n_ctx=n_ctx, d_vocab=d_vocab, prepend_bos=prepend_bos)
            cache[:] = [tokenizer, settings, sequences]
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

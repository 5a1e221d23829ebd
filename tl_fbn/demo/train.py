"""Train the embedded model: ``python -m tl_fbn.demo.train --out FOLDER``.

A GPT-NeoX-shaped causal transformer (rotary positions, LayerNorm, GELU, sequential residual) learns the formal language
of :mod:`tl_fbn.acquisition.design.stimuli.formal`. A document is one chat turn, a chat of several turns (mostly of one
task, as few-shot chats are), neutral text or random words; documents are packed into rows that start with the
beginning-of-text token. Questions in the splits ``prompts`` and ``battery`` never enter a row.

The loss is next-token cross-entropy, weighted by the token that is to be predicted: 1 for answers, 0.3 for neutral text
and the end of a chat, 0.1 for questions and their special tokens, 0.05 for random words. Questions are random letters,
and a small model should not spend its capacity on them; but special tokens need some gradient, because CGVST
(:func:`tl_fbn.cgvst`) is made of the loss at special tokens.

Optimiser: AdamW, learning rate with a linear warm-up of 100 steps and a cosine decay. Seeded, float32, on the CPU; a
training that takes longer than ``--minutes`` (38) ends with an error. It writes a plain Hugging Face folder and prints
the exact match on held-out items.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from tl_fbn.acquisition.design.stimuli import formal

BOS = "<bos>"
EOS = "<eos>"
PAD = "<pad>"
UNKNOWN = "<unk>"
N_CTX = 128
ROW_LENGTH = 96
TASK_WEIGHTS = {"add": 2.0, "sort": 1.5, "count": 1.5, "reverse": 1.2}
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %} [INST] {{ message['content'] }}"
    " [/INST]{% else %} {{ message['content'] }}{% endif %}{% endfor %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token for each word; the six special tokens come first, so that their ids never change."""
    special = [PAD, BOS, EOS, UNKNOWN, formal.USER_OPEN, formal.USER_CLOSE]
    vocabulary = {word: index for index, word in enumerate([*special, *formal.WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        additional_special_tokens=[formal.USER_OPEN, formal.USER_CLOSE],
        chat_template=CHAT_TEMPLATE,
        add_bos_token=True,
        model_max_length=N_CTX,
        clean_up_tokenization_spaces=False,  # or a decoded text would lack the space before a full stop
    )


def build_model(vocab_size: int, *, d_model: int, n_layers: int, d_mlp: int, seed: int) -> GPTNeoXForCausalLM:
    """An untrained model.

    Args:
        vocab_size: Number of tokens of the tokenizer.
        d_model: Width of the residual stream; a multiple of 24, the width of one attention head.
        n_layers: Number of layers.
        d_mlp: Number of MLP neurons in each layer.
        seed: Seed of the random initial weights; the same seed gives the same weights.
    """
    torch.manual_seed(seed)
    config = GPTNeoXConfig(
        vocab_size=vocab_size,
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=d_model // 24,
        intermediate_size=d_mlp,
        hidden_act="gelu",
        max_position_embeddings=N_CTX,
        use_parallel_residual=False,
        tie_word_embeddings=False,
        # places in the tokenizer's list of special tokens
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
    )
    return GPTNeoXForCausalLM(config)


def _train_item(task: str, rng: random.Random) -> formal.Item:
    """A random item of a task whose question is in the split for training."""
    while True:
        # sums of two-digit numbers are practice only: with them the sums of two digits are learnt in 1,000 steps,
        # without them not in 2,500
        item = (
            formal.as_item(task, *formal.sum_of(rng, rng.randint(2, 3)))
            if task == "add"
            else formal.make_item(task, rng)
        )
        if formal.split_of(item.question) == "train":
            return item


def _document(rng: random.Random, ids: dict[str, int]) -> tuple[list[int], list[float]]:
    """Token ids of one random document and the loss weight of each."""
    if rng.random() < 0.12:  # text without a question; rest three times as often as random words
        name = rng.choices(formal.NEUTRAL, weights=(3, 1))[0]
        while formal.split_of(text := formal.neutral_text(name, rng)) != "train":
            pass
        tokens = [ids[BOS], *(ids[word] for word in text.split()), ids[EOS]]
        return tokens, [0.3 if name == "rest" else 0.05] * len(tokens)
    # a chat; tasks that are harder to learn come more often
    weights = [TASK_WEIGHTS.get(task, 1.0) for task in formal.TASKS]
    tokens = [ids[BOS]]
    loss = [0.0]  # where a document begins cannot be predicted
    first = rng.choices(formal.TASKS, weights=weights)[0]
    same = rng.random() < 0.6
    # half of the chats have one turn, the others 2 to 6; 60 % keep to one task, as few-shot chats do
    for turn in range(1 if rng.random() < 0.5 else rng.randint(2, 6)):
        task = first if same or turn == 0 else rng.choices(formal.TASKS, weights=weights)[0]
        item = _train_item(task, rng)
        question = [ids[word] for word in item.prompt.split()]
        answer = [ids[word] for word in item.answer.split()]
        tokens += question + answer
        loss += [0.1] * len(question) + [1.0] * len(answer)
    return [*tokens, ids[EOS]], [*loss, 0.3]


def _batch(rng: random.Random, ids: dict[str, int], n_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and loss weights, both (row, ROW_LENGTH + 1): the last token of a row is only predicted, not read."""
    tokens = []
    weights = []
    for _ in range(n_rows):
        row = []
        loss = []
        while len(row) <= ROW_LENGTH:
            more, more_loss = _document(rng, ids)
            row += more
            loss += more_loss
        # the last document is cut; no row is padded
        tokens.append(row[: ROW_LENGTH + 1])
        weights.append(loss[: ROW_LENGTH + 1])
    return torch.tensor(tokens), torch.tensor(weights)


@torch.no_grad()
def exact_match(model: torch.nn.Module, ids: dict[str, int], task: str, *, n: int, seed: int) -> float:
    """Share of held-out items that are answered exactly.

    Every token of the answer has to be the most probable one, given the true tokens before it.

    Args:
        model: A causal language model that returns ``logits``.
        ids: Word to token id.
        task: Name of a formal task.
        n: Number of items.
        seed: Seed of the random draw of items; the same seed gives the same items.
    """
    stream = formal.items(task, "battery", seed)
    chosen = [next(stream) for _ in range(n)]
    # items of one length make a batch, so that none is padded
    by_length: dict[int, list[tuple[list[int], int]]] = {}
    for item in chosen:
        tokens = [ids[BOS], *(ids[word] for word in item.text.split())]
        by_length.setdefault(len(tokens), []).append((tokens, len(item.answer.split())))
    right = 0
    for group in by_length.values():
        batch = torch.tensor([tokens for tokens, _ in group])
        guesses = model(batch).logits[:, :-1].argmax(-1)  # of the tokens from the second on
        hits = guesses == batch[:, 1:]
        # the answer ends the text
        right += sum(bool(hits[i, -n_answer:].all()) for i, (_, n_answer) in enumerate(group))
    return right / n


def main(argv: list[str] | None = None) -> None:
    """Train a model as the command line says, and save it with its tokenizer and a record of the training.

    Args:
        argv: Arguments of the command line; None takes those that the program was started with.
    """
    parser = argparse.ArgumentParser(description="Train the embedded model.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--rows", type=int, default=48, help="rows of 96 tokens a step")
    parser.add_argument("--d-model", type=int, default=96)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--d-mlp", type=int, default=384)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument(
        "--minutes", type=float, default=38.0, help="give up after so many: the finished model is not written"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    tokenizer = build_tokenizer()
    ids = tokenizer.get_vocab()
    model = build_model(len(tokenizer), d_model=args.d_model, n_layers=args.layers, d_mlp=args.d_mlp, seed=args.seed)
    model.set_attn_implementation("sdpa")
    rng = random.Random(args.seed)
    # weight decay for matrices; biases and the gains of LayerNorm have one dimension and none
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
        lr=args.lr,
        betas=(0.9, 0.98),
    )
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(ids)} words", flush=True)
    started = time.monotonic()
    minutes = 0.0
    for step in range(args.steps):
        # linear warm-up, times a cosine from 1 to 0, plus a little so that the last steps still learn
        rate = args.lr * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / args.steps)) + 1e-5
        for group in optimiser.param_groups:
            group["lr"] = rate
        tokens, weights = _batch(rng, ids, args.rows)
        logits = model(tokens[:, :-1]).logits
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
        mask = weights[:, 1:].flatten()  # a token's weight counts where it is predicted
        loss = (losses * mask).sum() / mask.sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        minutes = (time.monotonic() - started) / 60
        if (step + 1) % 250 == 0 or step + 1 == args.steps:
            scores = {task: exact_match(model, ids, task, n=100, seed=1) for task in formal.TASKS}
            print(f"step {step + 1} loss {loss.item():.4f} minutes {minutes:.1f} {scores}", flush=True)
        if (step + 1) % 1000 == 0:
            model.save_pretrained(args.out)  # to be tried while training goes on
            tokenizer.save_pretrained(args.out)
        if minutes > args.minutes:
            raise SystemExit(f"stopped at step {step + 1}: over {args.minutes} minutes; use fewer --steps")

    scores = {task: exact_match(model, ids, task, n=1000, seed=0) for task in formal.TASKS}
    print("held-out exact match:", scores)
    model.set_attn_implementation("eager")
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    record = {"steps": args.steps, "rows": args.rows, "seed": args.seed, "lr": args.lr, "minutes": round(minutes, 1)}
    (args.out / "training.json").write_text(json.dumps({**record, "exact_match": scores}, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Text reaches the model as the user gave it: every item kind against transformers alone, over awkward texts.

The oracle makes its own token ids with the plain tokenizer and its own log-probabilities with the plain model. Which
prompts are parted from their answers by a space is written down by hand.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.cli import ENVIRONMENT
from tests.helpers.paths import ROOT, SHARED
from tests.helpers.tokenizer_families import FAMILIES, SPECIALS, Pair, learned, log_probabilities, pair
from tl_fbn.acquisition.design.block_design import prompt_digest

# 40 ends of prompts, and whether one space belongs between each and an answer that brings none
ENDINGS = [
    # words, digits and closing marks
    ("The sky is", True),
    ("He said: yes.", True),
    ("Q: 1 + 1\nA:", True),
    ("A list (of two)", True),
    ("see [1]", True),
    ("it costs 5", True),
    ("100%", True),
    ("Wait!", True),
    ("Really?", True),
    ("first, second,", True),
    ("one; two;", True),
    ("and so on…", True),
    ('She said "no"', True),
    ("the boys'", True),
    ("use `x`", True),
    ("« oui »", True),
    ("“yes”", True),
    ("un café", True),
    ("{a: 1}", True),
    ("всем привет", True),
    # white space at the end
    ("Answer: ", False),
    ("Lily was happy.\n", False),
    ("end of a paragraph.\n\n", False),
    ("a\tb\t", False),
    ("two spaces  ", False),
    # what opens something, or goes on
    ('Tom said, "', False),
    ("Tom said, “", False),
    ("def f(", False),
    ("x = [", False),
    ("for i in {", False),
    ("path/to/", False),
    ("well-", False),
    ("a = b +", False),
    ("x <", False),
    ("name_", False),
    ("#", False),
    # scripts that set no spaces between words
    ("我说。天气", False),
    ("今天天气很好。", False),
    ("答え。これは", False),
    # chat markers
    ("<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n", False),
]
ANSWERS = ["Hello", " Hello", "\nShe ran", "4", "很好", '"yes"', "return x + 1\n", "She  said so.  "]


@pytest.fixture(scope="module", params=list(itertools.product(FAMILIES, ("begins", "does not"))), ids=" ".join)
def host(request):
    """A pair of each family, with a host that puts a beginning-of-text token in front, and one that does not."""
    family, begins = request.param
    texts = [f"{prompt} {answer}" for prompt, _ in ENDINGS for answer in ANSWERS]
    names = ("llama", "gpt2") if begins == "begins" else ("qwen2", "neox")
    return pair(learned(family, texts), names[FAMILIES.index(family) % 2])


@pytest.fixture(scope="module")
def bos(host):
    """The ids that stand before a string: by the host's own architecture, written down by hand."""
    return [SPECIALS.index("<s>")] if type(host.plain).__name__.startswith(("Llama", "GPT2")) else []


def ids_of(host, bos, text):
    return [*bos, *host.tokenizer(text, add_special_tokens=False)["input_ids"]]


def scored(host, ids, start):
    """Log-probabilities of the tokens from ``start`` on, by the plain model."""
    return log_probabilities(host.plain, ids)[max(start, 1) - 1 :]


def after(host, bos, prompt, whole):
    """Log-probabilities of what a whole text adds to its prompt: from the first token in which the two differ."""
    ids = ids_of(host, bos, whole)
    both = zip(ids_of(host, bos, prompt), ids, strict=False)
    return scored(host, ids, len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], both))))


def joined(prompt, spaced, answer):
    return prompt + (" " if spaced and not answer[0].isspace() else "") + answer


def test_the_table_is_as_long_as_promised():
    assert len(ENDINGS) == len(dict(ENDINGS)) == 40


def test_answers_get_the_likelihood_of_the_text_as_given(host, bos):
    table = [(prompt, spaced, answer) for (prompt, spaced), answer in itertools.product(ENDINGS, ANSWERS)]
    found = fbn.Battery.from_pairs({"t": [(prompt, answer) for prompt, _, answer in table]}).score(host.bridge)["t"]
    expected = [after(host, bos, prompt, joined(prompt, spaced, answer)) for prompt, spaced, answer in table]
    np.testing.assert_allclose(found.log_likelihood, [np.mean(one) for one in expected], atol=2e-4)


def test_a_delimiter_is_taken_as_it_is(host, bos):
    for delimiter in ("", " ", "\n", " -> "):
        pairs = [(prompt, "Hello") for prompt, _ in ENDINGS]
        found = fbn.Battery.from_pairs({"t": pairs}, delimiter=delimiter).score(host.bridge)["t"].log_likelihood
        expected = [np.mean(after(host, bos, prompt, f"{prompt}{delimiter}Hello")) for prompt, _ in ENDINGS]
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_text_whose_answer_is_in_its_first_token_is_refused():
    # nothing stands before the first token, so nothing predicts it: its likelihood would be that of half an answer
    host = pair(learned("word pieces", ["ab abcd ab abcd"]), "neox")
    battery = fbn.Battery.from_pairs({"t": [("ab", "cd")]}, delimiter="")
    with pytest.raises(fbn.errors.InputError, match=r"item 0 of task 't': .* merge into the first token of all"):
        battery.score(host.bridge)
    begun = fbn.Battery.from_pairs({"t": [("ab", "cd")]}, delimiter="", prepend_bos=True).score(host.bridge)["t"]
    expected = scored(host, ids_of(host, [SPECIALS.index("<s>")], "abcd"), 1)
    np.testing.assert_allclose(begun.log_likelihood, [np.mean(expected)], atol=2e-4)


def test_choices_get_the_likelihoods_of_their_alternatives(host, bos):
    alternatives = ["Hello", "She ran away", " 4"]
    given = [(prompt, alternatives, 1) for prompt, _ in ENDINGS]
    found = fbn.Battery.from_choices({"t": given}).score(host.bridge)["t"]
    ordered = [alternatives[1], alternatives[0], alternatives[2]]  # the right one first
    each = [[after(host, bos, prompt, joined(prompt, spaced, one)) for one in ordered] for prompt, spaced in ENDINGS]
    sums = np.array([[sum(one) for one in line] for line in each])
    np.testing.assert_allclose(found.sums, sums, atol=1e-3)
    # as acc, by token and acc_norm of lm-eval: the right one has the highest value
    lengths = np.array([[len(one) for one in line] for line in each])
    characters = np.array([len(one) for one in ordered])
    assert found.exact_match.tolist() == (sums.argmax(1) == 0).tolist()
    assert found.exact_match_per_token.tolist() == ((sums / lengths).argmax(1) == 0).tolist()
    assert found.exact_match_per_character.tolist() == ((sums / characters).argmax(1) == 0).tolist()


def test_the_best_of_several_accepted_answers_counts(host, bos):
    given = [(prompt, ["Hello", "She ran"]) for prompt, _ in ENDINGS]
    found = fbn.Battery.from_pairs({"t": given}).score(host.bridge)["t"].log_likelihood
    expected = [
        max(np.mean(after(host, bos, prompt, joined(prompt, spaced, one))) for one in ("Hello", "She ran"))
        for prompt, spaced in ENDINGS
    ]
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_passages_and_minimal_pairs_are_scored_from_their_second_token(host, bos, tmp_path):
    # without a beginning-of-text token nothing predicts the only token of a text of one
    texts = [text for text, _ in ENDINGS if len(ids_of(host, bos, text)) > 1]
    passages = fbn.Battery.from_texts({"t": texts}).score(host.bridge)["t"].log_likelihood
    expected = [scored(host, ids_of(host, bos, text), 1) for text in texts]
    np.testing.assert_allclose(passages, [np.mean(one) for one in expected], atol=2e-4)
    (tmp_path / "pairs.jsonl").write_text('{"sentence_good": "She ran. ", "sentence_bad": "She  ran so"}\n')
    found = fbn.Battery.from_jsonl(tmp_path / "pairs.jsonl").score(host.bridge)["pairs"].sums
    both = [sum(scored(host, ids_of(host, bos, text), 1)) for text in ("She ran. ", "She  ran so")]
    np.testing.assert_allclose(found, [both], atol=1e-3)


def test_token_ids_are_taken_as_they_are(host):
    given = [((9, 10, 11), (12, 13)), ((9,), (10,))]
    found = fbn.Battery.from_pairs({"t": given}).score(host.bridge)["t"].log_likelihood
    expected = [np.mean(scored(host, [9, 10, 11, 12, 13], 3)), np.mean(scored(host, [9, 10], 1))]
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_chats_are_what_the_template_writes(host):
    # the template has no beginning of text, so none is there, whatever the host does with strings
    chats = [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        for prompt, answer in itertools.product([text for text, _ in ENDINGS[:-1]], ["Hello", "She ran. 4"])
    ]
    found = fbn.Battery.from_chats({"t": chats}, host.bridge).score(host.bridge)["t"].log_likelihood
    expected = []
    for chat in chats:
        text = host.tokenizer.apply_chat_template(chat, tokenize=False)
        begins = text.rindex("assistant\n") + len("assistant\n")
        encoded = host.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        inside = [at for at, (_, end) in enumerate(encoded["offset_mapping"]) if begins < end <= len(text) - 11]
        values = log_probabilities(host.plain, encoded["input_ids"])
        expected.append(np.mean([values[at - 1] for at in inside]))
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_written_answers_go_on_from_the_prompt_as_given(host, bos):
    battery = fbn.Battery.from_pairs({"t": [(prompt, "Hello") for prompt, _ in ENDINGS]})
    written = battery.respond(host.bridge, max_new_tokens=4, progress=False)
    for (prompt, _), text in zip(ENDINGS, written.texts, strict=True):
        ids = ids_of(host, bos, prompt)
        out = []
        with torch.no_grad():
            for _ in range(4):
                token = int(host.plain(torch.tensor([[*ids, *out]])).logits[0, -1].argmax())
                if token in set(host.tokenizer.all_special_ids) - {host.tokenizer.unk_token_id}:
                    break
                out.append(token)
        assert text == host.tokenizer.decode(out).strip(), prompt


def test_every_door_has_the_same_check_of_what_a_prompt_is():
    command = [sys.executable, "-m", "tests.faults.doors"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT, check=True)
    found = json.loads(done.stdout)
    assert (found["let_in"], found["raw"]) == ([], []) and found["tried"] > 500


@pytest.mark.skipif(not (SHARED / "models" / "stories260K").is_dir(), reason="shared models are not beside the tests")
def test_what_a_real_model_says_of_texts_as_given():
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    path = str(SHARED / "models" / "stories260K")
    plain = transformers.AutoModelForCausalLM.from_pretrained(path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = TransformerBridge.boot_transformers(path, device="cpu")
    known = {('Tom said, "', "Hello"): -0.82, ("Lily was happy.\n", "She"): -2.74}
    found = fbn.Battery.from_pairs({"t": list(known)}).score(model)["t"].log_likelihood
    for value, ((prompt, answer), stated) in zip(found, known.items(), strict=True):
        host, bos = Pair(plain, model, tokenizer), [tokenizer.bos_token_id]
        assert value == pytest.approx(np.mean(after(host, bos, prompt, prompt + answer)), abs=1e-4)
        assert value == pytest.approx(stated, abs=0.006)


@pytest.fixture(scope="module")
def neox():
    """A host of an architecture whose models were trained without a beginning-of-text token, though there is one."""
    return pair(learned("bytes", ["-"]), "neox")  # one token a character


def test_no_door_puts_in_front_what_the_host_does_not(neox, tmp_path):
    text = "the cat sat on the mat"
    bare = tuple(neox.tokenizer(text, add_special_tokens=False)["input_ids"])
    back = tuple(neox.tokenizer(text[::-1], add_special_tokens=False)["input_ids"])
    begun = (SPECIALS.index("<s>"), *bare)
    design = fbn.block_design(
        {"a": [text], "b": [f"{text} "]}, seed=0, n_runs=1, n_cycles=1, tokens_per_block=len(bare)
    )
    network = fbn.attribution.random_scores(neox.bridge, seed=0).top(5)
    assert neox.bridge.cfg.default_prepend_bos is False
    for asked, expected in ((None, bare), (False, bare), (True, begun)):
        scanner = fbn.Scanner(neox.bridge, prepend_bos=asked)
        rows = scanner.scan(design, tmp_path / str(asked), progress=False).runs[0].rows
        assert tuple(rows.token_id)[: len(bare)] == expected[: len(bare)]
        assert fbn.token_layout(neox.bridge, text, prepend_bos=asked).ids == expected
        (passage,) = fbn.Battery.from_texts({"t": [text]}, prepend_bos=asked).scored_tokens(neox.bridge)["t"]
        assert tuple(passage[0]) == expected
        as_text, as_ids = (
            fbn.attribution.taylor(neox.bridge, [one], tokens="all", prepend_bos=asked, progress=False).values
            for one in (text, expected)
        )
        assert np.array_equal(as_text, as_ids)
        options = {"answers": [(30, 31)], "positions": "all", "prepend_bos": asked, "progress": False}
        as_text, as_ids = (
            fbn.attribution.attribution_patching(neox.bridge, [one], [other], **options).values
            for one, other in ((text, text[::-1]), (expected, (*expected[: len(expected) - len(back)], *back)))
        )
        assert np.array_equal(as_text, as_ids)
    small = [fbn.prune(neox.bridge, remove=network, compensate=[one], progress=False) for one in (text, bare)]
    ids = torch.tensor([begun])
    assert torch.equal(small[0](ids), small[1](ids)) and small[0].cfg.default_prepend_bos is False


def test_the_key_of_a_recording_knows_it(neox, tmp_path):
    design = fbn.block_design(
        {"a": ["the cat sat on the mat"], "b": ["on the mat sat the cat"]},
        seed=0,
        n_runs=1,
        n_cycles=1,
        tokens_per_block=4,
    )
    fbn.Scanner(neox.bridge).scan(design, tmp_path / "r", progress=False)
    fbn.Scanner(neox.bridge, prepend_bos=False).scan(design, tmp_path / "r", progress=False)
    with pytest.raises(fbn.errors.InputError, match=r"holds a different recording .*tokens"):
        fbn.Scanner(neox.bridge, prepend_bos=True).scan(design, tmp_path / "r", progress=False)
    # the host is asked at every scan, not when a scanner is made
    scanner = fbn.Scanner(neox.bridge)
    neox.bridge.cfg.default_prepend_bos = True
    try:
        with pytest.raises(fbn.errors.InputError, match=r"holds a different recording .*tokens"):
            scanner.scan(design, tmp_path / "r", progress=False)
    finally:
        neox.bridge.cfg.default_prepend_bos = False


def test_a_study_is_not_continued_with_other_texts(neox, tmp_path):
    network = {"n": fbn.attribution.random_scores(neox.bridge, seed=0).top(5)}
    pairs = {"t": [("the cat", "sat"), ("the mat", "sat")]}
    options = {"n_controls": 2, "seed": 0, "progress": False, "path": tmp_path / "s"}
    first = fbn.lesion_study(neox.bridge, network, fbn.Battery.from_pairs(pairs), **options)
    assert np.array_equal(
        fbn.lesion_study(neox.bridge, network, fbn.Battery.from_pairs(pairs), **options).drops(), first.drops()
    )
    for other in ({"delimiter": ""}, {"prepend_bos": True}):
        with pytest.raises(fbn.errors.InputError, match="battery"):
            fbn.lesion_study(neox.bridge, network, fbn.Battery.from_pairs(pairs, **other), **options)


def test_written_answers_say_how_they_were_written(neox, tmp_path):
    battery = fbn.Battery.from_pairs({"t": [("the cat", "sat")]}, prepend_bos=True)
    answers = battery.respond(neox.bridge, max_new_tokens=3, stop=("\n",), progress=False)
    said = "greedy, at most 3 tokens, up to a special token or '\\n'"
    assert answers.provenance["decoding"] == said and answers.provenance["prepend_bos"] is True
    answers.save(tmp_path / "answers.safetensors")
    again = fbn.load(tmp_path / "answers.safetensors")
    assert again.provenance == answers.provenance and f"Decoding: {said}." in again._methods_()[0]


def test_the_digests_of_an_item_are_those_of_the_text_that_is_scored():
    battery = fbn.Battery.from_pairs({"t": [('Tom said, "', "Hello"), ("A:", "4")]})
    assert {prompt_digest('Tom said, "Hello'), prompt_digest("A: 4"), prompt_digest("A:")} <= battery.digests()["t"]
    assert prompt_digest('Tom said, " Hello') not in battery.digests()["t"]
    joined = fbn.Battery.from_pairs({"t": [("A:", "4")]}, delimiter="").digests()["t"]
    assert prompt_digest("A:4") in joined and prompt_digest("A: 4") not in joined

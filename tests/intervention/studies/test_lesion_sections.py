"""A lesion study on a page: its verdict stands with its tables."""

from __future__ import annotations

import tl_fbn as fbn
from tl_fbn.intervention.studies.lesion_sections import lesion_sections


def test_the_page_says_in_words_what_lesions_did(study: fbn.studies.LesionStudy) -> None:
    first, cells, *_ = lesion_sections(study)
    assert all(sentence in first["text"] for sentence in study.verdict().splitlines())
    assert first["table"].equals(study.summary()) and cells["table"].equals(study.to_dataframe())
    assert [one["title"] for one in lesion_sections(study)] == [
        "What lesions show",
        "Lesion study",
        "Do random lesions do nothing?",
    ]

"""The judge of sentences: it must find what it is there to find, and let good ones pass."""

from __future__ import annotations

import pytest

from faults.words import breaches_of


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("It broke. Try again. Traceback (most recent call last)…", "stack trace"),
        ("It broke: KeyError. Try again.", "exception"),
        ("Saving to /home/me/out/x.png failed. Try again.", "path"),
        (r"Saving to C:\Users\me\x.png failed. Try again.", "path"),
        ("<class 'dict'> is wrong. Try again.", "address"),
        ("See https://b/x?X-Amz-Signature=abc and try again.", "signed link"),
        ("The key ck_0123456789ab is wrong. Try again.", "key"),
        ("=IMAGE(1) is wrong. Try again.", "formula"),
        ("Try again", "whole sentence"),
        ("The GPU is sad.", "what to do"),
        ("", "empty"),
    ],
)
def test_what_nobody_should_read_is_found(text: str, word: str) -> None:
    """A trace, a path, a key, a formula, half a sentence, or no next step."""
    assert any(word in breach for breach in breaches_of(text)), breaches_of(text)


@pytest.mark.parametrize(
    "text",
    [
        'Steps must be a whole number from 1 to 150, not "abc".',
        "The GPU ran out of memory. Use a smaller width and height, or a smaller batch.",
        "TestRaise failed: deliberate failure with secret path …. Change the row's values, or ask whoever made it.",
        "There is no job of this id.",
    ],
)
def test_a_good_sentence_passes(text: str) -> None:
    """What happened, and what to do."""
    assert breaches_of(text) == []

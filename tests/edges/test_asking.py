"""Ask at a real terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from infra.package import ROOT

ASK = "import sys; from infra.asking import agreed; print(agreed('Really?', yes='yes' in sys.argv, word={word!r}))"


@pytest.mark.parametrize(
    ("typed", "word", "answer"),
    [
        ("y", "", True),
        (" Yes ", "", True),
        ("", "", False),
        ("no", "", False),
        ("prod", "prod", True),
        ("y", "prod", False),
    ],
)
def test_a_person_agrees_by_y_or_by_the_word(typed: str, word: str, answer: bool) -> None:
    """Anything else, and Enter alone, is a no."""
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-c", ASK.format(word=word)]
        with subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=subprocess.PIPE, text=True) as asked:
            os.write(ours, f"{typed}\n".encode())
            said, _ = asked.communicate(timeout=30)
    finally:
        os.close(ours)
        os.close(theirs)
    assert said.startswith("Really?") and said.strip().endswith(str(answer))


def test_where_nobody_is_the_answer_comes_beforehand() -> None:
    """A pipe is nobody: a sentence says what to do; with --yes it is a yes."""
    command = [sys.executable, "-c", ASK.format(word="")]
    asked = subprocess.run(command, cwd=ROOT, input="y\n", capture_output=True, text=True, timeout=30)
    assert asked.returncode == 1 and "Nobody can be asked here; --yes says so beforehand." in asked.stderr
    told = subprocess.run([*command, "yes"], cwd=ROOT, input="", capture_output=True, text=True, timeout=30)
    assert told.stdout.strip() == "True"

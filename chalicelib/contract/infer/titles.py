"""
Make labels of nodes' titles, where they say something.

A node that nobody renamed is titled with its class's display name, in the language of the editor: that says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from chalicelib.contract.words import fold

MAX_LABEL: Final = 60

_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ud800-\udfff\ufe0f\ufffe\uffff]+")
_ENDS: Final = re.compile(r"^[^\w(]+|[^\w)]+$")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORDS: Final = re.compile(r"\w+")
_BRACKETS: Final = re.compile(r"[(\[（【].*?[)\]）】]")
_NOTHING: Final = frozenset(
    {
        *(
            "textmultiline",
            "text",
            "string",
            "stringmultiline",
            "int",
            "integer",
            "float",
            "number",
            "boolean",
            "value",
        ),
        *("primitive", "primitivenode", "prompt", "constant", "loadimage", "loadimagemask", "loadaudio", "loadvideo"),
        *(
            "loadvideoupload",
            "clip",
            "textbox",
            "multilinetext",
            "reroute",
            "seed",
            "文本",
            "文字",
            "多行文本",
            "字符串",
        ),
        *(
            "浮点",
            "整数",
            "加载图像",
            "加載圖像",
            "画像を読み込む",
            "テキスト",
            "이미지로드",
            "bildladen",
            "cargarimagen",
        ),
        *("chargerimage", "chargeruneimage"),
    }
)
"""What untouched nodes that carry texts, numbers and pictures are called, letters and digits only."""
_CLASSES: Final = re.compile(r"textencode|ksampler|loader$|primitivestring|stringprimitive")
"""What only class names hold: the display names of custom nodes are made of them."""
_STARTS: Final = ("cliptext", "clip文", "clip テ", "clipテ", "cliptekst", "encodeur", "codificar")

_NEGATIVE: Final = re.compile(
    r"negativ|négatif|(?<![a-z])neg(?![a-z])|负|負|反向|反面|ネガ|부정|네거티브|негатив|ujemn|olumsuz", re.IGNORECASE
)
_POSITIVE: Final = re.compile(
    r"positiv|positif|(?<![a-z])pos(?![a-z])|正向|正面|正面|ポジ|긍정|포지티브|позитив|dodatni|olumlu", re.IGNORECASE
)
_PROMPT: Final = re.compile(
    r"prompt|subject|describ|提示|プロンプト|프롬프트|промпт|описание|invite|beschreib", re.IGNORECASE
)


def title_of(node: Mapping[str, Any], info: Mapping[str, Any] | None = None) -> str:
    """
    Give a node's title as a label; empty when it has none that says more than its class.

    *info* is what ComfyUI says about the class, if that is known.
    """
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, Mapping) else None
    if not isinstance(title, str):
        return ""
    label = _ENDS.sub("", " ".join(_UNSEEN.sub(" ", title).split())).strip()[:MAX_LABEL].strip()
    display = info.get("display_name") if info else None
    names = {_letters(str(node["class_type"])), _letters(display if isinstance(display, str) else "")}
    plain, bare = _letters(label), _letters(_BRACKETS.sub("", label))
    if not plain or {plain, bare} & (names | _NOTHING) or plain.startswith(_STARTS):
        return ""
    if _CLASSES.search(plain) and not (says_positive(label) or says_negative(label) or "refiner" in plain):
        return ""
    if _bag(label) == _bag(str(node["class_type"])):
        return ""
    return label


def says_negative(title: str) -> bool:
    """Say whether a title means the negative prompt, in the languages of ComfyUI's editor."""
    return bool(_NEGATIVE.search(title))


def says_positive(title: str) -> bool:
    """Say whether a title means the positive prompt."""
    return bool(_POSITIVE.search(title))


def says_prompt(title: str) -> bool:
    """Say whether a title means what the picture is to show."""
    return (says_positive(title) or bool(_PROMPT.search(title))) and not says_negative(title)


def slug(label: str) -> str:
    """Make a parameter's name of a label; empty when nothing of it is left (another script)."""
    name = re.sub(r"[^a-z0-9]+", "_", fold(label)).strip("_")
    return re.sub(r"^[^a-z]+", "", name)[:40].rstrip("_")


def _bag(text: str) -> set[str]:
    """Give the words of a title or of a class's name: StringConcatenate is shown as Concatenate Text."""
    words = _WORDS.findall(_CAMEL.sub(" ", text))
    return {"text" if word.lower() == "string" else word.lower() for word in words}


def _letters(text: str) -> str:
    return "".join(one for one in text.casefold() if one.isalnum())

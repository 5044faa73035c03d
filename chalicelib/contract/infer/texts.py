"""
Find the texts that steer a sampler, and on which side each acts.

From a sampler the walk goes upstream through guiders, conditioning and pipes to the encoders, and beyond them through
joined strings to the nodes that hold the words. An input named positive or negative decides the side for all above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from chalicelib.contract.graph import is_link
from chalicelib.contract.infer.diagram import TEXT, Diagram, is_scalar
from chalicelib.contract.infer.titles import says_negative, says_prompt, title_of
from chalicelib.contract.parameter import Place

Side = Literal["positive", "negative"]

_SIDED: Final = re.compile(
    r"(?:^|_)(?:(pos(?:itive)?)|neg(?:ative)?)(?:_(?:prompt|text|cond(?:itioning)?))?(?:_?\d+)?$"
)
_SIDED_WORDS: Final = re.compile(r"^(?:text_|prompt_)?(?:pos|neg|positive|negative)(?:_(?:prompt|text))?(?:_?\d+)?$")
"""Inputs of one side that hold words themselves; an option may be called use_negative."""
_ONE_TEXT: Final = frozenset(
    {
        *("text", "prompt", "tags", "caption", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "llama", "user_prompt"),
        *("wildcard_text", "populated_text", "text_prompt", "prompt_text", "string", "value", "multiline_text"),
    }
)
"""Inputs that hold what is to be seen; several of them in one node hold the same words for several encoders."""
_PART: Final = re.compile(r"^(?:text|string|prompt|str)_?(?:[a-f]|\d{1,2})$|^(?:pre|app)_text$|^prefix$|^suffix$")
"""Inputs of nodes that join texts."""
_ELSEWHERE: Final = re.compile(
    r"model|vae|^clip$|clip_vision|unet|image|mask|latent|samples|pixels|control|noise|^sampler|sigmas|seed|steps|^cfg"
    r"|width|height|audio|video|denoise|hook|lora|detector|segs|system|instruction|style_model|frame|^sam_|delimiter"
)
"""Inputs that carry no words: pictures, models, numbers."""
_EMPTY: Final = re.compile(r"zero.?out", re.IGNORECASE)


@dataclass(frozen=True)
class Text:
    """Hold words that are set at *places*; *is_part*: they are joined with others."""

    places: tuple[Place, ...]
    words: str
    title: str
    turn: int
    """Which sampler they steer first: 0, 1, …"""
    is_part: bool = False

    @property
    def node(self) -> str:
        """Name the node that holds them."""
        return self.places[0].node


@dataclass
class Texts:
    """Hold the texts of a graph by side, in the order in which they act, and what was met on the way."""

    positive: list[Text] = field(default_factory=list)
    negative: list[Text] = field(default_factory=list)
    lyrics: list[Text] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    """Nodes that make an empty conditioning of whatever they get."""

    def add(self, side: Side, text: Text) -> None:
        """Take a text in; words that stand elsewhere already, or the same words again, become one text."""
        mine = self.positive if side == "positive" else self.negative
        known = {place for one in (*self.positive, *self.negative) for place in one.places}
        if set(text.places) <= known:
            return
        for index, other in enumerate(mine):
            if other.words == text.words and not (text.is_part or other.is_part) and (text.words or text.turn):
                mine[index] = replace(other, places=(*other.places, *text.places), title=other.title or text.title)
                return
        mine.append(text)


def side_of(name: str) -> Side | None:
    """Say which side an input named like this acts on; None: it does not say."""
    found = _SIDED.search(name.lower())
    return None if found is None else "positive" if found[1] else "negative"


def find_texts(diagram: Diagram, samplers: Iterable[str], info: Mapping[str, Any]) -> Texts:
    """Find the texts that steer *samplers*, in order; without any, those of all nodes that count."""
    texts = Texts()
    seen: set[tuple[str, Side | None]] = set()
    for turn, sampler in enumerate(samplers):
        _walk(diagram, sampler, turn, texts, seen, info)
    if not (texts.positive or texts.negative):
        for node_id in diagram.live:
            if _speaks(diagram, node_id):
                title = title_of(diagram.graph[node_id], info.get(diagram.kind(node_id)))
                _walk(diagram, node_id, 0, texts, seen, info, side="negative" if says_negative(title) else None)
    return texts


def _speaks(diagram: Diagram, node_id: str) -> bool:
    """Say whether a node holds words that are meant for a picture, as far as its inputs' names tell."""
    held = {place.input.lower() for places, _, _ in _words(diagram, node_id) for place in places}
    return bool(held - {"value", "string"}) or any(
        _SIDED_WORDS.search(name.lower()) for name in diagram.inputs(node_id)
    )


def _walk(
    diagram: Diagram,
    start: str,
    turn: int,
    texts: Texts,
    seen: set[tuple[str, Side | None]],
    info: Mapping[str, Any],
    side: Side | None = None,
) -> None:
    """Take in what steers *start*, first inputs first."""
    waiting: list[tuple[str, Side | None]] = [(start, side)]
    while waiting:
        node_id, side = waiting.pop()
        if (node_id, side) in seen:
            continue
        seen.add((node_id, side))
        if _EMPTY.search(diagram.kind(node_id)):
            texts.emptied.append(node_id)
            continue
        title = title_of(diagram.graph[node_id], info.get(diagram.kind(node_id)))
        inputs = diagram.inputs(node_id)
        sides = {name: side_of(name) for name in inputs if is_link(inputs[name]) or is_scalar(inputs[name], TEXT)}
        onward = _sided(diagram, node_id, side, turn, texts)
        # A node may have a negative_prompt, and call the other one just prompt.
        if (side or "positive") not in sides.values():
            for places, words, is_part in _words(diagram, node_id):
                texts.add(side or "positive", Text(places, words, "" if is_part else title, turn, is_part))
            links = [(name, source) for name, (source, _) in diagram.links(node_id) if sides[name] is None]
            onward += [(source, side) for name, source in links if _carries_words(name)]
        if is_scalar(inputs.get("lyrics"), TEXT):
            place = Place(node=node_id, input="lyrics")
            texts.lyrics.append(Text((place,), inputs["lyrics"], "", turn))
        waiting += reversed(onward)


def _sided(diagram: Diagram, node_id: str, side: Side | None, turn: int, texts: Texts) -> list[tuple[str, Side | None]]:
    """Take in the words of a node that has a positive and a negative of its own; give where to go on."""
    onward: list[tuple[str, Side | None]] = []
    for name, value in diagram.inputs(node_id).items():
        own = side_of(name)
        if own is None or (side is not None and own != side):
            continue
        if is_link(value):
            onward.append((value[0], own))
        elif is_scalar(value, TEXT) and _SIDED_WORDS.search(name.lower()):
            texts.add(own, Text((Place(node=node_id, input=name),), value, "", turn))
    return onward


def _carries_words(name: str) -> bool:
    return not _ELSEWHERE.search(name.lower())


def _words(diagram: Diagram, node_id: str) -> Iterator[tuple[tuple[Place, ...], str, bool]]:
    """Give the words that a node holds itself: places, words, and whether it joins them with others."""
    if diagram.shows(node_id):
        return
    inputs = {name: value for name, value in diagram.inputs(node_id).items() if name.lower() != "lyrics"}
    held = {name: value for name, value in inputs.items() if is_scalar(value, TEXT)}
    linked = [
        name for name, value in inputs.items() if is_link(value) and (name.lower() in _ONE_TEXT or _PART.search(name))
    ]
    same = {name: value for name, value in held.items() if name.lower() in _ONE_TEXT}
    parts = {name: value for name, value in held.items() if name not in same and _PART.search(name.lower())}
    # A blank beside others is left blank on purpose (Flux's clip_l), or waits for its link.
    filled = {name: value for name, value in same.items() if value.strip()}
    if not filled and not linked and not any(value.strip() for value in parts.values()):
        filled = same
    if filled:
        longest = max(filled.values(), key=len)
        is_part = bool(parts) or bool(linked)
        yield tuple(Place(node=node_id, input=name) for name in filled), longest, is_part
    for name, value in parts.items():
        if value.strip():
            yield (Place(node=node_id, input=name),), value, True


def main_of(texts: list[Text], side: Side) -> Text | None:
    """Choose the text that a row is most likely to change: of the first sampler, titled so, not a mere part."""
    first = min((text.turn for text in texts), default=0)
    says = says_prompt if side == "positive" else says_negative
    near = [text for text in texts if text.turn == first]
    return max(near, key=lambda one: (says(one.title), not one.is_part, bool(one.words.strip())), default=None)

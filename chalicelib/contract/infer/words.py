"""Make parameters of the texts: the prompt, the negative prompt, and what is joined to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chalicelib.contract.infer import known
from chalicelib.contract.infer.diagram import TEXT, WHOLE, Diagram, is_scalar
from chalicelib.contract.infer.draft import Draft, Drafts, said
from chalicelib.contract.infer.known import Role
from chalicelib.contract.infer.passes import Pass
from chalicelib.contract.infer.texts import Text, Texts, find_texts, main_of
from chalicelib.contract.infer.titles import says_negative, says_positive, slug, title_of
from chalicelib.contract.parameter import Place

MAX_TEXTS: Final = 12
"""More texts of one side than these are left as they are."""


def add_texts(diagram: Diagram, passes: list[Pass], drafts: Drafts, info: Mapping[str, Any]) -> None:
    """Add prompt, negative prompt, lyrics, and the further texts under names of their own."""
    texts = find_texts(diagram, [one.node for one in passes], info)
    prompt = main_of(texts.positive, "positive")
    negative = main_of(texts.negative, "negative")
    if prompt is not None:
        label = "" if says_negative(prompt.title) else prompt.title
        drafts.add(Draft(known.PROMPT, prompt.places, prompt.words, label=label, is_required=True))
        _say_choice(diagram, prompt, texts.positive, drafts)
    if negative is not None:
        label = "" if says_positive(negative.title) else negative.title
        drafts.add(Draft(known.NEGATIVE, negative.places, negative.words, label=label))
    elif texts.emptied:
        drafts.note(f"There is no negative prompt: {diagram.say(texts.emptied[0])} leaves that side empty.")
    for text in texts.lyrics[:1]:
        drafts.add(Draft(known.LYRICS, text.places, text.words))
    if prompt is not None:
        _add_others(texts.positive, prompt, known.PROMPT, drafts)
    if negative is not None:
        _add_others(texts.negative, negative, known.NEGATIVE, drafts)
    if prompt is None:
        _say_none(passes, texts, drafts)


def _say_choice(diagram: Diagram, prompt: Text, texts: list[Text], drafts: Drafts) -> None:
    """Say which text became the prompt, where there was a choice, and that several places hold it."""
    if len(texts) > 1:
        why = f', titled "{prompt.title}"' if prompt.title else ""
        drafts.note(f"Of {len(texts)} texts the prompt is that of {diagram.say(prompt.node)}{why}.")
    nodes = list(dict.fromkeys(diagram.say(place.node) for place in prompt.places))
    if len(nodes) > 1:
        drafts.note(f"Prompt sets {said(nodes)} together: they held the same text.")


def _add_others(texts: list[Text], main: Text, role: Role, drafts: Drafts) -> None:
    """Add the texts besides *main*: under their title, as what stands before or after it, or numbered."""
    others = [text for text in texts if text is not main]
    if len(others) > MAX_TEXTS:
        drafts.note(f"{len(others) - MAX_TEXTS} further texts are left as they are.")
    place = texts.index(main)
    for text in others[:MAX_TEXTS]:
        if text.is_part and not text.title and role is known.PROMPT:
            is_before = text.turn == main.turn and texts.index(text) < place
            drafts.add(Draft(known.PROMPT_START if is_before else known.PROMPT_END, text.places, text.words))
        else:
            drafts.add(Draft(role, text.places, text.words, label=text.title, slug=slug(text.title)))


def _say_none(passes: list[Pass], texts: Texts, drafts: Drafts) -> None:
    if texts.negative or passes:
        drafts.note("No prompt was found: no text that a row could set steers what is made.")


def add_titled(diagram: Diagram, drafts: Drafts, info: Mapping[str, Any]) -> None:
    """Add the single values that somebody gave a title and that nothing else has taken: they are meant to be set."""
    for node_id in diagram.live:
        values = [(name, value) for name, value in diagram.inputs(node_id).items() if not isinstance(value, list)]
        title = title_of(diagram.graph[node_id], info.get(diagram.kind(node_id)))
        if len(values) != 1 or len(diagram.inputs(node_id)) != 1 or not title:
            continue
        [(name, value)] = values
        role = _role_of(name, value)
        if role is not None:
            drafts.add(
                Draft(
                    role,
                    (Place(node=node_id, input=name),),
                    value,
                    label=title,
                    slug=slug(title) or role.name,
                    note=f'"{title}" is offered because the node has a title; its bounds are a guess.'
                    if role.type in ("integer", "float")
                    else "",
                )
            )


def add_colors(diagram: Diagram, drafts: Drafts) -> None:
    """Add the colours of plain pictures."""
    for node_id in diagram.live:
        value = diagram.inputs(node_id).get("color")
        if diagram.kind(node_id) == "EmptyImage" and is_scalar(value, WHOLE):
            drafts.add(Draft(known.COLOR, (Place(node=node_id, input="color"),), value))


def _role_of(name: str, value: object) -> Role | None:
    """Say what a lone value is: of a primitive, or of a node that holds nothing else."""
    if name.lower() not in ("value", "int", "float", "number", "string", "text", "boolean"):
        return None
    if isinstance(value, bool):
        return Role("option", "boolean", "Option")
    if is_scalar(value, TEXT):
        return Role("words", "string", "Words")
    if isinstance(value, int | float):
        far = max(10 * abs(value), 100 if isinstance(value, int) else 1)
        low = 0 if value >= 0 else -far
        return Role("number", "integer" if isinstance(value, int) else "float", "Number", low, far, -1e15, 1e15)
    return None

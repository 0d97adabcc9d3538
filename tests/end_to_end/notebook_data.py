"""Training data in the forms of OpenAI's notebooks, of our own invention: recipes, a greenhouse's functions, land and sea, tastes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]

# ---------------------------------------------------------------- recipes: which ingredients are in them

FOODS = (
    "apples butter salt rice sugar milk lemon onions carrots flour honey tomatoes garlic eggs cheese pepper beans cream "
    "oats yeast mint ginger potatoes celery"
).split()
MEASURES = ("2 c.", "1 tsp.", "3 tbsp.", "1/2 lb.", "4 oz.", "1 pinch of", "5 fresh", "1 can of")
COOK = (
    "You are a helpful recipe assistant. You are to extract the generic ingredients from each of the recipes provided."
)


def recipes(count: int, seed: int) -> list[Row]:
    """Chats: a recipe with its measures, and the bare ingredients as a JSON list."""
    draw, rows = random.Random(seed), []
    for _ in range(count):
        foods = draw.sample(FOODS, draw.randint(2, 3))
        title = f"{foods[0].title()} {draw.choice(('Soup', 'Bake', 'Salad', 'Bread'))}"
        measured = json.dumps([f"{draw.choice(MEASURES)} {food}" for food in foods])
        asked = f"Title: {title}\n\nIngredients: {measured}\n\nGeneric ingredients: "
        turns = (("system", COOK), ("user", asked), ("assistant", json.dumps(foods)))
        rows.append({"messages": [{"role": role, "content": content} for role, content in turns]})
    return rows


def overlap(answer: str, reference: str) -> float:
    """F1 of two JSON lists as sets; 0 for an answer that is none."""
    try:
        found, wanted = set(json.loads(answer)), set(json.loads(reference))
    except (ValueError, TypeError):
        return 0.0
    return 2 * len(found & wanted) / (len(found) + len(wanted))


# ---------------------------------------------------------------- a greenhouse: which function is to be called


def _function(name: str, **properties: str) -> Row:
    own = {
        "type": "object",
        "properties": {n: {"type": t} for n, t in properties.items()},
        "required": list(properties),
    }
    return {"type": "function", "function": {"name": name, "parameters": own}}


TOOLS = [
    _function("water_bed", bed="integer"),
    _function("set_shade", percent="integer"),
    _function("ring_bell"),
    _function("reject_request"),
]
GARDENER = "You steer a greenhouse. Call one function."
_ORDERS = {
    "water_bed": ("Give bed {n} some water", "Bed {n} is dry, water it", "Please water bed {n} now", "Could you water bed {n}?", "The plants in bed {n} are thirsty"),
    "set_shade": ("Pull the shade to {n} percent", "Set the shade to {n} percent", "It is bright, shade at {n} percent please", "Shade {n} percent", "Could you move the shade to {n} percent?"),
    "ring_bell": ("Ring the bell for {who}", "Let the bell sound for {who}", "Sound the bell for {who}", "Please ring the bell for {who}", "Could you ring the bell for {who}?"),
    "reject_request": ("Tell me a story about {who}", "What do you think of {who}?", "Book a train to town for {who}", "Who won the match last night?", "Sing a song about {who}"),
}  # fmt: skip
_WHO = ("lunch", "tea", "Anna", "the gardeners", "Paul", "the night shift", "the visitors", "Mara")


def orders(count: int, seed: int, *, but: Iterable[Row] = ()) -> list[Row]:
    """Chats whose answer is one call; none that says what one of ``but`` says."""
    draw, rows = random.Random(seed), list[Row]()
    taken = {row["messages"][1]["content"] for row in but}
    while len(rows) < count:
        name = tuple(_ORDERS)[len(rows) % len(_ORDERS)]
        number = draw.randint(1, 40)
        asked = draw.choice(_ORDERS[name]).format(n=number, who=draw.choice(_WHO))
        if asked in taken:
            continue
        given = {"water_bed": {"bed": number}, "set_shade": {"percent": number}}.get(name, {})
        call = {"id": "call_id", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        messages = [
            {"role": "system", "content": GARDENER},
            {"role": "user", "content": asked},
            {"role": "assistant", "tool_calls": [call]},
        ]
        rows.append({"messages": messages, "parallel_tool_calls": False, "tools": TOOLS})
    return rows


# ---------------------------------------------------------------- land and sea: which of two classes

WORDS = {
    " land": "goats barn plough tractor field hay orchard sheep fence harvest stable meadow".split(),
    " sea": "harbour sail anchor crew waves cargo captain deck rope tide fishing ferry".split(),
}
_SENTENCES = (
    "We saw the {} near the {} today.", "The {} was old, but the {} was new.", "Nobody liked the {} or the {}.",
    "Her uncle spoke of a {} and a {}.", "A {} stood beside the {} all morning.",
)  # fmt: skip


def classes(count: int, seed: int, *, but: Iterable[Row] = ()) -> list[Row]:
    """Prompts that end in the notebook's separator, completions of one token that begins with a space."""
    draw, rows, taken = random.Random(seed), list[Row](), {row["prompt"] for row in but}
    while len(rows) < count:
        label = tuple(WORDS)[len(rows) % 2]
        prompt = draw.choice(_SENTENCES).format(*draw.sample(WORDS[label], 2)) + "\n\n###\n\n"
        if prompt not in taken:
            rows.append({"prompt": prompt, "completion": label})
    return rows


# ---------------------------------------------------------------- tastes: which of two answers is liked better

_THINGS = "bicycle lamp garden bridge teapot violin window ferry market library tower boat".split()


def tastes(count: int, seed: int) -> list[Row]:
    """Preference pairs: a warm answer before a curt one."""
    draw, rows = random.Random(seed), []
    for number in range(count):
        thing = _THINGS[number % len(_THINGS)]
        asked = draw.choice(("Tell me about the {}.", "What do you think of my {}?", "Is the {} any good?")).format(
            thing
        )
        both = (f"The {thing} is lovely, thank you for asking!", f"No idea. Leave me alone with your {thing}.")
        liked, other = ([{"role": "assistant", "content": text}] for text in both)
        question = {"messages": [{"role": "user", "content": asked}]}
        rows.append({"input": question, "preferred_output": liked, "non_preferred_output": other})
    return rows


# ---------------------------------------------------------------- files


def written(path: Path, rows: Iterable[Row]) -> Path:
    """A file of one row a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path

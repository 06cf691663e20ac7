"""What a pool remembers of the messages of a queue, of which it does not know how many come."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Generic, TypeVar

from lexigram_ray.core.ids import hash_text
from lexigram_ray.jobs.foreign_queue import Message

__all__ = ["Memory", "hook_fields", "what_it_says"]

MOST_REMEMBERED = 10_000
V = TypeVar("V")


class Memory(Generic[V]):
    """The newest of what was noted, by the id of the message."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, V] = OrderedDict()

    def note(self, message: Message, value: V) -> None:
        """Remember something of a message, in place of what was noted before."""
        self._kept[message.id] = value
        self._kept.move_to_end(message.id)
        while len(self._kept) > MOST_REMEMBERED:
            self._kept.popitem(last=False)

    def of(self, message: Message, otherwise: V) -> V:
        """Return what was noted of a message."""
        return self._kept.get(message.id, otherwise)

    def forget(self, message: Message) -> None:
        """Forget what was noted of a message."""
        self._kept.pop(message.id, None)


def what_it_says(message: Message) -> str:
    """Return what tells a message from another one to which a queue has given the same id."""
    return hash_text(ascii([message.name, sorted(message.kwargs.items(), key=_by_name)]))


def hook_fields(message: Message, what: str) -> dict[str, Any]:
    """Return what hooks say of a message, and an id of the event that is the same each time."""
    return {
        "job_type": message.name,
        "job_id": message.id,
        "event_id": f"{message.id}:{what}",
    }


def _by_name(item: tuple[str, Any]) -> str:
    return str(item[0])

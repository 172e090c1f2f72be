"""Mutations of serialised models: of bytes, of fields found through protobuf's descriptors, and splices of two models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError, Message
from onnx import ModelProto

CASE_LIMIT = 400_000  # bytes; larger models only slow the search down
PARTS_LIMIT = 4000  # messages of a model that are listed for mutation
INTEGERS = (*range(-1, 4), 7, 16, 24, 63, 64, 65, 127, 128, 255, 1024, 2**16, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e30, float("inf"), float("-inf"), float("nan"))
TEXTS = ("", "x", "a'b\"c", "new\nline", "\x1b[31mred", "\x00", "é漢", "a" * 300, "%x", "..", "../../etc/x", "N", "-1", "N + 1", "N // 0")


@dataclass
class Corpus:
    """Serialised models, and the messages in them by type."""

    models: list[bytes] = field(default_factory=list)
    parts: dict[str, list[bytes]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, further: list[Path]) -> Corpus:
        """The models of the ONNX backend suite up to `CASE_LIMIT` bytes, and those given, each twenty times."""
        from onnx.backend.test.loader import load_model_tests

        corpus = cls()
        for kind in ("node", "simple", "pytorch-converted", "pytorch-operator"):
            for test in load_model_tests(kind=kind):
                folder = test.model_dir
                data = test.model.SerializeToString() if test.model is not None else (Path(str(folder)) / "model.onnx").read_bytes()
                if len(data) <= CASE_LIMIT:
                    corpus.models.append(data)
        for path in further:
            corpus.models += [path.read_bytes()] * 20
        words: dict[str, None] = {}
        for data in corpus.models[:: max(1, len(corpus.models) // 1500)]:
            proto = ModelProto.FromString(data)
            for message in listed(proto):
                kind = message.DESCRIPTOR.name
                pool = corpus.parts.setdefault(kind, [])
                if len(pool) < 2000 and message.ByteSize() < 4096:
                    pool.append(message.SerializeToString())
                if kind == "NodeProto":
                    words[message.op_type] = None  # type: ignore[attr-defined]
        corpus.words = list(words)
        return corpus


def listed(message: Message) -> Iterator[Message]:
    """A message and all messages in it, outermost first, up to `PARTS_LIMIT`."""
    waiting, count = [message], 0
    while waiting and count < PARTS_LIMIT:
        found = waiting.pop(0) if len(waiting) < 1000 else waiting.pop()
        count += 1
        yield found
        for descriptor, value in found.ListFields():
            if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
                waiting.extend(value if descriptor.is_repeated else [value])


def mutate(corpus: Corpus, random: Random) -> bytes:
    """One mutated model."""
    data = random.choice(corpus.models)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        change: Callable[[bytes, Corpus, Random], bytes] = random.choices((_fields, _splice, _bytes, _cut), (75, 17, 6, 2))[0]
        data = change(data, corpus, random)
    return data


def _bytes(data: bytes, corpus: Corpus, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        if not changed:
            break
        place = random.randrange(len(changed))
        match random.randrange(5):
            case 0:
                changed[place] ^= 1 << random.randrange(8)
            case 1:
                changed[place] = random.randrange(256)
            case 2:
                del changed[place : place + random.randrange(1, 16)]
            case 3:
                changed[place:place] = random.randbytes(random.randrange(1, 8))
            case 4:
                changed[place:place] = changed[place : place + random.randrange(1, 64)]
    return bytes(changed)


def _cut(data: bytes, corpus: Corpus, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _parsed(data: bytes) -> ModelProto | None:
    try:
        return ModelProto.FromString(data)
    except DecodeError:
        return None


def _serialised(proto: ModelProto, otherwise: bytes) -> bytes:
    try:
        return proto.SerializeToString()
    except (EncodeError, ValueError):
        return otherwise


def _fields(data: bytes, corpus: Corpus, random: Random) -> bytes:
    proto = _parsed(data)
    if proto is None:
        return _bytes(data, corpus, random)
    messages = list(listed(proto))
    words = [*TEXTS, *_names(proto)]
    for _ in range(random.choice((1, 1, 2, 3))):
        try:
            _change(random.choice(messages), words, corpus, random)
        except (ValueError, TypeError, KeyError, AttributeError, EncodeError):
            continue  # a value that the field does not take, or a message that is gone by now
    return _serialised(proto, data)


def _names(proto: ModelProto) -> list[str]:
    names: dict[str, None] = {}
    for node in proto.graph.node[:200]:
        names.update(dict.fromkeys((*node.input, *node.output)))
    return [n for n in names if isinstance(n, str)]


def _change(message: Any, words: list[str], corpus: Corpus, random: Random) -> None:
    descriptors = message.DESCRIPTOR.fields
    present = [d for d, _ in message.ListFields()]
    descriptor = random.choice(present if present and random.random() < 0.8 else descriptors)
    if not descriptor.is_repeated:
        if random.random() < 0.15:
            message.ClearField(descriptor.name)
        elif descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, descriptor.name).MergeFromString(_part(descriptor, corpus, random))
        else:
            setattr(message, descriptor.name, _scalar(descriptor, message, words, corpus, random))
        return
    values = getattr(message, descriptor.name)
    action = random.randrange(5)
    if action == 0 and len(values):
        del values[random.randrange(len(values))]
    elif action == 1 and len(values) > 1:
        first, second = random.randrange(len(values)), random.randrange(len(values))
        _swap(values, first, second, descriptor)
    elif descriptor.type == FieldDescriptor.TYPE_MESSAGE:
        if action == 2 and len(values):
            values.add().CopyFrom(random.choice(values))
        else:
            values.add().MergeFromString(_part(descriptor, corpus, random))
    elif action in (2, 3) and len(values):
        values[random.randrange(len(values))] = _scalar(descriptor, message, words, corpus, random)
    else:
        values.append(_scalar(descriptor, message, words, corpus, random))


def _swap(values: Any, first: int, second: int, descriptor: FieldDescriptor) -> None:
    if descriptor.type != FieldDescriptor.TYPE_MESSAGE:
        values[first], values[second] = values[second], values[first]
        return
    held = type(values[first])()
    held.CopyFrom(values[first])
    values[first].CopyFrom(values[second])
    values[second].CopyFrom(held)


def _part(descriptor: FieldDescriptor, corpus: Corpus, random: Random) -> bytes:
    pool = corpus.parts.get(descriptor.message_type.name)  # type: ignore[union-attr]
    return random.choice(pool) if pool else b""


def _scalar(descriptor: FieldDescriptor, message: Any, words: list[str], corpus: Corpus, random: Random) -> Any:
    kind = descriptor.type
    if kind == FieldDescriptor.TYPE_STRING:
        if descriptor.name == "op_type":
            return random.choice(corpus.words)
        return random.choice(words)
    if kind == FieldDescriptor.TYPE_BYTES:
        return random.choice((b"", random.randbytes(random.randrange(64)), random.choice(words).encode()))
    if kind in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return random.choice((*FLOATS, random.uniform(-8, 8)))
    if kind == FieldDescriptor.TYPE_ENUM:
        return random.choice([v.number for v in descriptor.enum_type.values])  # type: ignore[union-attr]
    if descriptor.name in ("data_type", "elem_type", "version"):
        return random.randrange(0, 30)
    return random.choice((random.choice(INTEGERS), random.randrange(-8, 40)))


def _splice(data: bytes, corpus: Corpus, random: Random) -> bytes:
    """Replace some message by one of the same type out of another model; or take the nodes of both."""
    proto, other = _parsed(data), _parsed(random.choice(corpus.models))
    if proto is None or other is None:
        return _bytes(data, corpus, random)
    if random.random() < 0.3:
        proto.graph.MergeFrom(other.graph)
        return _serialised(proto, data)
    donors: dict[str, list[Message]] = {}
    for message in listed(other):
        donors.setdefault(message.DESCRIPTOR.name, []).append(message)
    targets = [m for m in listed(proto) if m.DESCRIPTOR.name in donors and m is not proto]
    if targets:
        target = random.choice(targets)
        target.CopyFrom(random.choice(donors[target.DESCRIPTOR.name]))
    return _serialised(proto, data)


def reductions(data: bytes) -> Iterator[bytes]:
    """Smaller variants of a case, the boldest first."""
    proto = _parsed(data)
    if proto is None:
        size = len(data) // 2
        while size:
            for start in range(0, len(data), size):
                yield data[:start] + data[start + size :]
            size //= 2
        return
    for path in _removable(proto):
        smaller = ModelProto.FromString(data)
        owner: Any = smaller
        for name, index in path[:-1]:
            owner = getattr(owner, name) if index is None else getattr(owner, name)[index]
        name, index = path[-1]
        if index is None:
            owner.ClearField(name)
        else:
            values = getattr(owner, name)
            del values[index : index + max(1, len(values) // 2) if index == 0 else index + 1]
        yield smaller.SerializeToString()


def _removable(message: Message, prefix: tuple[tuple[str, int | None], ...] = ()) -> Iterator[tuple[tuple[str, int | None], ...]]:
    inner: list[tuple[Message, tuple[tuple[str, int | None], ...]]] = []
    for descriptor, value in message.ListFields():
        if descriptor.is_repeated:
            for index in range(len(value)):
                yield (*prefix, (descriptor.name, index))
                if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
                    inner.append((value[index], (*prefix, (descriptor.name, index))))
        else:
            yield (*prefix, (descriptor.name, None))
            if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
                inner.append((value, (*prefix, (descriptor.name, None))))
    for child, path in inner:
        yield from _removable(child, path)

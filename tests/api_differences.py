"""What of one package's public API another one lacks, or has differently. Additions are none."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from pydantic import BaseModel

OF_THE_LANGUAGE = frozenset({"TYPE_CHECKING", "UTC"})
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def module_names(package: ModuleType) -> list[str]:
    """Return the dotted names of a package's modules below it, the package itself first: ""."""
    prefix = f"{package.__name__}."
    walked = pkgutil.walk_packages(package.__path__, prefix)
    return ["", *(found.name.removeprefix(package.__name__) for found in walked)]


def differences_of(theirs: ModuleType, ours: ModuleType, package: str) -> Iterator[str]:
    """Yield what `ours` lacks of the public names of the module `theirs`, or has differently.

    Args:
        package: Classes and functions of other packages that `theirs` has imported do not count.
    """
    for name in public_names(theirs, package):
        where = f"{theirs.__name__}.{name}"
        try:
            value = getattr(ours, name)
        except (AttributeError, ImportError) as error:
            yield f"{where} is missing: {error}"
            continue
        yield from of_values(getattr(theirs, name), value, where)
    for name in sorted({*getattr(theirs, "__all__", ())} - {*getattr(ours, "__all__", ())}):
        if hasattr(theirs, name):
            yield f"{theirs.__name__}.__all__ lacks {name}"


def public_names(module: ModuleType, package: str) -> list[str]:
    exported = getattr(module, "__all__", ())
    return sorted(
        {
            *(name for name in exported if name != "__version__"),
            *(name for name, value in vars(module).items() if _is_own(name, value, package)),
        }
    )


def of_values(theirs: object, ours: object, where: str) -> Iterator[str]:
    if inspect.isclass(theirs):
        if not inspect.isclass(ours):
            yield f"{where} is no class"
            return
        yield from of_classes(theirs, ours, where)
    elif isinstance(theirs, FunctionType):
        yield from of_functions(theirs, ours, where)
    elif type(theirs) is not type(ours) or theirs != ours:
        yield f"{where} is {ours!r} where {theirs!r} is right"


def of_classes(theirs: type, ours: type, where: str) -> Iterator[str]:
    if issubclass(theirs, enum.Enum):
        yield from _of_enums(theirs, ours, where)
        return
    if dataclasses.is_dataclass(theirs) and issubclass(ours, BaseModel):
        yield from _of_settings(theirs, ours, where)
    elif dataclasses.is_dataclass(theirs):
        yield from _of_dataclasses(theirs, ours, where)
    for base in theirs.__mro__[1:]:
        if base.__module__ == theirs.__module__ and base.__name__ not in _names(ours.__mro__):
            yield f"{where} is no {base.__name__}"
    if issubclass(theirs, Exception):
        yield from _of_defaults(theirs("x").code, ours("x").code, f"{where}.code")
        yield from of_functions(theirs.__init__, ours.__init__, f"{where}.__init__")
    for name, member in vars(theirs).items():
        if _is_member(name, theirs):
            yield from _of_members(name, member, ours, f"{where}.{name}")


def of_functions(theirs: Any, ours: Any, where: str) -> Iterator[str]:
    if not callable(ours):
        yield f"{where} cannot be called"
        return
    if inspect.iscoroutinefunction(theirs) != inspect.iscoroutinefunction(ours):
        yield f"{where} is async in one of the two"
    yield from of_signatures(inspect.signature(theirs), inspect.signature(ours), where)


def of_signatures(theirs: inspect.Signature, ours: inspect.Signature, where: str) -> Iterator[str]:
    mine = ours.parameters
    for parameter in theirs.parameters.values():
        counterpart = mine.get(parameter.name)
        if counterpart is None:
            # Any keyword, or any argument at all, may be taken under another name.
            if parameter.kind not in VARIADIC or not _has_kind(ours, parameter.kind):
                yield f"{where} lacks the parameter {parameter.name}"
            continue
        told = f"{where}({parameter.name})"
        if parameter.kind is not counterpart.kind:
            yield f"{told} is {counterpart.kind.description}, not {parameter.kind.description}"
        if parameter.default is not inspect.Parameter.empty:
            yield from _of_defaults(parameter.default, counterpart.default, told)
    positions = [name for name, each in theirs.parameters.items() if each.kind in POSITIONAL]
    in_ours = [name for name, each in mine.items() if each.kind in POSITIONAL]
    if in_ours[: len(positions)] != positions:
        yield f"{where} takes {in_ours} where {positions} is right"
    for name, added in mine.items():
        is_optional = added.default is not inspect.Parameter.empty or added.kind in VARIADIC
        if name not in theirs.parameters and not is_optional:
            yield f"{where}({name}) is added, and required"


def _is_own(name: str, value: object, package: str) -> bool:
    if name.startswith("_") or name in OF_THE_LANGUAGE or isinstance(value, ModuleType):
        return False
    if inspect.isclass(value) or isinstance(value, FunctionType):
        return value.__module__.startswith(package)
    return name.isupper()


def _is_member(name: str, cls: type) -> bool:
    if name == "__init__":
        return not getattr(cls, "_is_protocol", False)
    # How pydantic is to read the settings: `extra`, for one, is stricter here.
    if name == "model_config":
        return False
    # The defaults of fields are compared as fields.
    fields = getattr(cls, "__dataclass_fields__", {})
    return not name.startswith("_") and name not in fields


def _of_members(name: str, member: object, ours: type, where: str) -> Iterator[str]:
    if not hasattr(ours, name):
        yield f"{where} is missing"
        return
    mine = inspect.getattr_static(ours, name)
    if isinstance(member, property):
        # A field serves as well as a property: both are read.
        if not isinstance(mine, property) and inspect.isroutine(mine):
            yield f"{where} is no property"
    elif isinstance(member, (classmethod, staticmethod)):
        if type(mine) is not type(member):
            yield f"{where} is no {type(member).__name__}"
            return
        yield from of_functions(member.__func__, mine.__func__, where)
    elif inspect.isclass(member):
        if not inspect.isclass(mine) or mine.__name__ != member.__name__:
            yield f"{where} is no class {member.__name__}"
    elif isinstance(member, FunctionType):
        yield from of_functions(member, mine, where)
    elif inspect.isdatadescriptor(member):
        return
    else:
        yield from _of_defaults(member, getattr(ours, name), where)


def _of_enums(theirs: type[enum.Enum], ours: type, where: str) -> Iterator[str]:
    for member in theirs:
        mine = getattr(ours, member.name, None)
        if getattr(mine, "value", None) != member.value:
            yield f"{where}.{member.name} is {mine!r} where {member.value!r} is right"
    if issubclass(theirs, str) and not issubclass(ours, str):
        yield f"{where} is no str"


def _of_dataclasses(theirs: type, ours: type, where: str) -> Iterator[str]:
    if not dataclasses.is_dataclass(ours):
        yield f"{where} is no dataclass"
        return
    if theirs.__dataclass_params__.frozen != ours.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        yield f"{where} is frozen in one of the two"
    mine = {field.name: field for field in dataclasses.fields(ours)}
    for field in dataclasses.fields(theirs):
        if field.name not in mine:
            yield f"{where}.{field.name} is missing"
            continue
        yield from _of_fields(field, mine[field.name], f"{where}.{field.name}")


def _of_fields(
    theirs: dataclasses.Field[object], ours: dataclasses.Field[object], where: str
) -> Iterator[str]:
    if theirs.default is not dataclasses.MISSING:
        yield from _of_defaults(theirs.default, ours.default, where)
    if theirs.default_factory is not dataclasses.MISSING:
        if ours.default_factory is dataclasses.MISSING:
            yield f"{where} has no default"
        elif type(theirs.default_factory()) is not type(ours.default_factory()):
            yield f"{where} is made as another type"
    if (theirs.init, theirs.kw_only) != (ours.init, ours.kw_only):
        yield f"{where} is given in another way"


def _of_settings(theirs: type, ours: type[BaseModel], where: str) -> Iterator[str]:
    # Settings are a pydantic model here: they are read from files and the environment, and checked.
    for field in dataclasses.fields(theirs):
        mine = ours.model_fields.get(field.name)
        if mine is None:
            yield f"{where}.{field.name} is missing"
        elif field.default != mine.default:
            yield f"{where}.{field.name} is {mine.default!r} by default, not {field.default!r}"


def _of_defaults(theirs: object, ours: object, where: str) -> Iterator[str]:
    if repr(theirs) == repr(ours) == "<factory>":
        return
    if theirs != ours or isinstance(theirs, bool) != isinstance(ours, bool):
        yield f"{where} is {ours!r} by default, not {theirs!r}"


def _has_kind(signature: inspect.Signature, kind: inspect._ParameterKind) -> bool:
    return any(parameter.kind is kind for parameter in signature.parameters.values())


def _names(classes: tuple[type, ...]) -> set[str]:
    return {each.__name__ for each in classes}


def counterpart(name: str, package: str) -> ModuleType:
    """Import the module of `package` that stands for one of the reference's, such as `.dlq`."""
    return importlib.import_module(f"{package}{name}")

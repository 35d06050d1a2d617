"""URDF: the links and joints of a robot, without its looks.

http://wiki.ros.org/urdf/XML says what the elements mean. Meshes, materials, inertia tensors, dynamics and
transmissions are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from wall_edge.errors import KinematicsError
from wall_edge.files import TEXT_BYTES, read_text, shown
from wall_edge.kinematics.robot import Joint, Limits, Link, Mimic, Robot, Vector

_KINDS = ("revolute", "continuous", "prismatic", "fixed")
_MOST = 1000
"""Links of a robot; a humanoid with hands has about 100."""
_LARGEST = 1e6
"""Of any number: metres, radians, kilograms, newtons."""


def read_urdf(path: Path) -> Robot:
    """The robot in a URDF file. Raises :class:`KinematicsError`, in one line."""
    return parse_urdf(read_text(path, KinematicsError, TEXT_BYTES), shown(path))


def parse_urdf(text: str, where: str) -> Robot:
    """The robot in a URDF's text; ``where`` begins each message. Raises :class:`KinematicsError`."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise KinematicsError(f"{where}: a document type", expected="a URDF without DOCTYPE and entities")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as problem:
        raise KinematicsError(f"{where}: malformed XML: {problem}", expected="a URDF") from None
    if root.tag != "robot" or "xacro:" in text:
        fix = "expand xacro first: `xacro FILE > robot.urdf`" if "xacro" in text else ""
        raise KinematicsError(f"{where}: <{shown(root.tag, 60)}>", expected="<robot> of a URDF", fix=fix)
    return _Reader(where).robot(root)


T = TypeVar("T", Link, Joint)


class _Reader:
    """Makes links and joints of elements; the file begins every message."""

    def __init__(self, where: str) -> None:
        self.where = where

    def robot(self, root: Element) -> Robot:
        links = self._named(self.link(element) for element in root.findall("link"))
        joints = self._named(self.joint(element) for element in root.findall("joint"))
        try:
            return Robot(shown(root.get("name", ""), 64), links, joints)
        except KinematicsError as problem:
            raise KinematicsError(f"{self.where}: {problem}") from None

    def link(self, element: Element) -> Link:
        name = self._name(element, "a link")
        inertial = element.find("inertial")
        if inertial is None:
            return Link(name)
        mass = self._number(inertial.find("mass"), "value", f"link {name}: mass", None)
        if mass < 0:
            raise self._problem(f"link {name}: mass {mass:.6g} kg", "0 or more")
        return Link(name, mass, self._vector(inertial.find("origin"), "xyz", f"link {name}: inertial"))

    def joint(self, element: Element) -> Joint:
        name = self._name(element, "a joint")
        where, kind = f"joint {name}", element.get("type", "")
        if kind not in _KINDS:
            raise self._problem(f"{where} is {shown(kind, 40) or 'of no type'}", " or ".join(_KINDS))
        origin = element.find("origin")
        return Joint(
            name,
            kind,
            self._end(element, "parent", where),
            self._end(element, "child", where),
            self._vector(origin, "xyz", where),
            self._vector(origin, "rpy", where),
            (0.0, 0.0, 1.0) if kind == "fixed" else self._axis(element, where),
            self._limits(element, kind, where),
            self._mimic(element, where),
        )

    def _limits(self, element: Element, kind: str, where: str) -> Limits:
        limit = element.find("limit")
        if kind == "fixed" or (limit is None and kind == "continuous"):
            return Limits()
        if limit is None:
            raise self._problem(f"{where} is {kind} without <limit>", "<limit lower upper velocity effort>")
        where = f"{where}: limit"
        velocity, effort = (self._number(limit, key, where, math.inf) for key in ("velocity", "effort"))
        if velocity < 0 or effort < 0:
            raise self._problem(f"{where} of velocity or effort is negative", "0 or more")
        if kind == "continuous":
            return Limits(velocity=velocity, effort=effort)
        lower, upper = (self._number(limit, key, where, 0.0) for key in ("lower", "upper"))
        if lower > upper:
            raise self._problem(f"{where} lower {lower:g} above upper {upper:g}", "lower ≤ upper")
        return Limits(lower, upper, velocity, effort)

    def _axis(self, element: Element, where: str) -> Vector:
        axis = element.find("axis")
        x, y, z = self._vector(axis, "xyz", f"{where}: axis") if axis is not None else (1.0, 0.0, 0.0)
        length = math.sqrt(x * x + y * y + z * z)
        if not 1e-6 <= length <= 1e6:
            raise self._problem(f"{where}: axis {x:g} {y:g} {z:g}", "a direction")
        return x / length, y / length, z / length

    def _mimic(self, element: Element, where: str) -> Mimic | None:
        mimic = element.find("mimic")
        if mimic is None:
            return None
        factor = self._number(mimic, "multiplier", f"{where}: mimic", 1.0)
        offset = self._number(mimic, "offset", f"{where}: mimic", 0.0)
        return Mimic(shown(mimic.get("joint", ""), 64), factor, offset)

    def _end(self, element: Element, tag: str, where: str) -> str:
        end = element.find(tag)
        if end is None or not end.get("link"):
            raise self._problem(f"{where} has no {tag}", f"<{tag} link=…/>")
        return shown(end.get("link"), 64)

    def _name(self, element: Element, what: str) -> str:
        if not element.get("name"):
            raise self._problem(f"{what} without a name", "name=…")
        return shown(element.get("name"), 64)

    def _number(self, element: Element | None, key: str, where: str, default: float | None) -> float:
        text = None if element is None else element.get(key)
        if text is None:
            if default is None:
                raise self._problem(f"{where} is missing", f"{key}=…")
            return default
        return self._finite([text], f"{where} {key}")[0]

    def _vector(self, element: Element | None, key: str, where: str) -> Vector:
        text = "0 0 0" if element is None else element.get(key, "0 0 0")
        values = self._finite(text.split(), f"{where} {key}")
        if len(values) != 3:
            raise self._problem(f"{where}: {key} is {shown(text, 60)}", "three numbers")
        return values[0], values[1], values[2]

    def _finite(self, words: list[str], where: str) -> list[float]:
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = [math.nan]
        if not all(abs(value) <= _LARGEST for value in values):
            text = shown(" ".join(words), 60)
            raise self._problem(f"{where} is {text}", f"numbers within ±{_LARGEST:g}")
        return values

    def _named(self, parts: Iterable[T]) -> dict[str, T]:
        named: dict[str, T] = {}
        for part in parts:
            if part.name in named:
                raise self._problem(
                    f"two {type(part).__name__.lower()}s are called {part.name}", "unlike names"
                )
            named[part.name] = part
            if len(named) > _MOST:
                raise self._problem(f"more than {_MOST} links or joints", "a robot")
        return named

    def _problem(self, what: str, expected: str) -> KinematicsError:
        return KinematicsError(f"{self.where}: {what}", expected=expected)

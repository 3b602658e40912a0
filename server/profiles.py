"""Calibration profiles from a folder: read at the start, and looked at again every few seconds.

A file that cannot be used is logged with the reason, once, and the version that was good stays in use. Nothing here
raises after the start: certainties that are a few seconds older are better than a gateway that is down.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import Any

from core.calibration import UNCALIBRATED, Profile
from core.profiles import decode
from server.metrics import Metrics
from server.settings import SettingsError
from strategies.answers import Kind

log = logging.getLogger("quorate.profiles")
LARGEST = 2**20
"""Bytes of a profile file: far more than one has, far less than would hurt."""

Signature = tuple[int, int, int]
"""Modification time in nanoseconds, size, inode: another one means that the file has changed."""
GONE: Signature = (0, 0, 0)
"""Of a file that could not be looked at."""
Changed = Callable[[frozenset[Profile]], None]


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """One file as it was last looked at: its last good profile (if any), and why it is not the present content."""

    signature: Signature
    profile: Profile | None = None
    version: str = ""
    """The first 12 hexadecimal digits of the SHA-256 of what `profile` was read from."""
    error: str | None = None


class Profiles:
    """The profiles of a gateway, by model and family of tasks.

    Args:
        folder: Where the files are (`*.json`); None: there are none.
        metrics: Gets what is loaded, in which version, and how many files could not be used.
        changed: Called with all profiles in use whenever they are others than before.
        served: Names of the models that requests can ask for; None: any.
    """

    def __init__(
        self, folder: Path | None, metrics: Metrics, changed: Changed, served: Collection[str] | None = None
    ) -> None:
        self._folder = folder
        self._served = served
        self._metrics = metrics.calibration
        self._changed = changed
        self._files: Mapping[str, ProfileFile] = {}
        self._index: Mapping[tuple[str, str], Profile] = {}
        self._told: Mapping[str, str] = {}

    def open(self) -> None:
        """The first look, before anything is served. Raises `SettingsError` if there is no such folder."""
        if self._folder is None:
            return
        try:
            self._take(scan(self._folder, {}), {})
        except OSError as error:
            raise SettingsError(f"profiles: {self._folder} cannot be read: {error.strerror or error}.") from error

    async def refresh(self) -> None:
        """Another look; the files are read beside the event loop."""
        if self._folder is None:
            return
        try:
            files = await asyncio.to_thread(scan, self._folder, self._files)
        except OSError as error:
            self._take(self._files, {str(self._folder): error.strerror or str(error)})
        else:
            self._take(files, {})

    def choose(self, model: str, tag: object, kind: Kind) -> Profile:
        """The profile for a request: of its tag (`metadata.task`), else of its kind of answer, else of its model."""
        for task in (tag, kind.value, ""):
            found = self._index.get((model, task)) if isinstance(task, str) else None
            if found is not None:
                return found
        return UNCALIBRATED

    def _take(self, files: Mapping[str, ProfileFile], errors: Mapping[str, str]) -> None:
        """Use what was found, and tell of what is new about it."""
        index, clashes = indexed(files)
        errors = {**errors, **clashes, **{name: file.error for name, file in files.items() if file.error is not None}}
        self._log(files, index, errors)
        versions = {file.profile: file.version for file in files.values() if file.profile is not None}
        self._metrics.profiles({each: versions[each] for each in index.values()}, failed=len(errors))
        before, self._files, self._index, self._told = self._index, files, index, errors
        if index != before:
            self._changed(frozenset(index.values()))

    def _log(
        self,
        files: Mapping[str, ProfileFile],
        index: Mapping[tuple[str, str], Profile],
        errors: Mapping[str, str],
    ) -> None:
        for name, reason in errors.items():
            if self._told.get(name) != reason:
                kept = name in files and files[name].profile in index.values()
                stays = "; the version before it stays in use" if kept else ""
                log.warning("profile %s cannot be used: %s%s", name, reason, stays)
        for key, profile in index.items():
            if self._index.get(key) == profile:
                continue
            if self._served is not None and key[0] not in self._served:
                log.warning("profile %s is for model %s, which is not served", profile.name, key[0])
            else:
                log.info("profile %s is in use for model %s, task %s", profile.name, key[0], key[1] or "any")
        for key in self._index.keys() - index.keys():
            log.info("profile %s is no longer in use", self._index[key].name)


def scan(folder: Path, before: Mapping[str, ProfileFile]) -> dict[str, ProfileFile]:
    """Every profile file of a folder, by name; those that have not changed are taken from `before`. Raises OSError."""
    found: dict[str, ProfileFile] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix != ".json" or path.name.startswith("."):
            continue
        known = before.get(path.name)
        try:
            signature = signed(path.stat())
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not path.is_symlink():  # removed between the two looks
                continue
            found[path.name] = failed(known, GONE, error.strerror or str(error))
            continue
        unchanged = known is not None and known.signature == signature
        found[path.name] = known if known is not None and unchanged else read(path, signature, known)
    return found


def signed(stat: os.stat_result) -> Signature:
    """What tells one content of a file from another."""
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def content(path: Path) -> bytes:
    """The bytes of a regular file; anything else could keep the reader waiting for ever. Raises OSError, ValueError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    return data


def failed(before: ProfileFile | None, signature: Signature, reason: str) -> ProfileFile:
    """A file that cannot be used as it is; the profile that was good stays."""
    return replace(before or ProfileFile(signature), signature=signature, error=reason)


def read(path: Path, signature: Signature, before: ProfileFile | None) -> ProfileFile:
    """A new or changed file; where it cannot be used, the profile that was good stays."""
    try:
        if signature[1] > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        data = content(path)
        return ProfileFile(signature, sound(json.loads(data), path.stem), sha256(data).hexdigest()[:12])
    except OSError as error:
        reason = error.strerror or str(error)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)
    return failed(before, signature, reason)


def sound(document: Any, stem: str) -> Profile:
    """The profile of a document, under the file's name where it has none. Raises ValueError."""
    profile = decode(document)
    if not profile.model:
        raise ValueError("model: must name the served model that the profile is for")
    return profile if profile.name else replace(profile, name=stem)


def indexed(files: Mapping[str, ProfileFile]) -> tuple[dict[tuple[str, str], Profile], dict[str, str]]:
    """Profiles by model and task, and what is wrong with those that cannot be told from one before them."""
    index: dict[tuple[str, str], Profile] = {}
    clashes: dict[str, str] = {}
    for file, entry in files.items():
        profile = entry.profile
        if profile is None:
            continue
        if (profile.model, profile.task) in index:
            clashes[file] = f"another file is for model '{profile.model}' and task '{profile.task}', too"
        elif profile.name in {other.name for other in index.values()} | {UNCALIBRATED.name}:
            clashes[file] = f"the name '{profile.name}' is taken"
        else:
            index[profile.model, profile.task] = profile
    return index, clashes

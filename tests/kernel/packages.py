# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stock Debian kernels and a static busybox: pinned by checksum, downloaded once, unpacked into the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PINS = Path(__file__).with_name("kernels.json")

_TIMEOUT = 60.0
#: What is taken out of a kernel's packages: the kernel itself and the modules that make DAX devices.
_KERNEL = re.compile(r"\./(?:boot/vmlinuz-[^/]+|(?:usr/)?lib/modules/[^/]+/vmlinuz)")
_MODULE = re.compile(
    r"\./(?:usr/)?lib/modules/[^/]+/kernel/drivers/(?:dax|nvdimm)/(?:[^/]+/)?([^/]+)\.ko(\.xz)?"
)


class PackageError(Exception):
    """A package cannot be had, or is not what it should be."""


@dataclass(frozen=True)
class Kernel:
    """A kernel, unpacked. ``note`` is not empty where it is another than the pinned one, and says so."""

    series: str
    release: str
    image: Path
    modules: Mapping[str, Path]
    note: str = ""


def pins() -> dict[str, Any]:
    """The pinned packages, as in kernels.json."""
    found: dict[str, Any] = json.loads(PINS.read_text(encoding="utf-8"))
    return found


def cache() -> Path:
    """The folder for packages and what was unpacked of them."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "carveout" / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kernel(series: str) -> Kernel:
    """The kernel of a series ("6.12") of kernels.json, downloaded and unpacked where that was not done before."""
    data = pins()
    if series not in data["kernels"]:
        raise PackageError(f"no kernel {series!r}; there are {', '.join(data['kernels'])}")
    pin = data["kernels"][series]
    with _locked():
        release, note, wanted = _obtainable(data["mirror"], pin)
        folder = cache() / release
        if not (folder / "vmlinuz").exists():
            _unpack([_download(data["mirror"], p["filename"], p["sha256"]) for p in wanted], folder)
    modules = {path.stem: path for path in sorted((folder / "modules").glob("*.ko"))}
    return Kernel(series, release, folder / "vmlinuz", modules, note)


def busybox() -> bytes:
    """A busybox that needs no libraries."""
    data = pins()
    pin = data["busybox"]
    with _locked():
        _release, _note, wanted = _obtainable(data["mirror"], pin)
        package = _download(data["mirror"], wanted[0]["filename"], wanted[0]["sha256"])
    for name, content in _members(package):
        if name in ("./bin/busybox", "./usr/bin/busybox"):
            return content
    raise PackageError(f"{package.name} holds no busybox")


@contextmanager
def _locked() -> Iterator[None]:
    with open(cache() / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _obtainable(mirror: str, pin: Mapping[str, Any]) -> tuple[str, str, Sequence[Mapping[str, str]]]:
    """(release, note, packages): the pinned ones, or the suite's newest where the mirror has these no more."""
    release = str(pin.get("release", ""))
    gone = ""
    for package in pin["packages"]:
        try:
            _download(mirror, package["filename"], package["sha256"])
        except urllib.error.HTTPError as error:
            if error.code not in (404, 410):
                raise PackageError(f"{mirror}/{package['filename']}: {error}") from error
            gone = package["filename"]
    if not gone:
        return release, "", pin["packages"]
    found, packages = newest(_index(mirror, pin["suite"]), pin)
    note = f"{mirror} has {gone} no more: took {packages[0]['filename']} instead; pin it in {PINS.name}"
    return found, note, packages


def newest(index: str, pin: Mapping[str, Any]) -> tuple[str, list[dict[str, str]]]:
    """The newest release (and its packages) that a suite's Packages file has for an entry of kernels.json."""
    names = [package["name"] for package in pin["packages"]]
    suffix = f"-({pin['releases']})" if "releases" in pin else "()"
    wanted = re.compile(rf"Package: ({'|'.join(map(re.escape, names))}){suffix}\n")
    found: dict[tuple[tuple[int, ...], str], dict[str, dict[str, str]]] = {}
    for paragraph in index.split("\n\n"):
        match = wanted.match(paragraph)
        if match:
            fields = dict(re.findall(r"^(Version|Filename|SHA256): (.*)$", paragraph, re.MULTILINE))
            key = tuple(int(n) for n in re.findall(r"\d+", fields["Version"])), match.group(2)
            package = {"name": match.group(1), "filename": fields["Filename"], "sha256": fields["SHA256"]}
            found.setdefault(key, {})[match.group(1)] = package
    complete = {key: packages for key, packages in found.items() if len(packages) == len(names)}
    if not complete:
        raise PackageError(
            f"the suite {pin['suite']} has no {' and '.join(names)} that fit {pin.get('releases', '')}"
        )
    best = max(complete)
    return best[1], [complete[best][name] for name in names]


def _index(mirror: str, suite: str) -> str:
    """A suite's list of packages, checked against the suite's Release file."""
    name = "main/binary-amd64/Packages.xz"
    release = _fetch(f"{mirror}/dists/{suite}/Release").decode()
    match = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(name)}$", release, re.MULTILINE)
    if match is None:
        raise PackageError(f"{mirror}/dists/{suite}/Release does not list {name}")
    data = _fetch(f"{mirror}/dists/{suite}/{name}")
    if hashlib.sha256(data).hexdigest() != match.group(1):
        raise PackageError(f"{mirror}/dists/{suite}/{name} has a wrong checksum")
    return lzma.decompress(data).decode()


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
        data: bytes = answer.read()
    return data


def _download(mirror: str, filename: str, sha256: str) -> Path:
    target = cache() / Path(filename).name
    if target.exists():
        return target
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        with (
            urllib.request.urlopen(f"{mirror}/{filename}", timeout=_TIMEOUT) as answer,
            part.open("wb") as out,
        ):
            while block := answer.read(1 << 20):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() != sha256:
            raise PackageError(f"{mirror}/{filename}: its checksum is {digest.hexdigest()}, not {sha256}")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _members(package: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a Debian package that are of use here."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as unpacked:
        with tarfile.open(fileobj=unpacked.stdout, mode="r|") as tar:
            for member in tar:
                name = member.name if member.name.startswith("./") else f"./{member.name}"
                useful = name.endswith("/busybox") or _KERNEL.fullmatch(name) or _MODULE.fullmatch(name)
                content = tar.extractfile(member) if useful and member.isfile() else None
                if content is not None:
                    yield name, content.read()
        unpacked.communicate()
    if unpacked.returncode:
        raise PackageError(f"dpkg-deb cannot unpack {package}: remove it, it will be downloaded again")


def _unpack(packages: Sequence[Path], folder: Path) -> None:
    new = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    shutil.rmtree(new, ignore_errors=True)
    (new / "modules").mkdir(parents=True)
    for package in packages:
        for name, content in _members(package):
            module = _MODULE.fullmatch(name)
            if module:
                data = lzma.decompress(content) if module.group(2) else content
                (new / "modules" / f"{module.group(1)}.ko").write_bytes(data)
            elif _KERNEL.fullmatch(name):
                (new / "vmlinuz").write_bytes(content)
    if not (new / "vmlinuz").exists():
        raise PackageError(f"no kernel in {', '.join(path.name for path in packages)}")
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)

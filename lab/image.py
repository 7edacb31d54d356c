# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build the disk image and keep it: one directory for each digest, complete or not there."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from . import disk, efi_disk, flavour, tools
from .errors import LabError
from .flavour import Flavour, FlavourRecipe
from .keys import Keys
from .locks import locked
from .progress import Progress
from .recipe import MIRROR, SUITE, Recipe

_PROGRAMS = ("mmdebstrap", "mkfs.ext4", "sfdisk", "ssh-keygen", "qemu-img", "qemu-system-x86_64", "ssh")
_UEFI_PROGRAMS = ("mformat", "mcopy")


@dataclass(frozen=True)
class Image:
    """A finished image: ``disk.raw``, and its kernel and initramfs beside it for a boot without a disk."""

    directory: Path
    digest: str
    kernel_release: str
    root_uuid: str

    @property
    def disk(self) -> Path:
        return self.directory / "disk.raw"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd.img"


def recipe_for(keys: Keys, wanted: Flavour = flavour.DEFAULT) -> Recipe:
    """The recipe with these keys; CARVEOUT_LAB_MIRROR names another mirror of Debian."""
    mirror = os.environ.get("CARVEOUT_LAB_MIRROR") or MIRROR
    found = Recipe(keys.user.public, keys.host.private, keys.host.public, mirror)
    if wanted == flavour.DEFAULT:
        return found
    return FlavourRecipe(found.user_key, found.host_key, found.host_key_public, mirror, wanted)


def load(cache: Path, digest: str) -> Image | None:
    """The finished image of that digest, or None."""
    directory = cache / "images" / digest
    try:
        facts = json.loads((directory / "image.json").read_text(encoding="utf-8"))
        return Image(directory, digest, str(facts["kernel_release"]), str(facts["root_uuid"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"{directory}: not a finished image ({error}): remove that directory") from error


def ensure(cache: Path, recipe: Recipe, progress: Progress) -> Image:
    """The image of ``recipe``: from the cache, or built. Of two builds at a time the second waits for the first."""
    digest = recipe.digest()
    found = load(cache, digest)
    if found is not None:
        return found
    uefi = isinstance(recipe, FlavourRecipe) and recipe.flavour.firmware == "uefi"
    tools.require([*_PROGRAMS, *(_UEFI_PROGRAMS if uefi else ())])
    with locked(cache / "build.lock", lambda: progress.step("waiting for a build that goes on already")):
        found = load(cache, digest)
        if found is None:
            _build(cache, recipe, digest, progress)
            found = load(cache, digest)
    if found is None:
        raise LabError(f"{cache}: the image was built and is not there: does something clean up the cache?")
    progress.step(f"image {digest} is ready: kernel {found.kernel_release}")
    return found


def _build(cache: Path, recipe: Recipe, digest: str, progress: Progress) -> None:
    images = cache / "images"
    images.mkdir(parents=True, exist_ok=True)
    _sweep(images)
    work = Path(tempfile.mkdtemp(prefix=".build-", dir=images))
    tree = work / "tree"
    try:
        root_uuid = str(uuid.uuid4())
        progress.step(f"building image {digest}: Debian {SUITE} from {recipe.mirror} (about a minute)")
        tarball = work / "rootfs.tar"
        # holds the host's private key: mkdtemp's directory lets nobody else in
        tarball.write_bytes(recipe.tar())
        arguments = recipe.mmdebstrap_arguments(str(tree), str(tarball), root_uuid)
        _mmdebstrap([tools.find("mmdebstrap"), *arguments], work / "mmdebstrap.log")
        progress.step("building image: disk with its boot loader")
        out = work / "image"
        out.mkdir()
        if isinstance(recipe, FlavourRecipe) and recipe.flavour.firmware == "uefi":
            efi_disk.make(out / "disk.raw", tree, root_uuid)
        else:
            disk.make(out / "disk.raw", tree, root_uuid, secrets.randbits(32))
        release = _kernel(tree, out)
        facts = {"kernel_release": release, "root_uuid": root_uuid, "mirror": recipe.mirror, "suite": SUITE}
        (out / "image.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        out.rename(images / digest)
    finally:
        _remove(work)


def _mmdebstrap(argv: list[str], log: Path) -> None:
    # its own complaints come first and the reason a few lines later: keep all, show what counts
    with open(log, "wb") as out:
        status = subprocess.run(
            tools.as_root(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
        )
    if status.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("E:")] or lines[-1:]
        raise LabError(
            f"mmdebstrap failed with status {status.returncode}: {errors[0] if errors else 'no output'}"
        )


def _kernel(tree: Path, out: Path) -> str:
    kernels = sorted((tree / "boot").glob("vmlinuz-*"))
    if len(kernels) != 1:
        raise LabError(
            f"the image has {len(kernels)} kernels instead of one: is {SUITE} broken on this mirror?"
        )
    release = kernels[0].name.removeprefix("vmlinuz-")
    shutil.copy(kernels[0], out / "vmlinuz")
    shutil.copy(tree / "boot" / f"initrd.img-{release}", out / "initrd.img")
    return release


def _sweep(images: Path) -> None:
    # under the lock nobody else builds: what is there was left by a killed build
    for left in images.glob(".build-*"):
        _remove(left)


def _remove(directory: Path) -> None:
    # the tree belongs to root
    tools.run(tools.as_root(["rm", "-rf", "--one-file-system", str(directory)]))

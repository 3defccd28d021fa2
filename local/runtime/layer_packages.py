"""Installs the packages of a layer, once, separate from the packages that the laptop cloud itself uses."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from local.errors import LocalError


def installed_packages(layer: Path) -> Path | None:
    """Return the folder with the packages that a layer's requirements.txt pins. None if the layer has no such file.

    The folder belongs to the running Python and is named by the hash of the requirements: each change makes a new one.

    Raises
    ------
    LocalError
        If pip cannot install them.
    """
    requirements = layer / "requirements.txt"
    if not requirements.is_file():
        return None
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    folder = Path(sys.prefix) / "layer-packages" / f"{layer.name}-{digest}"
    if folder.is_dir():
        return folder
    print(f"installing the packages of the layer {layer.name} (first time only)", flush=True)  # noqa: T201 - to the terminal
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until it is complete: an interrupted installation must not be used.
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes"]
    command += ["--only-binary=:all:", "--target", str(partial), "--requirement", str(requirements)]
    try:
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own requirements
            raise LocalError(f"pip could not install {requirements}")
        if not folder.is_dir():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder

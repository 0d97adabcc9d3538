"""``groundtune doctor``: whether this machine and its packages are what groundtune was tested with.

Most reports of fine-tuning tools that do not start are about versions (LLaMA-Factory #9583, unsloth #4190). Every package that
groundtune needs is looked up, and every package that those need in turn. Nothing is fetched: whether the hub can be reached
is not asked.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from groundtune.cli._common import JsonOption, ProjectOption, print_json, say

#: flags of a CPU that matrix products get faster by
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_TORCH_CPU = "https://download.pytorch.org/whl/cpu"
#: less free memory or disk than this is said: the bundled model trains in 2 GB and writes checkpoints of 0.3 GB
_LOW_MEMORY, _LOW_DISK = 2e9, 2e9


@dataclass(frozen=True, slots=True)
class Package:
    """One requirement and what is there.

    Attributes:
        name: of the package.
        needs: versions that will do, such as ``>=5.17,<6``; empty: any.
        found: the installed version; None: none.
        by: who needs it: groundtune, one of its extras, or a package.
        ok: whether the installed version will do; True as well where an extra is not installed.
    """

    name: str
    needs: str
    found: str | None
    by: str
    ok: bool


def installed(name: str) -> str | None:
    """The installed version of a package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def needed_by(name: str) -> list[str]:
    """The requirements of an installed package, as its metadata has them."""
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def packages(
    root: str = "groundtune",
    version_of: Callable[[str], str | None] = installed,
    requires: Callable[[str], Sequence[str]] = needed_by,
) -> list[Package]:
    """Every package that the root needs, its extras' included, and what those need in turn where it is missing or wrong.

    Args:
        version_of, requires: where versions and requirements come from.
    """
    out: list[Package] = []
    todo: list[str] = []
    for extra in ("", *_extras(requires(root))):
        for name, needs in _for(requires(root), extra):
            found = version_of(name)
            there = found is not None or bool(extra)
            out.append(
                Package(name, needs, found, f"{root}[{extra}]" if extra else root, there and _fits(found, needs))
            )
            todo += [name] if found and not extra else []
    seen = {root}
    while todo:
        parent = todo.pop()
        if parent in seen:
            continue
        seen.add(parent)
        for name, needs in _for(requires(parent), ""):
            found = version_of(name)
            if found is None or not _fits(found, needs):
                out.append(Package(name, needs, found, parent, False))
            todo += [name] if found else []
    return out


def _extras(requirements: Sequence[str]) -> list[str]:
    """The extras that users install; ``dev`` is the project's own."""
    from packaging.requirements import Requirement

    found: dict[str, None] = {}
    for text in requirements:
        marker = str(Requirement(text).marker or "")
        if "extra ==" in marker:
            found[marker.rpartition("extra ==")[2].strip().strip("\"'")] = None
    return [extra for extra in found if extra != "dev"]


def _for(requirements: Sequence[str], extra: str) -> Iterator[tuple[str, str]]:
    """(name, versions) of what is needed on this machine, without extras or for one of them."""
    from packaging.requirements import Requirement

    for text in requirements:
        wanted = Requirement(text)
        marker = wanted.marker
        here = marker is None or marker.evaluate({"extra": extra})
        plain = marker is None or marker.evaluate({"extra": ""})
        if here and (not extra or not plain):
            yield wanted.name, str(wanted.specifier)


def _fits(found: str | None, needs: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return found is None or SpecifierSet(needs).contains(found, prereleases=True)


def mend(wrong: Sequence[Package], torch_version: str | None) -> str:
    """The pip command that brings wrong packages into range; empty where nothing is wrong."""
    if not wrong:
        return ""
    parts = [f"'{p.name}{p.needs}'" for p in wrong]
    cpu = any(p.name == "torch" for p in wrong) and (torch_version or "+cpu").endswith("+cpu")
    return " ".join(["pip install", *dict.fromkeys(parts), *([f"--extra-index-url {_TORCH_CPU}"] if cpu else [])])


def machine() -> dict[str, Any]:
    """Cores, threads, load, CPU features, GPU, number format, and the torch build; ``error`` where torch does not load."""
    import psutil

    from groundtune.nn.precision import cpu_flags, precision

    flags = cpu_flags()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = psutil.virtual_memory()
    told: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores,
        "load": round(psutil.getloadavg()[0], 2),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "cpu_features": [flag for flag in _FLAGS if flag in flags],
        "memory_bytes": memory.total,
        "free_memory_bytes": memory.available,
    }
    try:
        import torch
    except (ImportError, OSError) as error:  # a build for another machine, or libraries of another version
        return {**told, "error": f"torch does not load: {str(error).splitlines()[0]}"}
    gpu = torch.cuda.is_available()
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "ROCm" if torch.version.hip else "CPU"
    return {
        **told,
        "torch_build": build,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "gpu_memory_bytes": torch.cuda.mem_get_info()[1] if gpu else None,
        "precision": str(precision()),
    }


def warnings_of(here: dict[str, Any], disk_bytes: int) -> list[str]:
    """What will work, but not well."""
    out = []
    if here["load"] > here["cores"]:
        out.append(
            f"load {here['load']} on {here['cores']} cores: other work takes this machine's time; two threads can then be slower than OMP_NUM_THREADS=1"
        )
    if here.get("threads", 0) > here["cores"]:
        out.append(f"{here['threads']} threads on {here['cores']} cores: set OMP_NUM_THREADS={here['cores']}")
    if here.get("torch_build", "").startswith(("CUDA", "ROCm")) and not here.get("gpu"):
        out.append("this PyTorch is built for a GPU and finds none: the driver is missing, or the CPU build will do")
    if here["free_memory_bytes"] < _LOW_MEMORY:
        out.append(f"only {here['free_memory_bytes'] / 1e9:.1f} GB of memory are free")
    if disk_bytes < _LOW_DISK:
        out.append(f"only {disk_bytes / 1e9:.1f} GB of disk are free")
    return out


def doctor(project: ProjectOption = Path(), json: JsonOption = False) -> None:
    """Look at the packages and the machine: what is missing or out of range, and the command that mends it."""
    from groundtune import __version__

    found, here = packages(), machine()
    wrong = [p for p in found if not p.ok]
    place = project if project.is_dir() else Path()
    disk = shutil.disk_usage(place).free
    problems = [f"{p.name} {p.found or 'is missing'}: {p.by} needs {p.needs or 'it'}" for p in wrong]
    problems += [here["error"]] if "error" in here else []
    if not found:
        problems.append("groundtune is not installed as a package: what it needs is not known")
    command = mend(wrong, installed("torch"))
    if json:
        report = {"groundtune": __version__, "python": platform.python_version(), "machine": here}
        told = {"free_disk_bytes": disk, "packages": [asdict(p) for p in found]}
        print_json({**report, **told, "problems": problems, "warnings": warnings_of(here, disk), "mend": command})
    else:
        _print(found, here, disk)
        for text in warnings_of(here, disk):
            say(f"note     {text}")
    if problems:
        _refuse(problems, command)
    say("all packages are in range", quiet=json)


def _refuse(problems: Sequence[str], command: str) -> None:
    from groundtune.errors import GroundtuneError

    raise GroundtuneError(
        "this installation is not what groundtune was tested with: " + "; ".join(problems),
        expected="what pyproject.toml allows",
        next_step=command or "pip install --force-reinstall torch",
    )


def _print(found: Sequence[Package], here: dict[str, Any], disk_bytes: int) -> None:
    from rich.markup import escape

    for package in found:
        mark = " " if package.ok else "!"
        version = package.found or ("not installed" if package.ok else "missing")
        say(f"{mark} {package.name:<22} {version:<16} {escape(f'{package.needs:<16} {package.by}')}")
    gigabytes = {k: here[k] / 1e9 for k in ("memory_bytes", "free_memory_bytes")}
    say(f"python   {platform.python_version()}, {here['system']}")
    if "torch_build" in here:
        say(f"torch    {here['torch_build']} build, {here['threads']} threads; trains in {here['precision']}")
        say(f"gpu      {here['gpu'] or 'none'}")
    say(f"cpu      {here['cores']} cores, load {here['load']}, {' '.join(here['cpu_features']) or 'no known features'}")
    say(f"memory   {gigabytes['free_memory_bytes']:.1f} of {gigabytes['memory_bytes']:.1f} GB free")
    say(f"disk     {disk_bytes / 1e9:.1f} GB free")

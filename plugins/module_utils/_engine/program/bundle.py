# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program as one executable file: a zip of the engine's files that it imports, with a line for the kernel ahead.

The files are read by their loaders, so they may be in a folder or in the zip that Ansible brings to a host. Beside each
is what this version of Python makes of it, which other versions pass over: to compile all of them takes longer than
most runs. The same files give the same bytes with one version of Python, wherever and whenever it is built.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import marshal
import os
import re
import struct
import sys
import typing as t
import zipfile

from ..errors import SpecError
from ..kernel import directories, files
from . import main as program

INTERPRETER = "/usr/bin/python3"
PERMISSIONS = 0o755
PACKAGE = "netpath_egress"
MARK = b"netpath.egress"  # the first word of the zip's comment, by which a file is known for ours
_IMPORT = re.compile(r"^[ \t]*from (?P<place>\.[.\w]*) import (?P<names>\([^)]*\)|[^(\n]*)", re.MULTILINE)
# Imported above, so that Ansible brings all that the program imports to the host of a module that imports this.
_ENTRY = program.__name__
_ENGINE = _ENTRY.rpartition(".program.")[0]
_START = f"""\
import sys

from {PACKAGE}.program.main import main

sys.exit(main())
"""
_OLDEST_DATE = (1980, 1, 1, 0, 0, 0)
_UNIX, _PLAIN_FILE = 3, 0o100644
_OLDEST_BYTECODE = (3, 11)
_WITHOUT_DOCSTRINGS = 2
# Later forms of marshal tell which objects were shared, which differs from run to run.
_WITHOUT_REFERENCES = 2
# The kernel reads this much of the line that names the interpreter (BINPRM_BUF_SIZE).
_LONGEST = 255


def executable(interpreter: str = INTERPRETER) -> bytes:
    """The program's file. Errors: SpecError for an interpreter that the kernel cannot start."""
    if not re.fullmatch(r"/[!-~]+( -[A-Za-z]+)?", interpreter) or len(interpreter) + 2 > _LONGEST:
        raise SpecError("interpreter", f"{interpreter!r} is no path of a program", "such as /usr/bin/python3")
    sources = _sources()
    packed = io.BytesIO()
    packed.write(_first_line(interpreter))
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in sorted(_with_bytecode(sources).items()):
            member = zipfile.ZipInfo(name, _OLDEST_DATE)
            member.create_system, member.external_attr = _UNIX, _PLAIN_FILE << 16
            # Not compressed: libraries differ in what they make of the same bytes.
            archive.writestr(member, content, zipfile.ZIP_STORED)
        archive.comment = _comment(sources)
    return packed.getvalue()


def is_same(content: bytes, interpreter: str) -> bool:
    """Whether a file is, undamaged, what executable would make now, told in a tenth of the time."""
    if not content.startswith(_first_line(interpreter)):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.comment == _comment(_sources()) and archive.testzip() is None
    except (zipfile.BadZipFile, ValueError, OSError):
        return False


def is_ours(content: bytes) -> bool:
    """Whether a file is a program of this kind, of any version."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.comment.partition(b" ")[0] == MARK
    except (zipfile.BadZipFile, ValueError, OSError):
        return False


def _first_line(interpreter: str) -> bytes:
    return f"#!{interpreter}\n".encode()


def _comment(sources: t.Mapping[str, bytes]) -> bytes:
    """The mark, and a checksum of what the file is made of and by what."""
    found = hashlib.sha256(importlib.util.MAGIC_NUMBER)
    for name, content in sorted(sources.items()):
        found.update(f"{name} {len(content)}\n".encode() + content)
    return MARK + b" " + found.hexdigest().encode()


def _sources() -> dict[str, bytes]:
    return {**_files(), "__main__.py": _START.encode()}


def _with_bytecode(sources: t.Mapping[str, bytes]) -> dict[str, bytes]:
    """Older versions of Python do not make the same of a file each time."""
    found = dict(sources)
    for name, content in sources.items() if sys.version_info >= _OLDEST_BYTECODE else ():
        code = compile(content, name, "exec", dont_inherit=True, optimize=_WITHOUT_DOCSTRINGS)
        # Found by its hash, which nobody compares: the file beside it is the one that it was made of (PEP 552).
        head = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + importlib.util.source_hash(content)
        found[f"{name}c"] = head + marshal.dumps(code, _WITHOUT_REFERENCES)
    return found


def _files() -> dict[str, bytes]:
    """{path in the zip: content} of what the program imports, at any depth."""
    found: dict[str, bytes] = {}
    left = [_ENTRY]
    seen: set[str] = set()
    while left:
        name = left.pop()
        if name in seen or not (name == _ENGINE or name.startswith(f"{_ENGINE}.")):
            continue
        seen.add(name)
        module = _read(name)
        if module is None:
            continue  # a name in a module, not one of a module
        content, is_package = module
        path = "/".join([PACKAGE, *name[len(_ENGINE) + 1 :].split(".")]).rstrip("/")
        found[f"{path}/__init__.py" if is_package else f"{path}.py"] = content
        left += [name.rpartition(".")[0], *_imports(content, name, is_package)]
    return found


def _read(name: str) -> tuple[bytes, bool] | None:
    """(content, whether it is a package) of a module; None where there is none of the name."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None:
        return None
    return _content(spec.loader, name, spec.origin), spec.submodule_search_locations is not None


def _content(loader: t.Any, name: str, origin: str) -> bytes:
    """That of Mitogen knows modules as texts alone."""
    return bytes(loader.get_data(origin)) if hasattr(loader, "get_data") else str(loader.get_source(name)).encode()


def _imports(content: bytes, name: str, is_package: bool) -> t.Iterator[str]:
    """Names that a module imports relatively, in functions too; of "from . import a" both "." and "a"."""
    package = name if is_package else name.rpartition(".")[0]
    for found in _IMPORT.finditer(content.decode()):
        base = importlib.util.resolve_name(found["place"], package)
        yield base
        yield from (f"{base}.{item.split()[0]}" for item in found["names"].strip("()").split(",") if item.strip())


def main() -> None:
    """Write the program. Arguments: path, and an interpreter if it is another one."""
    path, *rest = sys.argv[1:]
    content = executable(*rest)
    text = content.decode(errors="surrogateescape")
    # By whoever builds it, in a directory of theirs.
    files.write(os.path.abspath(path), text, PERMISSIONS, trust=directories.NONE)


if __name__ == "__main__":
    main()

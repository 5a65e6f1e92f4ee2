"""Beside the engine an interpreter can use all of pyroute2."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import message_classes

_PLAIN = "from pyroute2 import IPRoute, NetNS"
_ENGINE = f"from {message_classes.__name__} import message_class, version; message_class('ifinfmsg'); version()"
_LATER = "message_class('tcmsg'); message_class('ifaddrmsg')"


@pytest.mark.parametrize("lines", [(_ENGINE, _PLAIN, _LATER), (_PLAIN, _ENGINE, _LATER), (_ENGINE, _LATER, _PLAIN)])
def test_package_can_be_imported_beside_it(lines: tuple[str, ...]) -> None:
    program = "\n".join([f"import sys; sys.path[:] = {sys.path!r}", *lines, "assert IPRoute.__name__ == 'IPRoute'"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

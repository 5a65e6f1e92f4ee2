"""Give ansible-test a pip bootstrap script where it cannot download its own. Usage: bootstrap_pip.py CACHE_FOLDER."""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

import ansible_test

SCRIPT = """\
import subprocess, sys
subprocess.check_call([sys.executable, "-m", "ensurepip"])
subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", "pip=={version}"])
"""


def main() -> None:
    package = Path(ansible_test.__path__[0])
    versions = re.findall(r"\bpip='([\d.]+)'", (package / "_internal/python_requirements.py").read_text())
    urls = re.findall(r"'(https://\S+/get-pip-%s\.py)'", (package / "_util/target/setup/requirements.py").read_text())
    if len(versions) != 1 or len(urls) != 1:
        sys.exit("this version of ansible-test gets its pip in another way: adapt bootstrap_pip.py")
    version, url = versions[0], urls[0] % versions[0]
    cached = Path(sys.argv[1]) / f"get_pip_{version.replace('.', '_')}.py"
    if cached.exists():
        return
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5):
            return
    except (urllib.error.URLError, OSError) as error:
        print(f"sanity: pip's bootstrap script cannot be downloaded ({error}), ensurepip takes its place")
    cached.write_text(SCRIPT.format(version=version))


if __name__ == "__main__":
    main()

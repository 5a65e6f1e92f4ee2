"""Runs one command on a stock kernel, with its output on the console: python3 -m tests.lab.stock 6.1 -- ip link"""

from __future__ import annotations

import argparse
import sys

from tests.lab.stock import kernels
from tests.lab.stock.guest import Guest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernel", choices=kernels.RELEASES)
    parser.add_argument("--cmdline", default="", help="more parameters of the kernel")
    parser.add_argument("--hide", nargs="*", default=[], metavar="MODULE", help="modules that its package is to lack")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    kernel = kernels.ensure(asked.kernel, lambda line: print(line, file=sys.stderr, flush=True))
    # A shell, as the channel is a device of the guest.
    job = ["sh", "-c", '"$@" >$STOCK_CHANNEL 2>&1', "sh", *asked.command]
    with Guest(kernel, job, cmdline=asked.cmdline, hidden=asked.hide) as guest:
        for line in guest.lines():
            print(line, flush=True)
    print(f"{guest.processor_time:.0f} s of processor time", file=sys.stderr)
    return guest.status or 0


if __name__ == "__main__":
    sys.exit(main())

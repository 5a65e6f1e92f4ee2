"""Connect to a node from inside its lab, and hand the connection over to the ssh that started this program.

ssh runs it as ProxyCommand with ProxyUseFdpass. The socket comes from the lab's supervisor and belongs
to the network of the lab's controller, wherever this program runs.
Usage: connect.py control-socket address port
"""

from __future__ import annotations

import array
import json
import os
import socket
import sys

_TIMEOUT = 10.0


def request(control: str, message: dict[str, object], timeout: float = _TIMEOUT) -> tuple[dict[str, object], list[int]]:
    """Ask the supervisor of a lab; return its answer, and the descriptors that came with it."""
    # By its folder's descriptor, as the path itself may be too long for the address of a socket.
    folder = os.open(os.path.dirname(control), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as supervisor:
            supervisor.settimeout(timeout)
            supervisor.connect(f"/proc/self/fd/{folder}/{os.path.basename(control)}")
            supervisor.sendall(json.dumps(message).encode() + b"\n")
            data, descriptors, _flags, _sender = socket.recv_fds(supervisor, 1 << 16, 4)
            received = [data]
            while data:
                data = supervisor.recv(1 << 16)
                received.append(data)
    finally:
        os.close(folder)
    answer: dict[str, object] = json.loads(b"".join(received) or b"{}")
    return answer, descriptors


def main() -> int:
    """Connect as ssh asks for it."""
    control, address, port = sys.argv[1:]
    try:
        answer, descriptors = request(control, {"action": "socket"})
        if not descriptors:
            print(f"lab: {answer.get('error', 'the supervisor gave no socket')}", file=sys.stderr)
            return 1
        with socket.socket(fileno=descriptors[0]) as connection:
            connection.settimeout(_TIMEOUT)
            connection.connect((address, int(port)))
            connection.setblocking(True)
            with socket.socket(fileno=os.dup(1)) as ssh:
                handed = array.array("i", [connection.fileno()])
                ssh.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handed)])
    except OSError as error:
        print(f"lab: no connection to {address}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

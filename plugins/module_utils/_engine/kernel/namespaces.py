# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces: handles below /run/netns, entering, making and removing them.

See network_namespaces(7), setns(2), ip-netns(8). A namespace is named as in the model: "" is the one the
program runs in, a word is a name below /run/netns, anything else is a path.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import stat
import time
import typing as t

from ..errors import ConflictError, KernelError
from ..model import HOST, MARK, is_ours
from . import files, handle_marks, links, mounts
from .link_messages import get_link, get_nsid, parse_nsid
from .mounts import MS_BIND, MS_REC, MS_SHARED, TEMPORARY, bind, is_namespace, libc
from .netlink import BATCH, NetlinkSocket
from .proc_sys import ProcSys
from .processes import processes_in
from .switches import CLOSED_FROM_THE_BEGINNING

DIRECTORY = "/run/netns"
CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703
_DEPARTURE_PATIENCE = 2.0  # seconds
_SPARE = 16  # file descriptors


def obstacle_to_attach(path: str) -> str:
    """Why the path is no handle of a network namespace, or "". See ioctl_ns(2)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return f"it cannot be opened: {os.strerror(error.errno or 0)}"
    try:
        kind = fcntl.ioctl(descriptor, NS_GET_NSTYPE)
    except OSError:
        return "it is not a namespace"
    finally:
        os.close(descriptor)
    return "" if kind == CLONE_NEWNET else "it is a namespace, but not one of a network"


def obstacle_to_name(name: str, replaceable: bool = False) -> str:
    """What else than a namespace has the name, or "". A handle of ours whose namespace is gone is no obstacle.

    replaceable: neither is an empty file.
    """
    path = f"{DIRECTORY}/{name}"
    try:
        status = os.lstat(path)
    except OSError:
        return ""
    plain = stat.S_ISREG(status.st_mode)
    if plain and is_namespace(path):
        return ""
    pid = seen_by(name) if plain else 0
    if pid:
        return f"{path} is one for PID {pid}, which sees other mounts than this run (nsenter -m -t {pid} enters them)"
    if plain and (_is_marked(path) or (replaceable and not status.st_size)):
        return ""
    return f"{path} is {'a file' if plain else 'something else'} that is no namespace"


def seen_by(name: str) -> int:
    """The PID of a process for which a handle is alive that is none here, or 0. To delete the file would end it there.

    Whoever has a mount namespace of its own (unshare -m) may not see what others have mounted since.
    """
    here = os.stat(DIRECTORY)
    known: set[tuple[tuple[int, int], ...]] = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            seen = [os.stat(f"/proc/{pid}/{place}") for place in ("ns/mnt", "root")]
            place = tuple((status.st_dev, status.st_ino) for status in seen)
            directory = f"/proc/{pid}/root{DIRECTORY}"
            if (
                place not in known
                and os.path.samestat(os.stat(directory), here)
                and is_namespace(f"{directory}/{name}")
            ):
                return int(pid)
            known.add(place)
    return 0


def path_of(netns: str) -> str:
    if netns == HOST:
        return "/proc/thread-self/ns/net"
    return netns if "/" in netns else f"{DIRECTORY}/{netns}"


def names() -> list[str]:
    """Names of the live handles."""
    if not os.path.isdir(DIRECTORY):
        return []
    return sorted(name for name in os.listdir(DIRECTORY) if is_namespace(f"{DIRECTORY}/{name}"))


def handles() -> list[str]:
    """The same without symbolic links: what is behind such a one has another name, or none."""
    return [name for name in names() if not os.path.islink(f"{DIRECTORY}/{name}")]


@contextlib.contextmanager
def in_new_namespace() -> t.Iterator[None]:
    """The calling thread is in a namespace of its own, thrown away after the block."""
    home = os.open(path_of(HOST), os.O_RDONLY | os.O_CLOEXEC)
    try:
        mounts.call("make a namespace to look at", "unshare", CLONE_NEWNET)
        try:
            yield
        finally:
            mounts.call("return to the namespace of the host", "setns", home, CLONE_NEWNET)
    finally:
        os.close(home)


@contextlib.contextmanager
def _suppressed_absence() -> t.Iterator[None]:
    """Not of what is there, and cannot be opened for want of files or memory."""
    try:
        yield
    except KernelError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise


class Namespaces:
    """Open handles and sockets of a run, each opened once."""

    def __init__(self) -> None:
        # Each namespace takes two, and the usual soft limit is 1024.
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._handles: dict[str, int] = {HOST: os.open(path_of(HOST), os.O_RDONLY | os.O_CLOEXEC)}
        self._sockets: dict[str, NetlinkSocket] = {}
        self._spare = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _number in range(_SPARE)]
        self._numbers: dict[tuple[str, str], int] = {}
        self._prepared = False
        self.settings = ProcSys()
        self._departing: dict[str, list[int]] = {}
        self._ends_removed = False

    def __enter__(self) -> Namespaces:
        return self

    @staticmethod
    def _explained(error: OSError) -> KernelError:
        """An error of the system that no step has named, such as no file descriptor left."""
        scarce = error.errno in (errno.EMFILE, errno.ENFILE)
        advice = "Raise the limit of open files: two for each namespace (ulimit -n)" if scarce else "See errno(3)"
        return KernelError("look at and change the network of this host", str(error), error.errno or 0, advice)

    def make_room(self) -> None:
        """Close what a way back can do without: it may be that no more files can be opened."""
        while self._spare:
            os.close(self._spare.pop())

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Errors: KernelError in place of an OSError of the block."""
        self.make_room()
        gone = self._departing_links() if self._ends_removed else []
        self.settings.close()
        for open_socket in self._sockets.values():
            open_socket.close()
        for handle in self._handles.values():
            os.close(handle)
        if self._ends_removed:
            mounts.end_removed()
        if not await_departure(gone):
            links.delete_marked(gone)
        if isinstance(error, OSError):
            raise self._explained(error) from error

    def end_removed(self) -> None:
        """At the end of the block no namespace that was removed, by whatever run, can be restored any more."""
        self._ends_removed = True

    def _departing_links(self) -> list[int]:
        """On the host, the other ends of pairs that go with the removed namespaces."""
        paths = {name: f"{mounts.REMOVED}/{name}" for name in mounts.removed() if not _has_its_name(name)}
        if not paths:
            return []
        unknown = {path: name for name, path in paths.items() if name not in self._departing}
        found = links.host_ends(self, list(unknown)) if unknown else {}
        self._departing.update((unknown[path], indexes) for path, indexes in found.items())
        # A namespace in which processes live does not go, and neither do the links into it.
        inhabited = processes_in({name: os.stat(path) for name, path in paths.items()})
        return [index for name in paths if not inhabited.get(name) for index in self._departing[name]]

    def go_home(self) -> None:
        """Back to the namespace of the host, wherever an error left this thread."""
        mounts.call("return to the namespace of the host", "setns", self._handles[HOST], CLONE_NEWNET)

    def forget_replaced(self) -> None:
        """Of handles whose names lead elsewhere by now, or nowhere, as when another tool deleted a namespace."""
        for name, handle in list(self._handles.items()):
            if name != HOST and "/" not in name and not _leads_to(name, os.fstat(handle)):
                self._forget(name)

    def exists(self, netns: str) -> bool:
        return netns in self._handles or is_namespace(path_of(netns))

    def handle(self, netns: str) -> int:
        """A file descriptor of the namespace. Errors: KernelError where it does not exist."""
        if netns not in self._handles:
            asked = f"open namespace {netns}"
            try:
                descriptor = os.open(path_of(netns), os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise KernelError(asked, os.strerror(error.errno or 0), error.errno or 0) from error
            if not is_namespace(f"/proc/self/fd/{descriptor}"):
                os.close(descriptor)
                raise KernelError(asked, f"{path_of(netns)} is no namespace", errno.EINVAL)
            self._handles[netns] = descriptor
        return self._handles[netns]

    def _may_open(self, netns: str) -> bool:
        with _suppressed_absence():
            self.handle(netns)
        return netns in self._handles

    @contextlib.contextmanager
    def entered(self, netns: str) -> t.Iterator[None]:
        """The calling thread is in the namespace while the block runs."""
        if netns == HOST:
            yield
            return
        mounts.call(f"enter namespace {netns}", "setns", self.handle(netns), CLONE_NEWNET)
        try:
            yield
        finally:
            self.go_home()

    def socket(self, netns: str) -> NetlinkSocket:
        if netns not in self._sockets:
            with self.entered(netns):
                self._sockets[netns] = NetlinkSocket()
        return self._sockets[netns]

    def may_enter(self, netns: str) -> bool:
        """A namespace that was listed may be gone by now, or be another user's."""
        with _suppressed_absence():
            self.socket(netns)
        return netns in self._sockets

    def numbers(self, netns: str, others: t.Iterable[str]) -> dict[str, int]:
        """The number that each of the other namespaces has in this one, as links name it; none for those without."""
        asked = [other for other in others if (netns, other) not in self._numbers and self._may_open(other)]
        answers = self.socket(netns).request([get_nsid(self.handle(other)) for other in asked])
        for other, answer in zip(asked, answers):
            number = parse_nsid(answer.replies[0]) if answer.replies else -1
            if number >= 0:
                self._numbers[netns, other] = number
        return {other: self._numbers[netns, other] for other in others if (netns, other) in self._numbers}

    def create(self, name: str, alias: str, loopback: bool) -> None:
        """Make a namespace. It carries the mark before it has the name, so that no unmarked one is ever left."""
        self._prepare_directory()
        asked = f"create namespace {name}"
        mounts.call(asked, "unshare", CLONE_NEWNET)
        with contextlib.ExitStack() as undo:
            undo.callback(self.go_home)
            with contextlib.ExitStack() as opened:
                inside = NetlinkSocket()
                opened.callback(inside.close)
                handle = os.open(path_of(HOST), os.O_RDONLY | os.O_CLOEXEC)
                opened.callback(os.close, handle)
                links.set_loopback(inside, alias, loopback, asked)
                self.settings.write(name, CLOSED_FROM_THE_BEGINNING, asked)
                bind(path_of(HOST), f"{DIRECTORY}/{name}", asked, f"{alias or MARK}{handle_marks.END}")
                opened.pop_all()
        self._forget(name)
        self._sockets[name], self._handles[name] = inside, handle

    def handle_marks(self, netnses: t.Iterable[str]) -> dict[str, str] | None:
        """{name: what is on its handle}, as handle_marks.read."""
        return handle_marks.read(DIRECTORY, [name for name in netnses if "/" not in name])

    def mark(self, netns: str, mark: str) -> None:
        """Give a handle another mark. Errors: OSError."""
        handle_marks.write(DIRECTORY, netns, mark)

    def close_to_redirects(self, netns: str, asked: str) -> None:
        """Of IPv4, where those count that all links, or one, may accept."""
        with self.entered(netns):
            self.settings.write(netns, {"net/ipv4/conf": {"all/accept_redirects": "0"}}, asked)

    def attach(self, name: str, path: str) -> None:
        """Give an existing namespace a name."""
        self._prepare_directory()
        bind(path, f"{DIRECTORY}/{name}", f"give {path} the name {name}", handle_marks.ATTACHED)
        self._forget(name)

    def restore(self, name: str) -> bool:
        """Give a namespace that was removed its name back. False where none of that name can be restored."""
        kept = f"{mounts.REMOVED}/{name}"
        if not is_namespace(kept):
            return False
        if not _has_its_name(name):
            bind(kept, f"{DIRECTORY}/{name}", f"restore namespace {name}", mounts.mark_of_removed(name))
        mounts.forget_removed(name)
        self._forget(name)
        departing = self._departing.pop(name, None)
        indexes = links.host_ends(self, [name])[name] if departing is None else departing
        links.let_forward(self, indexes, True)
        return True

    def inhabitants(self, netnses: t.Sequence[str]) -> dict[str, list[tuple[int, str]]]:
        """(PID, command) of the processes in each of the namespaces."""
        return processes_in({name: os.fstat(self.handle(name)) for name in netnses})

    def remove(self, names: t.Sequence[str]) -> t.Iterator[str]:
        """Take the names away, and tell of each. The namespaces live on until end_removed, so that this can be undone,
        whether or not this process lives on.
        """
        departing = links.host_ends(self, names)
        marks = self.handle_marks(names) or {}
        # They must not answer for addresses that others get meanwhile.
        links.let_forward(self, [index for indexes in departing.values() for index in indexes], False)
        left = list(names)
        try:
            while left:
                name = left[0]
                mounts.keep_removed(f"/proc/self/fd/{self.handle(name)}", name, marks.get(name, handle_marks.ATTACHED))
                try:
                    mounts.unbind(f"{DIRECTORY}/{name}", f"delete namespace {name}")
                except BaseException:
                    mounts.forget_removed(name)
                    raise
                self._departing[name] = departing[name]
                self._close(name)
                del left[0]
                yield name
        finally:
            self._numbers = {pair: number for pair, number in self._numbers.items() if not departing.keys() & pair}
            links.let_forward(self, [index for name in left for index in departing[name]], True)

    def _prepare_directory(self) -> None:
        """As ip-netns(8) does it: handles made here are seen in other mount namespaces, and the reverse."""
        if self._prepared:
            return
        if not os.path.isdir(DIRECTORY):
            os.makedirs(DIRECTORY, mode=0o755, exist_ok=True)
            os.chmod(DIRECTORY, 0o755)  # noqa: S103 (as ip-netns(8), whatever the umask)
        directory = DIRECTORY.encode()
        if libc.mount(b"none", directory, b"none", MS_SHARED | MS_REC, None) != 0:
            mounts.call(f"prepare {DIRECTORY}", "mount", directory, directory, b"none", MS_BIND | MS_REC, None)
            mounts.call(f"prepare {DIRECTORY}", "mount", b"none", directory, b"none", MS_SHARED | MS_REC, None)
        self._prepared = True

    def _forget(self, name: str) -> None:
        self._numbers = {pair: number for pair, number in self._numbers.items() if name not in pair}
        self._close(name)

    def _close(self, name: str) -> None:
        if name in self._sockets:
            self._sockets.pop(name).close()
        if name in self._handles:
            os.close(self._handles.pop(name))


def _has_its_name(name: str) -> bool:
    """Whether a removed namespace still is what its name leads to: the run was killed before it took that away."""
    return _leads_to(name, os.stat(f"{mounts.REMOVED}/{name}"))


def _leads_to(name: str, namespace: os.stat_result) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(f"{DIRECTORY}/{name}"), namespace)
    return False


def await_departure(indexes: t.Sequence[int], patience: float = _DEPARTURE_PATIENCE) -> bool:
    """Wait for links whose other ends went with a removed namespace: the kernel cleans up in its own time.

    patience: seconds without any that went. Whether all did: somebody may hold the namespace.
    """
    if not indexes:
        return True
    give_up = time.monotonic() + patience
    left = list(indexes)
    opened = NetlinkSocket()
    try:
        while time.monotonic() < give_up:
            while left:
                # They go in no order that could be relied upon, but most of them at once.
                asked = left[-BATCH:]
                answers = opened.request([get_link(index=index) for index in asked])
                there = [index for index, answer in zip(asked, answers) if not answer.errno]
                if len(there) < len(asked):
                    give_up = time.monotonic() + patience
                left[-BATCH:] = there
                if there:
                    break
            if not left:
                return True
            time.sleep(0.005)
    finally:
        opened.close()
    return False


def sweep() -> None:
    """Remove handles of ours that are no namespaces any more, as a killed run leaves them."""
    for name in os.listdir(DIRECTORY) if os.path.isdir(DIRECTORY) else []:
        path = f"{DIRECTORY}/{name}"
        ours = not is_namespace(path) and (name.startswith(TEMPORARY) or _is_marked(path))
        if ours and not seen_by(name):
            os.unlink(path)


def remove_leftover(name: str, check: bool) -> None:
    """Remove a file among the handles that is no namespace, if there is one. check: only see whether it may go.

    Errors: ConflictError if it is more than an empty file or one of ours, or a namespace for others. KernelError.
    """
    path = f"{DIRECTORY}/{name}"
    if is_namespace(path) or not os.path.lexists(path):
        return
    obstacle = obstacle_to_name(name, replaceable=True)
    if obstacle:
        raise ConflictError(f"delete {path}", obstacle, "See what it is, and who needs it")
    if not check:
        files.delete(path)


def _is_marked(path: str) -> bool:
    # Others may remove theirs at any time.
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(path)
        plain = stat.S_ISREG(status.st_mode) and status.st_size < handle_marks.LONGEST
        text = files.read(path) or "" if plain else ""
        return is_ours(text) or text == handle_marks.ATTACHED
    return False

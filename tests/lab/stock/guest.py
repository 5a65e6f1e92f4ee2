"""A guest: one boot of a stock kernel, which does one job and ends.

    with Guest(kernels.ensure("6.1"), ["ip", "link", "add", "bond0", "type", "bond"]) as guest:
        for line in guest.lines():  # what the job writes to the device in $STOCK_CHANNEL
            print(line)

It has one processor. Its clock advances by a nanosecond with each instruction, and by real time only while it is idle,
so what takes long in the guest does not depend on how busy the machine is. Limits are in the guest's time or in
processor time.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import shutil
import subprocess
import tempfile
import typing as t
from pathlib import Path

from tests.lab.holder import LabError
from tests.lab.syscalls import die_with

if t.TYPE_CHECKING:
    from typing_extensions import Self

    from tests.lab.stock.kernels import Kernel

CHANNEL = "/dev/vport0p1"
_MEMORY = "1536"
_GUEST_TIME = 1800  # seconds that a job may take in the guest
_PROCESSOR_TIME = 1800  # seconds of the machine's processors, for a guest that hangs
_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_console")
_INIT = Path(__file__).resolve().with_name("init.sh")
_LAST_LINES = 40
_END = "the job ended with status "
_START = """
export PATH={path} HOME=/root {environment}
cd {folder}
timeout -s KILL {limit} {command} </dev/null
status=$?
[ $status != 137 ] || echo "the job was ended after {limit} s of guest time"
echo '{end}'$status >{channel}
echo o >/proc/sysrq-trigger
sleep 60
"""


class GuestError(LabError):
    """A guest ended before its job did; the message has the end of its console."""


class Guest:
    """A booted stock kernel with a job."""

    def __init__(
        self,
        kernel: Kernel,
        job: t.Sequence[str],
        *,
        cmdline: str = "",
        hidden: t.Collection[str] = (),
        environment: t.Mapping[str, str] | None = None,
    ) -> None:
        """job: a command, which runs in the current folder. hidden: modules that the kernel's package is to lack."""
        self.kernel = kernel
        self.status: int | None = None
        self._cmdline = cmdline
        self._hidden = hidden
        self._job = list(job)
        self._environment = {**(environment or {}), "STOCK_CHANNEL": CHANNEL}
        self._place = Path(tempfile.mkdtemp(prefix="stock-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._output: t.IO[str] | None = None
        self._processor_time = 0.0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def lines(self) -> t.Iterator[str]:
        """What the job writes to its channel, line by line, until it ends. Errors: GuestError."""
        assert self._output is not None
        for line in self._output:
            if line.startswith(_END):
                self.status = int(line[len(_END) :])
                return
            yield line.rstrip("\n")
        raise GuestError(f"the guest with Linux {self.kernel.version} ended before its job; {self.console_end()}")

    def console_end(self) -> str:
        """The last lines of the console, with a headline."""
        with contextlib.suppress(FileNotFoundError):
            text = (self._place / "console").read_text(encoding="utf-8", errors="replace")
            return "\n    ".join(["its console ends:", *text.splitlines()[-_LAST_LINES:]])
        return "it has no console"

    @property
    def processor_time(self) -> float:
        """Seconds of processor time that the guest took, once it is closed."""
        return self._processor_time

    def close(self) -> None:
        """End the guest, whatever it does."""
        if self._process is not None:
            if self.status is None:
                self._process.kill()
            _pid, _status, usage = os.wait4(self._process.pid, 0)
            self._processor_time = usage.ru_utime + usage.ru_stime
            self._process.returncode = 0  # it has been waited for
            self._process = None
        if self._output is not None:
            self._output.close()
            self._output = None
        shutil.rmtree(self._place, ignore_errors=True)

    def _start(self) -> None:
        job = self._place / "job"
        job.mkdir()
        (job / "hidden").write_text(" ".join(self._hidden), encoding="ascii")
        environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in self._environment.items())
        start = _START.format(
            path=shlex.quote(os.environ["PATH"]),
            environment=environment,
            folder=shlex.quote(str(Path.cwd())),
            limit=_GUEST_TIME,
            command=shlex.join(self._job),
            end=_END,
            channel=CHANNEL,
        )
        (job / "start").write_text(start, encoding="utf-8")
        self._pack()
        reader, writer = os.pipe()
        self._output = os.fdopen(reader, encoding="utf-8", errors="replace")
        try:
            with (self._place / "qemu.log").open("wb") as log:
                self._process = subprocess.Popen(
                    self._command(job, writer),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[writer],
                    preexec_fn=_limits(os.getpid()),  # noqa: PLW1509 (system calls alone)
                )
        finally:
            os.close(writer)

    def _command(self, job: Path, writer: int) -> list[str]:
        cmdline = f"console=ttyS0 quiet panic=-1 oops=panic net.ifnames=0 {self._cmdline}"
        command = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", _MEMORY]
        command += ["-icount", "shift=0,sleep=on", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        command += ["-nic", "none", "-monitor", "none", "-serial", f"file:{self._place / 'console'}"]
        command += ["-kernel", str(self.kernel.image), "-initrd", str(self._place / "initramfs"), "-append", cmdline]
        command += ["-device", "virtio-serial", "-device", "virtserialport,chardev=channel,name=channel"]
        command += ["-chardev", f"file,id=channel,path=/proc/self/fd/{writer}"]
        for tag, path in (("machine", Path("/")), ("kernel", self.kernel.modules), ("job", job)):
            options = f"path={path},mount_tag={tag},security_model=none,readonly=on,multidevs=remap"
            command += ["-virtfs", f"local,{options}"]
        return command

    def _pack(self) -> None:
        """Make the initramfs: busybox, the modules that the machine's root is mounted by, in their order, and init."""
        folder = self._place / "initramfs.d"
        for name in ("bin", "dev", "proc", "sys", "modules", "machine", "kernel", "job", "layers", "new"):
            (folder / name).mkdir(parents=True)
        shutil.copy(shutil.which("busybox") or "busybox", folder / "bin/busybox")
        (folder / "bin/sh").symlink_to("busybox")
        shutil.copy(_INIT, folder / "init")
        (folder / "init").chmod(0o755)
        for number, module in enumerate(self._modules()):
            shutil.copy(module, folder / "modules" / f"{number:02}-{module.name}")
        names = "\n".join(str(path.relative_to(folder)) for path in [folder, *sorted(folder.rglob("*"))])
        with (self._place / "initramfs").open("wb") as archive:
            pack = ["cpio", "--quiet", "-o", "-H", "newc"]
            subprocess.run(pack, cwd=folder, input=names.encode(), stdout=archive, check=True)
        shutil.rmtree(folder)

    def _modules(self) -> list[Path]:
        root = str(self.kernel.modules.parent.parent)
        argv = ["modprobe", "-d", root, "-S", self.kernel.version, "-a", "--show-depends", *_MODULES]
        shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        paths = [line.split()[1] for line in shown.splitlines() if line.startswith("insmod ")]
        return [Path(path) for path in dict.fromkeys(paths)]


def _limits(parent: int) -> t.Callable[[], None]:
    def limit() -> None:
        die_with(parent)
        # A hard limit ends it by SIGKILL.
        resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR_TIME, _PROCESSOR_TIME))

    return limit

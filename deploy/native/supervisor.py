"""supervisord for one stack: its generated configuration, its start, and the calls on its control socket."""

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, cast

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from deploy.native.failures import StackError, part_failed
from deploy.native.layout import Layout
from deploy.native.parts import Part, inherited

LOG_BYTES, LOG_FILES = 10_485_760, 3
START_SECONDS = 10
STOP_SECONDS = 60
"""Bound on a whole stop; longer than the slowest service, Kafka and PostgreSQL one after the other."""
MAX_SOCKET_PATH = 95
"""A unix socket's path ends at 107 bytes, and supervisord appends its process id while it makes it."""


class Supervisor:
    """Handle on the supervisor of one stack, running or not. Used from one thread."""

    _spawned: ClassVar[list[subprocess.Popen[bytes]]] = []
    """Held as long as this process lives: an ended child must be waited for, and a running one not be collected."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._socket = socket_path(layout)

    def pid(self) -> int | None:
        """Return the running supervisor's process id, also while it shuts down, or None."""
        try:
            return cast("int", self._call("getPID"))
        except OSError:
            return None
        except StackError:
            with contextlib.suppress(OSError):  # it ended meanwhile
                return int((self._layout.state / "supervisord.pid").read_text())
            return None

    def spawn(self, parts: Iterable[Part], *, tied: bool) -> None:
        """Start the supervisor with every part declared and none running.

        `tied`: it stops everything when the calling process dies, however it dies; call it from the main thread then,
        since the kernel watches the calling thread. Raises StackError.
        """
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = self._layout.config / "supervisord.conf"
        config.write_text(render(self._layout, self._socket, parts))
        log = self._layout.log("supervisord")
        tie = ("setpriv", "--pdeathsig", "TERM") if tied else ()
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*tie, sys.executable, "-m", "deploy.native.supervisord", "-c", config],
                cwd=self._layout.checkout,
                env=inherited(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._spawned.append(process)
        deadline = time.monotonic() + START_SECONDS
        while self.pid() != process.pid:
            if process.poll() is not None:
                raise part_failed("supervisord", f"ended with {process.returncode}", log)
            if time.monotonic() > deadline:
                process.kill()
                raise part_failed("supervisord", f"did not answer within {START_SECONDS} s", log)
            time.sleep(0.02)

    def start(self, part: str) -> None:
        """Start one part, unless it runs or is being restarted; returns at once."""
        try:
            self._call("startProcess", self._qualified(part), False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise StackError(f"{part}: {fault.faultString}", f"read {self._layout.log(part)}") from fault

    def stop(self, part: str) -> None:
        """Stop one part and wait until it has ended (it is killed after its `stop_seconds`)."""
        with contextlib.suppress(xmlrpc.client.Fault):  # NOT_RUNNING
            self._call("stopProcess", self._qualified(part), True)

    def states(self) -> dict[str, dict[str, Any]]:
        """Return part -> supervisord's process information (statename, pid, exitstatus, start, …)."""
        return {info["name"]: info for info in self._call("getAllProcessInfo")}

    def shutdown(self) -> list[str]:
        """Stop everything in reverse order and end the supervisor; returns what had to be killed after that.

        Waits up to STOP_SECONDS. Processes that are left after it (children of children too) are killed and named.
        """
        supervisor = self.pid()
        if supervisor is None:
            return []
        try:
            root = psutil.Process(supervisor)
            family = [*root.children(recursive=True), root]
        except psutil.NoSuchProcess:
            return []
        with contextlib.suppress(OSError, StackError):  # somebody else asked first
            self._call("shutdown")
        deadline = time.monotonic() + STOP_SECONDS
        while alive(root) and time.monotonic() < deadline:
            time.sleep(0.05)
            # any call wakes supervisord's select, which otherwise notices an ended child up to a second late
            with contextlib.suppress(OSError, StackError):
                self._call("getPID")
        left = [process for process in family if alive(process)]
        names = []
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                names.append(f"{process.name()} (pid {process.pid})")
                process.kill()
        psutil.wait_procs(left, timeout=5)
        for child in self._spawned:
            child.poll()
        return names

    def _qualified(self, part: str) -> str:
        for info in self._call("getAllProcessInfo"):
            if info["name"] == part:
                return f"{info['group']}:{part}"
        raise StackError(f"there is no part named {part}", "`python -m deploy.native status` lists them")

    def _call(self, method: str, *arguments: Any) -> Any:
        """One call on a connection of its own.

        Raises OSError when no supervisor answers, StackError while it shuts down, Fault when it refuses.
        """
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        except (xmlrpc.client.ProtocolError, EOFError) as error:
            raise ConnectionError(str(error)) from error
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.SHUTDOWN_STATE:
                raise
            raise StackError("another command is stopping this stack", "wait for it, then start again") from None
        finally:
            transport.close()


def alive(process: psutil.Process) -> bool:
    """Whether the process still runs (a zombie has ended; only its parent has not asked yet)."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def socket_path(layout: Layout) -> Path:
    """Return the control socket: in the state directory, or, where that path is too long, in a private directory."""
    if len(bytes(layout.control_socket)) <= MAX_SOCKET_PATH:
        return layout.control_socket
    digest = sha256(bytes(layout.state)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"gpki-{os.geteuid()}-{digest}" / "supervisor.sock"


def render(layout: Layout, socket: Path, parts: Iterable[Part]) -> str:
    """Return supervisord.conf. Parts of one group are stopped together, the last group first."""
    root = "user=root\n" if os.geteuid() == 0 else ""
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.group, []).append(part)
    log = _text(layout.log("supervisord"))
    sections = [
        f"""[supervisord]
nodaemon=true
silent=true
pidfile={_text(layout.state)}/supervisord.pid
logfile={log}
logfile_maxbytes={LOG_BYTES}
logfile_backups={LOG_FILES}
{root}""",
        f"""[unix_http_server]
file={_text(socket)}
chmod=0600
""",
        """[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
""",
    ]
    for order, (group, members) in enumerate(groups.items(), 1):
        names = ",".join(part.name for part in members)
        sections.append(f"[group:{group}]\nprograms={names}\npriority={order}\n")
        sections.extend(_program(layout, part) for part in members)
    return "\n".join(sections)


def _program(layout: Layout, part: Part) -> str:
    """A part dies with the supervisor (pdeathsig), and is restarted for ever (deploy.native.supervisord)."""
    # in this order: a change of account makes the kernel forget the signal
    command = _text(shlex.join((*part.run_as, "setpriv", "--pdeathsig", "KILL", *part.command)))
    environment = ",".join(f"{key}={_quoted(value)}" for key, value in part.environment.items())
    return f"""[program:{part.name}]
command={command}
environment={environment}
directory={_text(layout.checkout)}
autostart=false
autorestart=true
startsecs={part.settle_seconds}
startretries=1000000
stopsignal={part.stop_signal}
stopwaitsecs={part.stop_seconds}
killasgroup=true
umask=077
redirect_stderr=true
stdout_logfile={_text(_text(layout.log(part.name)))}
stdout_logfile_maxbytes={LOG_BYTES}
stdout_logfile_backups={LOG_FILES}
"""


def _quoted(value: str) -> str:
    """A value of an environment; supervisor knows both quotes, and no way to escape one."""
    quote = "'" if '"' in value else '"'
    return f"{quote}{_text(value)}{quote}"


def _text(value: object) -> str:
    """Escape for supervisord's ini, where % introduces an expansion (and in a program's log file once more)."""
    return str(value).replace("%", "%%")

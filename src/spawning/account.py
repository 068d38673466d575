"""The account that a server started by root goes on as (``--chuid``), for good.

Rules: the controller opens what only root may open, and then becomes that user; a fork server does so before it runs
anything of the application's. All three user ids and group ids change, and with them the kernel takes every capability,
so nothing can be regained. The groups are the user's own, and none of root's stays.
"""

import contextlib
import grp
import os
import pwd
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass

from spawning.errors import ConfigError
from spawning.ipc.prctl import be_readable_by_own_user


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the machine.

    :param groups: supplementary ones.
    :param variables: what a login of that user would have in its environment; empty for a number without a name.
    :param origin: where it came from, for messages.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    variables: dict[str, str]
    origin: str

    def enter(self, environ: MutableMapping[str, str]) -> None:
        """Become that user, in all threads, for good. If this process is it already, do nothing.

        ``PR_SET_PDEATHSIG`` is off behind this: the kernel takes it away with the privileges (prctl(2)).

        :param environ: is given the user's variables, and loses what names a directory of the user before.
        :raises ConfigError: the kernel refuses, as in a namespace without that user.
        """
        if is_already(self.uid, self.gid):
            return
        try:
            os.setgroups(self.groups)
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)
            be_readable_by_own_user()
        except OSError as error:
            raise ConfigError(f"{self.origin}: cannot become user {self.uid}: {error.strerror}") from None
        environ.pop("XDG_RUNTIME_DIR", None)
        environ.update(self.variables)

    def check_can_start(self, files: Sequence[str]) -> None:
        """See that the user, as whom the process acts, may read what the next generation is started with.

        :raises ConfigError: a file is out of reach.
        """
        for file in files:
            if not os.access(file, os.R_OK, effective_ids=True):
                raise ConfigError(
                    f"{self.origin}: user {self.uid} may not read {file}, which each reload needs;"
                    " install it where that user may"
                )

    @contextlib.contextmanager
    def tried(self, environ: MutableMapping[str, str]) -> Iterator[None]:
        """Make files as that user for a while, with the way back open."""
        if is_already(self.uid, self.gid):
            yield
            return
        before, groups, variables = (os.geteuid(), os.getegid()), os.getgroups(), dict(environ)
        try:
            os.setgroups(self.groups)
            os.setegid(self.gid)
            os.seteuid(self.uid)
            environ.pop("XDG_RUNTIME_DIR", None)
            yield
        finally:
            os.seteuid(before[0])
            os.setegid(before[1])
            os.setgroups(groups)
            environ.update(variables)


def find(chuid: str, group: str | None, chuid_origin: str, group_origin: str) -> Account:
    """Look up an account.

    :param chuid: ``USER`` or ``USER:GROUP``, by name or number.
    :param group: the group, where it is given by itself.
    :param chuid_origin: where `chuid` came from, for messages. So does `group_origin` for `group`.
    :raises ConfigError: there is no such user or group, or this process may not become it.
    """
    user, colon, group_of_chuid = chuid.partition(":")
    if colon and group is not None:
        raise ConfigError(f"{group_origin}: {chuid_origin} names the group {group_of_chuid!r} already; leave out one")
    entry = _entry(user)
    if entry is None and not user.isdecimal():
        raise ConfigError(f"{chuid_origin}: there is no user {user!r}; name one of this machine, or a number")
    name = group_of_chuid if colon else group
    if name is None and entry is None:
        raise ConfigError(f"{chuid_origin}: user {user} has no name and so no group; write {user}:GROUP")
    uid = entry.pw_uid if entry is not None else int(user)
    gid = _gid(name, chuid_origin if colon else group_origin) if name is not None else entry.pw_gid  # type: ignore[union-attr]
    if os.geteuid() != 0 and not is_already(uid, gid):
        raise ConfigError(
            f"{chuid_origin}: only root can become another user; start it as root, or as that user without this option"
        )
    if entry is None:
        return Account(uid, gid, (gid,), {}, chuid_origin)
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    variables = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}
    return Account(uid, gid, groups, variables, chuid_origin)


def is_already(uid: int, gid: int) -> bool:
    """Whether this process is that user and nothing else."""
    return os.getresuid() == (uid, uid, uid) and os.getresgid() == (gid, gid, gid)


def _entry(user: str) -> pwd.struct_passwd | None:
    with contextlib.suppress(KeyError, OverflowError):
        return pwd.getpwnam(user)
    with contextlib.suppress(KeyError, OverflowError, ValueError):
        return pwd.getpwuid(int(user))
    return None


def _gid(name: str, origin: str) -> int:
    with contextlib.suppress(KeyError):
        return grp.getgrnam(name).gr_gid
    if name.isdecimal():
        return int(name)
    raise ConfigError(f"{origin}: there is no group {name!r}; name one of this machine, or a number")

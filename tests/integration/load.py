"""Load from a few threads that notice everything: each response with its times, each failure with its reason."""

import threading
import time
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

from integration.client import Client, Closed, request
from integration.server import until


@dataclass(frozen=True, slots=True, order=True)
class Answer:
    """One answered request: when it started and ended (monotonic seconds), and the version that answered."""

    started: float
    ended: float
    version: int


@dataclass
class Story:
    """What one client saw."""

    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    goodbyes: int = 0  # responses that said `Connection: close` to a request that did not


class Load:
    """Clients that ask for ``/`` without pause between entry and exit; the application answers with its version.

    :param where: a port, or the path of a Unix socket.
    :param fresh: how many clients open a connection for each request.
    :param kept: how many keep theirs until a response says ``Connection: close``; none ever retries.
    :param pipelined: how many keep theirs as well, and send four requests at once.
    :param host: the address, where the loopback one is not meant.

    On exit each client must have been answered at least once: without that there was no load.
    """

    def __init__(self, where: int | str, fresh: int, kept: int, pipelined: int = 0, host: str = "127.0.0.1") -> None:
        self.fresh = [Story() for _ in range(fresh)]
        self.kept = [Story() for _ in range(kept)]
        self.pipelined = [Story() for _ in range(pipelined)]
        self._where, self._host = where, host
        self._over = threading.Event()
        self._threads = [
            *(threading.Thread(target=self._drive, args=(story, False, 1)) for story in self.fresh),
            *(threading.Thread(target=self._drive, args=(story, True, 1)) for story in self.kept),
            *(threading.Thread(target=self._drive, args=(story, True, 4)) for story in self.pipelined),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            assert all(story.answers for story in self.stories), f"a client without an answer: {self.failures}"

    def wait_for_more(self) -> None:
        """Wait until each client has been answered to a request that it has yet to send."""
        counts = [len(story.answers) + 4 for story in self.stories]  # up to four are under way
        until(
            lambda: all(len(story.answers) > count for story, count in zip(self.stories, counts, strict=True)),
            "more answers for each client",
        )

    def wait_for(self, version: int) -> None:
        """Wait until `version` has answered a client of each kind."""
        for stories in filter(None, (self.fresh, self.kept, self.pipelined)):
            until(partial(_answered, stories, version), f"an answer of version {version}")

    @property
    def answers(self) -> list[Answer]:
        """List all answers, of one client after the other."""
        return [answer for story in self.stories for answer in story.answers]

    @property
    def failures(self) -> list[str]:
        """List every failed request, with the reason."""
        return [failure for story in self.stories for failure in story.failures]

    @property
    def goodbyes(self) -> int:
        """Count the responses that said ``Connection: close`` to a request that did not."""
        return sum(story.goodbyes for story in self.stories)

    @property
    def stories(self) -> list[Story]:
        return [*self.fresh, *self.kept, *self.pipelined]

    def _drive(self, story: Story, keep: bool, count: int) -> None:
        while not self._over.is_set():
            try:
                with Client(self._where, self._host) as client:
                    while self._ask(client, story, keep, count) and not self._over.is_set():
                        pass
            except (OSError, Closed) as error:
                story.failures.append(f"{'kept' if keep else 'fresh'}: {error!r}")

    def _ask(self, client: Client, story: Story, keep: bool, count: int) -> bool:
        """Send requests at once; say whether the connection may be used for others."""
        started = time.monotonic()
        client.send(request("/", *([] if keep else ["Connection: close"])) * count)
        answered = [self._read(client, story, keep, started) for _ in range(count)]
        return all(answered)

    def _read(self, client: Client, story: Story, keep: bool, started: float) -> bool:
        response = client.read()
        if response.status == 200:
            story.answers.append(Answer(started, time.monotonic(), int(response.body)))
        else:
            story.failures.append(f"status {response.status}")
        if keep and response.closes:
            story.goodbyes += 1
        return keep and not response.closes


def _answered(stories: list[Story], version: int) -> bool:
    return any(story.answers and story.answers[-1].version >= version for story in stories)


def steps_back(answers: list[Answer]) -> list[Answer]:
    """List the answers from older code than had answered before their request started."""
    found, newest = [], 0
    by_end = iter(sorted(answers, key=lambda answer: answer.ended))
    ended = next(by_end, None)
    for answer in sorted(answers):
        while ended and ended.ended < answer.started:
            newest = max(newest, ended.version)
            ended = next(by_end, None)
        if answer.version < newest:
            found.append(answer)
    return found

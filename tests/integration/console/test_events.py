"""The event stream: keys and never values, in order, by rights, resumed, and ended with the session."""

import contextlib
import json
import threading
from typing import Any

import httpx

from kemudi.console.access.people import Person


class Listener:
    """Reads a stream in a thread of its own."""

    def __init__(self, http: httpx.Client, **headers: str) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.opened, self.ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(http, headers), daemon=True)
        self._thread.start()
        assert self.opened.wait(10)

    def _run(self, http: httpx.Client, headers: dict[str, str]) -> None:
        with contextlib.suppress(httpx.HTTPError):  # as a test ends, so does the server
            self._read(http, headers)
        self.ended.set()

    def _read(self, http: httpx.Client, headers: dict[str, str]) -> None:
        with http.stream("GET", "/api/v1/events", headers=headers, timeout=60) as answer:
            name = number = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "retry":
                    self.opened.set()
                elif field == "event":
                    name = value
                elif field == "id":
                    number = value
                elif field == "data" and name != "hello":
                    self.events.append((name, number, json.loads(value)))

    def rows(self) -> list[tuple[str, str]]:
        return [(data["env"], data["key"]) for name, _, data in self.events if name == "row"]


def test_a_change_from_git_is_told_by_its_key(site, until):
    """A commit made elsewhere: the row's event arrives, without the value, and the row shows the new value then."""
    browser = site.sign_in()
    listener = Listener(browser.http)
    head = site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=4711)
    until(lambda: ("dev", "GRAPH_CLASSMATES_LIMIT") in listener.rows(), "the event")
    assert set(listener.rows()) == {("dev", "GRAPH_CLASSMATES_LIMIT")}
    # The commit's name, whole or short, may hold these four digits by chance.
    assert "4711" not in json.dumps(listener.events).replace(head, "").replace(head[:12], "")
    assert listener.events[0][2]["revision"] == head
    assert "4711" in site.sign_in().get("/e/dev/settings/GRAPH_CLASSMATES_LIMIT/row").text
    until(lambda: listener.events[-1][0] == "frame", "the frame's event")


def test_a_stream_is_resumed_where_it_broke(site, until):
    """With `Last-Event-ID` what was missed is told; too old an id asks for a full refresh."""
    first = Listener(site.sign_in().http)
    site.repo.change("dev", "sync", SYNC_TIMEOUT=701)
    until(first.rows, "the first event")
    seen = first.events[0][1]
    site.repo.change("dev", "sync", SYNC_BATCH_SIZE=701)
    until(lambda: ("dev", "SYNC_BATCH_SIZE") in first.rows(), "the second event")
    again = Listener(site.sign_in().http, **{"Last-Event-ID": seen})
    until(lambda: ("dev", "SYNC_BATCH_SIZE") in again.rows(), "what was missed")
    assert ("dev", "SYNC_TIMEOUT") not in again.rows()
    lost = Listener(site.sign_in().http, **{"Last-Event-ID": "999999-abc"})
    until(lambda: [name for name, _, _ in lost.events] == ["refresh"], "a refresh")


def test_events_are_told_by_rights(site, until):
    """Who sees one category hears of that one only."""
    site.repo.roles(
        {"who": "v@example.org", "role": "viewer", "environments": ["dev"], "categories": ["sync"]}
    )
    site.refresh()
    listener = Listener(site.sign_in(Person("v", "V", "v@example.org"), owner=False).http)
    site.repo.change("dev", "performance", CACHE_TTL=7)
    site.repo.change("dev", "sync", SYNC_TIMEOUT=702)
    until(lambda: listener.rows() == [("dev", "SYNC_TIMEOUT")], "the event")


def test_a_proposal_is_told_to_those_who_may_see_it(site, until):
    """New, approved, moved and taken away, each by git alone: an event for who sees all of it, none for others."""
    site.repo.roles(
        {"who": "v@example.org", "role": "viewer", "environments": ["dev"], "categories": ["sync"]},
        {"who": "p@example.org", "role": "viewer", "environments": ["dev"], "categories": ["performance"]},
    )
    site.refresh()
    people = {name: Person(name, name, f"{name}@example.org") for name in ("v", "p")}
    sees, other = (Listener(site.sign_in(people[name], owner=False).http) for name in ("v", "p"))
    until(lambda: site.parts.hub.watchers == 2, "both streams")
    found = site.proposal()
    until(lambda: len(sees.events) == 1, "the event of a new one")
    line = "Approved-by: Somebody <somebody@example.org> at 2026-01-01T00:00:00+00:00"
    site.repo.git("notes", "--ref=kemudi/approvals", "add", "-m", line, found.tip)
    until(lambda: len(sees.events) == 2, "the event of a note")
    more = site.repo.git("commit-tree", f"{found.tip}^{{tree}}", "-p", found.tip, "-m", "more")
    site.repo.git("update-ref", f"refs/heads/{found.branch}", more)
    until(lambda: len(sees.events) == 3, "the event of another commit")
    site.repo.git("update-ref", "-d", f"refs/heads/{found.branch}")
    until(lambda: len(sees.events) == 4, "the event of one that is gone")
    assert {name for name, _, _ in sees.events} == {"frame"}
    assert other.events == []


def test_signing_out_and_stopping_end_the_streams(site, until):
    """A session that was ended closes its stream, and the server stops with another one open."""
    browser = site.sign_in()
    listener, other = Listener(site.sign_in().http), Listener(browser.http)
    site.parts.sessions.end(browser.http.cookies["kemudi_session"])
    until(other.ended.is_set, "the end of the stream")
    assert not listener.ended.is_set()
    site.parts.hub.close()
    until(listener.ended.is_set, "the end of the other stream")


def test_a_burst_ends_with_the_right_value(site, until):
    """Thirty commits: the last event comes after the last commit, and the board has its value."""
    listener = Listener(site.sign_in().http)
    for value in range(100, 130):
        head = site.repo.change("dev", "sync", SYNC_TIMEOUT=value)
    until(lambda: listener.events and listener.events[-1][2]["revision"] == head, "the last event")
    assert site.parts.board.environments["dev"].rows["SYNC_TIMEOUT"].value == 129

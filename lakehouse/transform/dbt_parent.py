"""dbt's process' end of the pipes: reports go out, questions too, and their answers come back. Knows no dbt.

The other end is `dbt_process.py`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any, TextIO

from lakehouse.transform.dbt_process import QUESTION, Request


class Parent:
    """The process that started this one. When it is gone, this one ends at once, whatever it is doing."""

    def __init__(self, out: TextIO, answers: TextIO) -> None:
        self._out, self._answers = out, answers
        self._lock = threading.Lock()
        self._waiting: dict[str, SimpleQueue[Mapping[str, Any]]] = {}

    @classmethod
    def of_this_process(cls) -> Parent:
        """Take stdin and stdout for the pipes' own, so that nothing else reads or prints between our lines."""
        out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        answers = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        with open(os.devnull) as nothing:  # noqa: PTH123  (the file descriptor is what counts)
            os.dup2(nothing.fileno(), sys.stdin.fileno())
        return cls(out, answers)

    def request(self) -> Request:
        """The first line: what to do. From then on, answers are listened for."""
        request = Request.from_json(self._answers.readline())
        threading.Thread(target=self._listen, name="answers", daemon=True).start()
        return request

    def tell(self, report: Mapping[str, Any]) -> None:
        """One report. May be called from several threads."""
        line = json.dumps(report)
        try:
            with self._lock:
                self._out.write(f"{line}\n")
                self._out.flush()
        except BrokenPipeError:
            os._exit(1)

    def ask(self, unique_id: str) -> Mapping[str, Any]:
        """Ask about a node and wait for the answer. May be called from several threads, once a node at a time."""
        self._waiting[unique_id] = SimpleQueue()
        self.tell({QUESTION: unique_id})
        answer = self._waiting[unique_id].get()
        del self._waiting[unique_id]
        return answer

    def _listen(self) -> None:
        for line in self._answers:
            answer = json.loads(line)
            self._waiting[answer["id"]].put(answer)
        os._exit(1)

"""The fake world: an executor that does what a script tells it, and nothing by itself."""

from queue import SimpleQueue

from parmap._engine.interfaces import Executor
from parmap._records.work import Call
from parmap._workers.status_block import new_status
from parmap._workers.tasks import run_chunk


class Scripted(Executor):
    """Answers each chunk with what *answer* makes of it, in the order of *pick*.

    *answer(chunk)* returns a Report, or None for the plain truth: the chunk is run, here and now.
    *pick(chunks)* returns the position of the chunk to answer next; the first by default.
    """

    def __init__(
        self, fn, answer=lambda chunk: None, pick=lambda chunks: 0, workers=2, window=None
    ):
        self.workers = workers
        self.window = window or workers
        self.call = Call(fn, "item")
        self.answer = answer
        self.pick = pick
        self.out = []
        self.most_out = 0
        self.log = []
        self.closed = 0

    def submit(self, chunk):
        self.log.append((chunk.start, len(chunk)))
        self.out.append(chunk)
        self.most_out = max(self.most_out, len(self.out))

    def wait(self, seconds):
        if not self.out or seconds == 0:
            return []
        chunk = self.out.pop(self.pick(self.out))
        return [self.answer(chunk) or run_chunk(self.call, chunk, 60.0, new_status())]

    def wake(self):
        """Do nothing: no wait takes any time."""

    def close(self):
        self.closed += 1


class Patient(Scripted):
    """Waits, really, until another thread lets it `finish` a chunk, or wakes it.

    `waits` has an entry for each wait that has begun while a chunk was out.
    """

    def __init__(self, fn, **options):
        super().__init__(fn, **options)
        self.news = SimpleQueue()
        self.waits = SimpleQueue()

    def wait(self, seconds):
        if self.out and seconds != 0:
            self.waits.put(seconds)
            if self.news.get(timeout=60) == "finish":
                return super().wait(seconds)
        return []

    def finish(self):
        self.news.put("finish")

    def wake(self):
        self.news.put("wake")

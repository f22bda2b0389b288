"""The dashboard under load: seconds from produce to page, viewers, memory, and frames of the page.

    python -m bench.dashboard                         # 40 viewers, 600 labels
    python -m bench.dashboard --labels 100000 --products 2000 --browser
    python -m bench.dashboard --minutes 60 --rate 30 --viewers 5          # what an hour costs

An embedded broker, the dashboard as a process of its own, and viewers that read its events. Label
records are produced as a worker writes them; no worker runs. With `--browser` Chromium scrolls the
page, and its frames are timed. With `--minutes` labels of all products keep coming for so long,
the figures of the page are asked for beside, and memory and history are told each minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import count, takewhile
from pathlib import Path

import aiohttp

from stream_app.kafka.embedded_broker import EmbeddedBroker
from tests.dashboard_rig import CHOICES, Stage, made_label

DAY = 86_400
LOOKS_A_MINUTE = 6  # at the figures of the page, with --minutes
FRAMES = """
const done = arguments[0], frames = [], until = performance.now() + 5000;
let last = performance.now();
requestAnimationFrame(function frame(now) {
  frames.push(now - last); last = now;
  scrollTo(0, (now / 4) % document.documentElement.scrollHeight);
  now < until ? requestAnimationFrame(frame) : done(frames);
});
"""


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--viewers", type=int, default=40)
    parser.add_argument("--sent", type=int, default=600, help="labels while the viewers look")
    parser.add_argument("--rate", type=float, default=20, help="of those, a second")
    parser.add_argument("--minutes", type=float, help="send for so long, whatever --sent says")
    parser.add_argument("--labels", type=int, default=0, help="labels before, over 30 days")
    parser.add_argument("--products", type=int, default=1000)
    parser.add_argument("--browser", action="store_true")
    options = parser.parse_args()
    with EmbeddedBroker() as broker, tempfile.TemporaryDirectory() as folder:
        stage = Stage(broker.address, Path(folder))
        stage.create_topics()
        with stage.dashboard() as process:
            print(f"at the start: {held(stage, process.pid)}")
            if options.labels:
                fill(stage, options.labels, options.products)
                print(f"with them: {held(stage, process.pid)}")
                questions(stage)
            seen = Seen(options.viewers, options.products)
            with minutes_told(stage, process.pid, seen) if options.minutes else nullcontext():
                sent = count() if options.minutes else range(options.sent)
                seconds = 60 * (options.minutes or math.inf)
                asyncio.run(watched(stage, seen, sent, options.rate, seconds))
            print(f"at the end: {held(stage, process.pid)}")
            if options.browser:
                frames(stage)


def fill(stage: Stage, labels: int, products: int) -> None:
    """Produce labels of many products over 29 days, and wait until they are counted."""
    chance, topic = random.Random(0), stage.topic("reviews")
    for number in range(labels):
        name, product = chance.choice(CHOICES), f"product {chance.randrange(products)}"
        label = made_label(topic, number, name, product, age=chance.random() * 29 * DAY)
        stage.producer.send(f"{topic}.labels", label.model_dump_json().encode())
    stage.producer.flush()
    began = time.monotonic()
    while asked(stage, "route?route=reviews&range=30d")["total"] < labels:
        time.sleep(0.5)
    waited = time.monotonic() - began
    print(f"{labels} labels of {products} products: counted {waited:.1f} s after the last was sent")
    stage.skip(labels)


def questions(stage: Stage) -> None:
    """How long the page waits for its largest answers."""
    for path in (
        "overview?range=30d",
        "by?route=reviews&by=product&range=30d",
        "by?route=reviews&by=product&range=7d",
    ):
        began = time.monotonic()
        asked(stage, path)
        print(f"/api/{path}: {1000 * (time.monotonic() - began):.0f} ms")


class Seen:
    """What was sent while viewers looked, and what came to each of them."""

    def __init__(self, viewers: int, products: int) -> None:
        self.products = products
        self.sent_at: dict[str, float] = {}
        self.delays: list[float] = []
        self.counts = [0] * viewers


@contextmanager
def minutes_told(stage: Stage, pid: int, seen: Seen) -> Iterator[None]:
    """Ask what a page asks every few seconds, and tell once a minute what the dashboard holds."""
    done = threading.Event()
    began = time.monotonic()

    def look() -> None:
        paths = (
            "overview?range=1h",
            "route?route=reviews&range=1h",
            "by?route=reviews&by=product&range=1h",
            "route?route=reviews&by=product&value=product+1&range=24h",
        )
        for number in count():
            asked(stage, paths[number % len(paths)])
            if number % LOOKS_A_MINUTE == 0:
                got = f"{len(seen.sent_at)} sent, {min(seen.counts)} to {max(seen.counts)} got"
                minute = (time.monotonic() - began) / 60
                print(f"minute {minute:.0f}: {held(stage, pid)}, {got}", flush=True)
            if done.wait(60 / LOOKS_A_MINUTE):
                return

    with ThreadPoolExecutor(1) as thread:
        looking = thread.submit(look)
        try:
            yield
        finally:
            done.set()
            looking.result()


async def watched(
    stage: Stage, seen: Seen, numbers: Iterable[int], rate: float, seconds: float
) -> None:
    """Send labels, for so long at most, while viewers look; how many came to each, how late."""
    sent_at, delays, counts, viewers = seen.sent_at, seen.delays, seen.counts, len(seen.counts)
    begun = asyncio.Semaphore(0)
    chance, topic = random.Random(1), stage.topic("reviews")

    async def viewer(number: int, session: aiohttp.ClientSession) -> None:
        async with session.get(f"{stage.url}/api/events") as answer:
            begun.release()
            async for line in answer.content:
                for label in json.loads(line[6:]) if line.startswith(b"data: [") else ():
                    counts[number] += 1
                    delays.append(time.monotonic() - sent_at[label["id"]])

    def send() -> None:
        start = time.monotonic()
        for number in takewhile(lambda _: time.monotonic() < start + seconds, numbers):
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            name, product = chance.choice(CHOICES), f"product {chance.randrange(seen.products)}"
            label = made_label(topic, 10**9 + number, name, product)
            sent_at[label.id] = time.monotonic()
            stage.send(f"{topic}.labels", label.model_dump_json().encode())

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        tasks = [asyncio.create_task(viewer(n, session)) for n in range(viewers)]
        for _ in tasks:
            await begun.acquire()
        await asyncio.to_thread(send)
        await asyncio.to_thread(await_all, seen)
        for task in tasks:
            task.cancel()
    delays.sort()
    print(f"{viewers} viewers: {min(counts)} to {max(counts)} of {len(sent_at)} labels each")
    print(
        f"from produce to viewer: median {1000 * statistics.median(delays):.0f} ms, "
        f"99 % {1000 * delays[int(0.99 * len(delays))]:.0f} ms"
    )


def await_all(seen: Seen) -> None:
    """Return once every viewer got every label, or after half a minute."""
    deadline = time.monotonic() + 30
    while min(seen.counts) < len(seen.sent_at) and time.monotonic() < deadline:
        time.sleep(0.1)


def frames(stage: Stage) -> None:
    """The page's frames while it is scrolled, sorted and searched."""
    from tests.browser.conftest import chromium_at  # of the development extra

    with chromium_at(Path(tempfile.mkdtemp())) as browser:
        browser.set_script_timeout(60)
        for path in (
            "route=reviews&range=30d",
            "route=reviews&range=30d&find=product+1",
            "route=reviews&range=30d&sort=n",
        ):
            browser.get(f"{stage.url}/?{path}")
            time.sleep(3)
            taken = sorted(browser.execute_async_script(FRAMES))
            late = sum(frame > 50 for frame in taken)
            print(
                f"{path}: {len(taken)} frames in 5 s, median {statistics.median(taken):.1f} ms, "
                f"99 % {taken[int(0.99 * len(taken))]:.0f} ms, {late} beyond 50 ms"
            )


def asked(stage: Stage, path: str) -> dict:  # type: ignore[type-arg]
    """An answer of the dashboard."""
    with urllib.request.urlopen(f"{stage.url}/api/{path}", timeout=60) as answer:
        return dict(json.load(answer))


def held(stage: Stage, pid: int) -> str:
    """What the dashboard holds in memory and on disk."""
    size = sum(file.stat().st_size for file in stage.folder.glob("history.db*"))
    return f"{memory(pid):.0f} MB of memory, {size / 1e6:.1f} MB of history"


def memory(pid: int) -> float:
    """Megabytes that a process holds."""
    told = Path(f"/proc/{pid}/status").read_text()
    return int(told.split("VmRSS:")[1].split()[0]) / 1000


if __name__ == "__main__":
    main()

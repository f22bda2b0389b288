"""A repository of Hugging Face's hub that is no model: nothing of it is fetched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0" * 40
FILES = {"huge": ["config.json", "model.safetensors"], "many": [f"{n}.json" for n in range(300)]}
SIZES = {"huge": 10**13, "many": 100}


class Hub(BaseHTTPRequestHandler):
    """What the hub says of a repository, and of the size of each file."""

    fetched: list[str]

    def do_GET(self) -> None:
        if not self.path.startswith("/api/models/org/"):
            self.fetched.append(self.path)
            self.send_error(404)
            return
        name = self.path.split("/")[4]
        siblings = [{"rfilename": file} for file in FILES[name]]
        self._reply(json.dumps({"id": f"org/{name}", "sha": COMMIT, "siblings": siblings}).encode())

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(SIZES[self.path.split("/")[2]]))
        self.end_headers()

    def _reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("name", FILES)
def test_what_is_more_than_a_model_is_not_fetched(name: str, tmp_path: Path):
    kind = type("Own", (Hub,), {"fetched": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", "stream_app", "classify", "--model", f"hf://org/{name}"],
            input=b"text",
            capture_output=True,
            timeout=200,
            env={**os.environ, **hub, "HF_HUB_OFFLINE": "0"},
        )
        server.shutdown()
    assert done.returncode in (1, 2)
    assert f"hf://org/{name} has {len(FILES[name])} files of" in done.stderr.decode()
    assert kind.fetched == []

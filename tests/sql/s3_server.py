"""As much of S3 as a reader needs, over a directory: GET and HEAD with ranges, ListObjectsV2."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOUND = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"


@contextmanager
def serve(root: Path) -> Iterator[str]:
    """Serve buckets, the directories of ``root``, by path; give host and port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            url = urlsplit(self.path)
            path = root / unquote(url.path).strip("/")
            asked = parse_qs(url.query)
            status, headers = 200, {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
            if "list-type" in asked:
                names = (str(one.relative_to(path)) for one in path.rglob("*") if one.is_file())
                keys = (
                    key for key in sorted(names) if key.startswith(asked.get("prefix", [""])[0])
                )
                found = "".join(map(_FOUND.format, keys))
                body = f"<ListBucketResult>{found}</ListBucketResult>".encode()
            elif path.is_file():
                body = path.read_bytes()
            else:
                status, body = 404, b""
            part = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if part and status == 200:
                first, last = int(part[1]), int(part[2] or len(body) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
                status, body = 206, body[first : last + 1]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

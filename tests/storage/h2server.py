"""A server of HTTP/2 over standard input and output that does what is asked of it by the path: what no real one does on demand.

It allows three requests at a time, and keeps the small windows and frames that HTTP/2 begins with.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from hashlib import sha256

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

Headers = list[tuple[str, str]]

CONTENT = bytes(range(256)) * 40


class Server:
    def __init__(self) -> None:
        self.http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False))
        self.http.initiate_connection()
        self.http.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 3})
        self.bodies: dict[int, bytearray] = {}
        self.paths: dict[int, str] = {}
        self.late: list[tuple[float, int]] = []
        self.resets = 0

    def serve(self) -> None:
        while True:
            self.flush()
            wait = max(0.0, min((when for when, _ in self.late), default=time.monotonic() + 60) - time.monotonic())
            if not select.select([0], [], [], wait)[0]:
                for _, stream in self.late:
                    self.answer(stream, 200, b"late")
                self.late = []
                continue
            data = os.read(0, 65536)
            if not data:
                return
            for event in self.http.receive_data(data):
                if isinstance(event, RequestReceived):
                    headers = dict(event.headers)
                    self.paths[event.stream_id] = str(headers[":path"])
                    self.bodies[event.stream_id] = bytearray()
                    self.begun(event.stream_id, str(headers[":path"]))
                elif isinstance(event, DataReceived):
                    self.bodies[event.stream_id] += event.data
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    self.ended(event.stream_id, self.paths[event.stream_id])
                elif isinstance(event, StreamReset):
                    self.resets += 1

    def flush(self) -> None:
        data = memoryview(self.http.data_to_send())
        while data:
            data = data[os.write(1, data) :]

    def answer(self, stream: int, status: int, body: bytes = b"", *more: tuple[str, str]) -> None:
        self.http.send_headers(stream, [(":status", str(status)), *more], end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)

    def begun(self, stream: int, path: str) -> None:
        """What is answered before the body is there."""
        if path == "/early-no":
            self.answer(stream, 403, b"not you")
        elif path == "/early-yes":
            self.answer(stream, 200)
        elif path == "/reset":
            self.http.reset_stream(stream, ErrorCodes.REFUSED_STREAM)

    def ended(self, stream: int, path: str) -> None:
        """What is answered to the whole request."""
        body = bytes(self.bodies.pop(stream))
        if path.startswith(("/early", "/reset")) and path != "/resets":
            return
        if path == "/hash":
            self.answer(stream, 200, sha256(body).hexdigest().encode(), ("content-length", "64"))
        elif path == "/content":
            self.answer(stream, 206, CONTENT)
        elif path == "/padded":
            self.http.send_headers(stream, [(":status", "206")])
            for offset in range(0, len(CONTENT), 1024):
                last = offset + 1024 == len(CONTENT)
                self.http.send_data(stream, CONTENT[offset : offset + 1024], end_stream=last, pad_length=200)
        elif path == "/length":
            self.answer(stream, 206, b"12345", ("content-length", "5"))
        elif path == "/head":
            self.answer(stream, 200, b"", ("content-length", "10240"))
        elif path == "/short":
            self.answer(stream, 206, b"12345", ("content-length", "10"))
        elif path == "/large":
            self.answer(stream, 200, b"1" * 5000, ("content-length", "5000"))
        elif path == "/endless":
            self.answer(stream, 200, b"1" * 5000)
        elif path == "/cut":
            self.http.send_headers(stream, [(":status", "206"), ("content-length", str(len(CONTENT)))])
            self.http.send_data(stream, CONTENT[:100])
            self.http.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
        elif path == "/no-status":
            self.answer(stream, 0, b"x")
        elif path == "/late":
            self.late.append((time.monotonic() + 0.7, stream))
        elif path == "/resets":
            self.answer(stream, 200, str(self.resets).encode())
        elif path == "/end":
            self.http.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        elif path == "/garbage":
            os.write(1, bytes(9))  # data of no stream
        elif path == "/exit":
            sys.exit(3)
        elif path == "/stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            self.answer(stream, 404, b"no such file")


if __name__ == "__main__":
    try:
        Server().serve()
    except ProtocolError as error:
        sys.exit(f"the client is wrong: {error!r}")

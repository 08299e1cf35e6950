"""A connection of HTTP/2 with timeouts and limits. h2 reads and writes the frames, and says which of them are wrong.

Each request runs an ASGI application, as a request does under uvicorn. What is bounded: the connections, the requests
of a connection at a time, the size of a head, frames that ask for nothing, what is remembered of a client, the time of
a frame, of an idle connection and of any connection, and the time that an answer waits for its reader.
"""

import asyncio
from contextlib import suppress

from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RemoteSettingsChanged, RequestReceived, WindowUpdated
from h2.exceptions import H2Error, ProtocolError
from hyperframe.frame import GoAwayFrame, WindowUpdateFrame

from gitpod.server.edge.headers import ASGIApplication
from gitpod.server.serving import http2_frames as frames
from gitpod.server.serving.http2_connections import Connections
from gitpod.server.serving.http2_frames import Frames, stream_of
from gitpod.server.serving.http2_heads import Headers, Heads
from gitpod.server.serving.http2_settings import bound, h2_connection
from gitpod.server.serving.http2_stream import STALL, Stream
from gitpod.server.serving.http2_timers import Timers

IDLE, AGE, LONGEST_CALL = 300.0, 600.0, 40.0
"""Seconds until a connection without calls is closed; until one is told to open another; and the time that its calls
have then, which is longer than any call takes."""
LINGER = 1.0
"""Seconds in which calls may arrive that a client sent before it was told to open another connection; then, in which
what it sends is dropped before its connection is closed, as TCP would take the last frames from it otherwise."""


class HTTP2(asyncio.Protocol):
    """A connection.

    Args:
        app: answers the requests.
        connections: all open ones, to which this one is added.
    """

    def __init__(self, app: ASGIApplication, connections: Connections["HTTP2"]) -> None:
        self._app = app
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._h2 = h2_connection()
        self._streams: dict[int, Stream] = {}
        self._frames = Frames(self._streams)
        self._timers = Timers()
        self._is_full = self._is_leaving = self._is_refusing = self._is_over = self._is_behind = False
        self._owed = self._last = self._kept = 0
        self.idle_since: float | None = self._loop.time()
        """When the last call ended, by the clock of the event loop. None: calls are under way."""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of a stream's protocol
        """Greet the client (asyncio.Protocol)."""
        self._transport = transport
        self._heads = Heads(transport)
        if not self._connections.enter(self):
            transport.abort()
            return
        self._timers.start("age", AGE, self.leave)
        self._timers.start_since("idle", IDLE, lambda: self.idle_since, self.leave)
        self._timers.start("slow", STALL, transport.abort)
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # asyncio's signature
        """End the calls under way (asyncio.Protocol)."""
        self._connections.leave(self)
        self._timers.stop_all()
        self._leave_streams()

    def data_received(self, data: bytes) -> None:
        """Read what has arrived (asyncio.Protocol)."""
        self._frames.received += data
        if not self._is_behind:
            self._read()

    def _read(self) -> None:
        if self.is_closing():
            return
        if self._is_full:
            self._is_behind = True
            return
        left = frames.TURN
        try:
            for frame in self._frames.split():
                self._handle(frame)
                left -= frames.CALL if frame[3] == frames.HEADERS else 1
                if left <= 0:
                    break
        except H2Error:
            # The last frame says what was wrong.
            self._flush()
            self._close()
            self._leave_streams()
            return
        self._flush()
        if left < frames.TURN or not self._frames.received:
            self._timers.stop("slow")
        if self._frames.received:
            self._timers.start_once("slow", STALL, self._transport.abort)
        self._is_behind = left <= 0
        self._pace()
        if self._is_behind:
            self._loop.call_soon(self._read)
        elif self._is_leaving:
            self._rest()

    def pause_writing(self) -> None:
        """Keep answers back, and read no further requests, until the client reads (asyncio.Protocol)."""
        self._is_full = True
        self._pace()
        self._timers.start("unread", STALL, self._transport.abort)

    def resume_writing(self) -> None:
        """Go on sending answers (asyncio.Protocol)."""
        self._is_full = False
        self._timers.stop("unread")
        self._pace()
        for stream in self._streams.values():
            stream.wake()
        if self._is_behind:
            self._loop.call_soon(self._read)

    def leave(self, *, refuse: bool = False) -> None:
        """Tell the client to open another connection, and close this one when its calls have ended.

        `refuse` refuses the calls that the client sent before it was told.
        """
        self._is_refusing |= refuse
        if not self._is_leaving and not self.is_closing():
            self._is_leaving = True
            # h2 would end the calls under way.
            self._transport.write(GoAwayFrame(0, last_stream_id=2**31 - 1).serialize())
            self._timers.start("age", LONGEST_CALL, self._transport.abort)
        if refuse:
            self._rest()
        else:
            self._loop.call_later(LINGER, self._rest)

    def abort(self) -> None:
        """Close the connection, and end its calls."""
        self._transport.abort()
        self._leave_streams()

    def give_way(self) -> None:
        """Close the connection, which has no calls, in favour of another one. Later calls were not processed."""
        if not self.is_closing():
            self._h2.close_connection(last_stream_id=self._last)
            self._flush()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Tell whether nothing is sent any more."""
        return self._is_over or self._transport.is_closing()

    def tasks(self) -> "list[asyncio.Task[None]]":
        """Return the calls under way."""
        return [stream.task for stream in self._streams.values() if stream.task]

    def room(self, stream: Stream) -> int:
        """Return how many bytes of an answer may be sent now."""
        if self._is_full:
            return 0
        return min(self._h2.local_flow_control_window(stream.id), self._h2.max_outbound_frame_size)

    def send_headers(self, stream: Stream, headers: Headers, *, is_last: bool) -> None:
        """Send the head of an answer, or its trailers."""
        self._h2.send_headers(stream.id, headers, end_stream=is_last)
        self._finish(stream, 0, is_last=is_last)

    def send_data(self, stream: Stream, data: bytes, *, is_last: bool) -> None:
        """Send a part of the body of an answer, for which there is room."""
        self._h2.send_data(stream.id, data, end_stream=is_last)
        self._frames.earn(frames.DATA_CREDIT)
        self._finish(stream, len(data), is_last=is_last)

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """End a call without an answer, or before the end of its request."""
        if not self.is_closing():
            self._h2.reset_stream(stream.id, code)
            self._flush()
        stream.leave()

    def _finish(self, stream: Stream, size: int, *, is_last: bool) -> None:
        if is_last and not stream.is_ended:
            # The client need not send the rest of its request. nginx takes this together with the end of the answer
            # only: it refuses what comes later for a call that has ended.
            self._h2.reset_stream(stream.id, ErrorCodes.NO_ERROR)
        stream.is_answered = is_last
        if not self._kept:
            # The parts of an answer, and answers that end together, are one write.
            self._loop.call_soon(self._flush)
        self._kept += frames.HEAD + size
        if self._kept >= frames.MAX_FRAME_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._kept = 0
        if (data := self._h2.data_to_send()) and not self.is_closing():
            self._transport.write(data)

    def _pace(self) -> None:
        (self._transport.pause_reading if self._is_full or self._is_behind else self._transport.resume_reading)()

    def _leave_streams(self) -> None:
        for stream in [*self._streams.values()]:
            stream.leave()

    def _handle(self, frame: bytes) -> None:
        if frame is frames.PREFACE or not self._is_handled(frame):
            for event in self._h2.receive_data(frame):
                self._take(event)

    def _is_handled(self, frame: bytes) -> bool:
        """Handle a frame that h2 would take for the end of calls. Returns whether it is one."""
        if frame[3] == frames.GOAWAY:
            # The client waits for its calls.
            self._is_leaving = True
            return True
        number = stream_of(frame)
        stream = self._streams.get(number)
        is_answered = stream.is_answered if stream else number <= self._last
        if frame[3] != frames.DATA or not is_answered:
            return False
        # The request was answered before its body came. h2 would reset its stream once more, with an error, which
        # proxies take for the answer.
        if size := len(frame) - frames.HEAD:
            self._transport.write(WindowUpdateFrame(0, window_increment=size).serialize())
        return True

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._begin(event)
        elif isinstance(event, RemoteSettingsChanged) or (isinstance(event, WindowUpdated) and not event.stream_id):
            if isinstance(event, RemoteSettingsChanged):
                bound(self._h2, event)
            for each in self._streams.values():
                each.wake()
        elif isinstance(event, DataReceived):
            self._owed += event.flow_controlled_length or 0
            if self._owed >= frames.MAX_FRAME_BYTES:
                self._h2.increment_flow_control_window(self._owed)
                self._owed = 0
        if stream := self._streams.get(getattr(event, "stream_id", None) or 0):
            stream.take(event)

    def _begin(self, event: RequestReceived) -> None:
        number = event.stream_id or 0
        if self._is_refusing:
            self._refuse(number, ErrorCodes.REFUSED_STREAM)
            return
        self._last = number
        try:
            scope = self._heads.scope(event)
        except ProtocolError:
            # Of this call alone: a proxy may send calls of others over the connection.
            self._refuse(number, ErrorCodes.PROTOCOL_ERROR)
            return
        self.idle_since = None
        stream = self._streams[number] = Stream(self, number, is_head=scope["method"] == "HEAD")
        stream.task = self._loop.create_task(stream.run(self._app, scope))
        # Not at the end of the task's own code, which does not run if the task is cancelled before it begins.
        stream.task.add_done_callback(lambda _: self._end(stream))

    def _refuse(self, number: int, code: ErrorCodes) -> None:
        self._h2.reset_stream(number, code)
        self._frames.pay(frames.RESET_COST)

    def _end(self, stream: Stream) -> None:
        del self._streams[stream.id]
        if stream.is_answered:
            self._frames.earn(frames.CALL_CREDIT)
        elif not stream.is_gone and not self.is_closing():
            self._h2.reset_stream(stream.id, ErrorCodes.INTERNAL_ERROR)
            self._flush()
        self._rest()

    def _rest(self) -> None:
        """Close the connection, now or later, if it has no calls."""
        if self._streams or self.is_closing():
            return
        if self._is_leaving:
            # Later calls, if there are any, were not processed.
            self._h2.close_connection(last_stream_id=self._last)
            self._flush()
            self._is_over = True
            # Not over TLS, and not when the client has gone meanwhile.
            with suppress(NotImplementedError, OSError):
                self._transport.write_eof()
            self._loop.call_later(LINGER, self._close)
        else:
            self.idle_since = self._loop.time()

    def _close(self) -> None:
        """Close the connection once the client has read what was sent, or does not read it in time."""
        self._transport.close()
        self._timers.start("closing", STALL, self._transport.abort)

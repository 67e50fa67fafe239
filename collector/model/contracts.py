"""What a stage promises: one method each, and who owns the data afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Literal, Protocol, TypeVar

from collector.model.batch import Batch, BatchT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

    from collector.model.errors import PermanentError

SAMPLER_FAILED: Final = "sampler_failed"
"""The ``sample_reason`` of rows that are kept because a sampler raised."""

_TakenT_contra = TypeVar("_TakenT_contra", bound=Batch, contravariant=True)


@dataclass(frozen=True, slots=True)
class Decoded(Generic[BatchT]):
    """What a micro-batch of requests holds.

    ``errors`` maps a request's position to why all of it is refused. ``received``, ``rejected``
    and ``salvaged`` have one entry a request: items in it, items rejected for their ids, and
    whether invalid UTF-8 was replaced. ``batch`` has the remaining items of all good requests.
    """

    batch: BatchT
    errors: dict[int, PermanentError]
    received: NDArray[np.int64]
    rejected: NDArray[np.int64]
    salvaged: NDArray[np.bool_]


class Decoder(Protocol[BatchT]):
    """Bytes to rows."""

    def decode(self, payloads: Sequence[bytes]) -> Decoded[BatchT]:
        """Decode requests together; never raises for what is in them."""
        ...

    def from_json(self, text: bytes) -> bytes:
        """Return a request in JSON as ``decode`` takes it; thread-safe.

        Raises ``InvalidPayload`` when it is none, ``PayloadTooLarge`` when it holds too much.
        """
        ...


class Processor(Protocol[BatchT]):
    """A stage before the journal: redaction first, then whatever the config lists."""

    def process(self, batch: BatchT) -> BatchT:
        """Return the batch to go on with: same schema, possibly fewer rows, in the same order.

        The input is never mutated and may be kept. Raises only ``ClearspanError``: a
        ``RetryableError`` refuses the batch and lets the sender try again.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sampled(Generic[BatchT]):
    """What a sampler let go of: the rows to store, and how many it dropped and why.

    A span in ``kept`` has ``sample_weight`` (>= 1, 1/probability) and ``sample_reason`` set.
    ``dropped`` maps a reason (a policy's name, ``not_sampled``, ``late``) to a count of rows.
    """

    kept: BatchT
    dropped: Mapping[str, int] = field(default_factory=dict)


class Sampler(Protocol[BatchT]):
    """A stage after the journal: decides which rows are stored, at once or later.

    Single-threaded: only the pipeline's worker calls it. Rows of one trace that came in one batch
    are always settled together (the lake's replay relies on that).
    """

    def offer(self, batch: BatchT) -> Sampled[BatchT]:
        """Take the batch (rows may be held back) and return what is decided by now.

        An error means that no row of the batch was taken: the caller then keeps them all.
        """
        ...

    def due(self) -> Sampled[BatchT]:
        """Return what has become decided by the passing of time; called about once a second."""
        ...

    def drain(self) -> Sampled[BatchT]:
        """Decide everything still pending, now."""
        ...

    @property
    def pending_spans(self) -> int:
        """How many rows are held back."""
        ...

    @property
    def oldest_pending_seq(self) -> int | None:
        """The smallest ``batch_seq`` among the rows held back, None if there are none."""
        ...


class Sink(Protocol[BatchT]):
    """The acknowledgement boundary."""

    def write(self, batch: BatchT) -> BatchT:
        """Make the batch durable and return it with ``source_id`` and ``batch_seq`` set.

        Durable (fsynced) on return. Raises ``StorageUnavailable``; then nothing was written.
        """
        ...


class Store(Protocol[_TakenT_contra]):
    """Where sampled rows end up."""

    def append(self, batch: _TakenT_contra, settled_through: int) -> None:
        """Take kept rows for the next flush; never blocks on the disk.

        Every journalled batch with ``batch_seq <= settled_through`` is decided: its kept rows
        have been appended by this call or before.
        """
        ...

    def check_capacity(self) -> None:
        """Raise ``StorageUnavailable`` when so much waits to be flushed that no more may come."""
        ...


class SignalObserver(Protocol[_TakenT_contra]):
    """Golden signals, taken of every accepted span before sampling."""

    def observe(self, batch: _TakenT_contra) -> None:
        """Add the batch to the signals; keeps nothing of it."""
        ...


Transport = Literal["grpc", "http"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one accepted request: all stored, or partly (never a transient trouble).

    ``rejected`` is how many of its items were not taken.
    """

    rejected: int = 0
    message: str = ""


class Intake(Protocol):
    """Where receivers hand over requests; thread-safe."""

    def from_json(self, text: bytes) -> bytes:
        """Return a request in JSON as ``submit`` takes it; raises as ``Decoder.from_json``."""
        ...

    def submit(self, payload: bytes, transport: Transport) -> Future[Outcome]:
        """Admit one decompressed export request of the intake's signal.

        The future resolves once the batch is durable, or fails with a ``ClearspanError``.
        Raises ``Overloaded`` or ``ShuttingDown`` at once when nothing may be admitted; then
        no reference to the payload is kept.
        """
        ...


QueryFormat = Literal["json", "arrow"]


class RunningQuery(Protocol):
    """A query that somebody waits for."""

    @property
    def done(self) -> Future[bytes]:
        """The whole answer in the format asked for, or a ``QueryError``."""
        ...

    def cancel(self) -> None:
        """Let it go: nobody waits any more; thread-safe, harmless when it is done."""
        ...


class QueryRunner(Protocol):
    """Who answers remote queries; thread-safe."""

    def submit(self, sql: str, form: QueryFormat) -> RunningQuery:
        """Begin a query; never blocks."""
        ...

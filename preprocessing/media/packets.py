"""Reads a film's packets: number of frames, their times, and the key frames."""

from __future__ import annotations

import array
import dataclasses
import fractions
from typing import Any, TypeAlias

import av
import numpy as np

# PyAV's stubs tell packets by their stream.
AnyPacket: TypeAlias = "av.Packet[Any]"
NO_KEYS = np.empty(0, np.int64)
# How much more a header may state before the film counts as cut off: encoders round, and the last
# frame of some is shown longer.
_MORE, _MORE_SECONDS = 1.1, 1.0


class PacketTimes:
    """Time stamps and key frames of one stream's packets, in 17 bytes each."""

    def __init__(self) -> None:
        self.presentation = array.array("q")
        self.decoding = array.array("q")
        self.keys = bytearray()
        self.discarded = 0
        self.complete = True

    @property
    def total(self) -> int:
        """How many packets were added."""
        return len(self.keys)

    def add(self, packet: AnyPacket) -> None:
        """Notes a packet's times."""
        if packet.is_discard:  # An edit list cuts it off; the decoder gives no frame for it.
            self.discarded += 1
            return
        if packet.pts is None:
            self.complete = False
        self.presentation.append(0 if packet.pts is None else packet.pts)
        self.decoding.append(self.presentation[-1] if packet.dts is None else packet.dts)
        self.keys.append(packet.is_keyframe)

    def packets(
        self, stream: av.video.stream.VideoStream, may_be_of_storage: bool = False
    ) -> Packets:
        """What the packets say together with the stream that they are of.

        Args:
          stream: it.
          may_be_of_storage: whether time stamps that rise from packet to packet tell when packets
            are decoded, not when their frames are shown.
        """
        stamps = np.frombuffer(self.presentation, np.int64)
        order = np.argsort(stamps, kind="stable")
        ordered = stamps[order]
        usable = self.complete and bool((np.diff(ordered) > 0).all())
        counted = usable and may_be_of_storage and bool((np.diff(stamps) > 0).all())
        keys = NO_KEYS
        if usable and not counted:
            keys = np.flatnonzero(np.frombuffer(self.keys, np.uint8)[order])
        rate = stream.average_rate or stream.guessed_rate
        frame_seconds = 1 / float(rate) if rate and 0.1 <= float(rate) <= 1000 else 0.0
        time_base = stream.time_base or fractions.Fraction(1, 1000)
        seconds = 0.0
        if usable and len(ordered):
            seconds = float((int(ordered[-1]) - int(ordered[0])) * time_base) + frame_seconds
        elif frame_seconds:
            seconds = self.total * frame_seconds
        return Packets(
            self.total,
            ordered if usable else None,
            np.frombuffer(self.decoding, np.int64)[order],
            keys,
            seconds,
            time_base,
            frame_seconds,
            self.discarded,
            counted,
        )


@dataclasses.dataclass(frozen=True)
class KeyFrame:
    """A key frame: its number, and its presentation and decoding time stamps."""

    number: int
    pts: int
    dts: int


@dataclasses.dataclass(frozen=True)
class Packets:
    """What the packets of a film say.

    Attributes:
      total: number of frames.
      ordered: int64 [total], presentation time stamps, rising; None where they are of no use.
      decoding: int64 [total], decoding time stamps, in the same order.
      keys: int64, numbers of the key frames, rising; empty where frames are not reached by jumps.
      seconds: how long it plays; 0 when unknown.
      time_base: seconds of one unit of a time stamp.
      frame_seconds: of one frame by the stated rate; 0 when unknown.
      discarded: number of packets that an edit list cuts off.
      counted: whether frames are found by counting what is decoded: `ordered` then says when the
        first, the second and so on is shown, but decoded frames carry the stamps of others.
    """

    total: int
    ordered: np.ndarray | None
    decoding: np.ndarray
    keys: np.ndarray
    seconds: float
    time_base: fractions.Fraction
    frame_seconds: float
    discarded: int = 0
    counted: bool = False

    def is_cut_off(self, seconds: float, frames: int) -> bool:
        """Whether the header states clearly more than is there.

        Args:
          seconds: when the film ends, as stated; 0 when unknown.
          frames: number of frames, as stated; 0 when unknown.
        """
        end = self.seconds
        if self.ordered is not None and self.total:
            # Some containers count from zero, others from the first frame.
            end = max(end, float(int(self.ordered[-1]) * self.time_base) + self.frame_seconds)
        if end and seconds > _MORE * end + _MORE_SECONDS:
            return True
        return frames > _MORE * (self.total + self.discarded) + 1

    def wanted(self, count: int, per_second: float) -> int:
        """How many frames are wanted; see `FrameRequest`."""
        if not per_second or not self.seconds:
            return count
        return max(1, min(count, round(self.seconds * per_second)))

    def key_before(self, index: int) -> KeyFrame | None:
        """The last key frame up to a frame; None where frames are not reached by jumps."""
        after = int(np.searchsorted(self.keys, index, side="right"))
        if not after or self.ordered is None:
            return None
        number = int(self.keys[after - 1])
        return KeyFrame(number, int(self.ordered[number]), int(self.decoding[number]))

    def number_at(self, stamp: int) -> int:
        """The number of the last frame that begins at or before a time stamp."""
        if self.ordered is None:
            return 0
        return max(0, int(np.searchsorted(self.ordered, stamp, side="right")) - 1)

    def milliseconds(self, frame: av.VideoFrame, index: int) -> int:
        """When a frame is shown, from the first one on; by its number where times are of no use."""
        stamp = frame.pts
        if self.counted and self.ordered is not None:
            stamp = int(self.ordered[index])
        if self.ordered is None or stamp is None:
            return round(index * self.frame_seconds * 1000)
        return max(0, round((stamp - int(self.ordered[0])) * self.time_base * 1000))

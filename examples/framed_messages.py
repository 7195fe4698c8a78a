"""What the framed service and its client say to each other: one MessagePack payload per frame, checked against these types."""

from typing import Annotated, Final

import msgspec

from job import net

Number = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]  # a thousand of them have a sum


class Sample(msgspec.Struct):
    """Ask for a summary of some numbers."""

    numbers: Annotated[list[Number], msgspec.Meta(min_length=1, max_length=1000)]


class Summary(msgspec.Struct):
    """The answer to a `Sample`."""

    mean: float
    median: float


# A codec names what its side receives. What does not fit is a ProtocolError there.
SAMPLES: Final = net.frames.Codec(Sample, max_frame=16 * 1024)
SUMMARIES: Final = net.frames.Codec(Summary, max_frame=1024)

"""What a pump does with an EOF that its session does not take for one."""

from typing import Any, cast

from job.net._relays.task_pumps import StreamPump


class Refusing:
    """A session in which one side was reset: what the kernel reports as EOF there is none."""

    def ended(self, pump: object) -> bool:
        """Refuse the EOF."""
        return False


async def test_an_eof_that_is_none() -> None:
    """It is not passed on."""
    pump = StreamPump(
        cast("Any", None), cast("Any", None), cast("Any", Refusing())
    )  # it has nothing that it could send to
    await pump._pass_eof()
    assert not pump.eof
    assert not pump.sending

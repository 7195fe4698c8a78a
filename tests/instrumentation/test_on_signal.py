"""SIGUSR1 under `job.run`: the tree on stderr, whatever the program is doing."""

import signal

import pytest
import trio
import trio.lowlevel
import trio.testing

import job
from job import Job, Task
from job.instrumentation import snapshot
from job.tasks import signal_listener
from tests.journal import forever
from tests.programs import run_program


def test_tree_on_a_signal() -> None:
    """It has each task and where it waits, and the program goes on."""
    ended = run_program("""
        async def waits(task):
            strike(signal.SIGUSR1)
            await trio.sleep(0.1)
            task.finish_job()

        async def reads(task):
            await trio.sleep_forever()

        j = job.Job(name="server")
        j.add_task(waits)
        j.add_task(reads)
        async def strike_soon(task):
            await trio.sleep(0.05)
            strike(signal.SIGUSR1)
            task.done()
        j.add_task(strike_soon)
        sys.exit(job.run(j))
    """)
    assert (ended.code, ended.err.count("job 'server' recurrent running")) == (0, 2)
    assert "task 2 'reads' running, 0 steps, in reads at <string>:" in ended.err
    assert "task 1 'waits' running, 0 steps, in waits at <string>:" in ended.err


def test_a_step_that_blocks_the_loop() -> None:
    """The tree comes all the same, and says what runs."""
    ended = run_program("""
        async def blocks(task):
            threading.Timer(0.1, strike, (signal.SIGUSR1,)).start()
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                pass
            print("over", file=sys.stderr)
            task.done()

        j = job.Job(name="server")
        j.add_task(blocks)
        sys.exit(job.run(j))
    """)
    before, _, _ = ended.err.partition("over")
    assert "job 'server' recurrent running" in before
    assert "runs just now: blocks at <string>:" in before


def test_a_reader_that_has_stopped() -> None:
    """Nobody reads stderr any more: any number of signals hold up nothing."""
    ended = run_program("""
        read, write = os.pipe()
        os.dup2(write, 2)

        async def strikes(task):
            for _ in range(500):
                strike(signal.SIGUSR1)
                await trio.sleep(0)
            print("over", flush=True)
            task.done()

        j = job.Job(name="x" * 1000)
        j.add_task(strikes)
        sys.exit(job.run(j))
    """)
    assert (ended.code, ended.out) == (0, "over\n")


def test_a_handler_of_the_programs() -> None:
    """A handler that was there stays, and so does a task's."""
    ended = run_program("""
        async def strikes(task):
            strike(signal.SIGUSR1)
            await trio.sleep_forever()

        signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
        j = job.Job()
        j.add_task(strikes)
        job.run(j)
    """)
    assert (ended.code, ended.err) == (7, "")
    ended = run_program("""
        async def strikes(task):
            strike(signal.SIGUSR1)
            await trio.sleep_forever()

        j = job.Job()
        j.add_task(strikes)
        j.add_task(tasks.signal_listener(signal.SIGUSR1))
        sys.exit(job.run(j))
    """)
    assert (ended.code, "├─" in ended.err) == (0, False)


def test_not_loaded_before_it_is_asked_for() -> None:
    """What looks into a program is not loaded with the core."""
    ended = run_program("""
        names = ("job.admin", "prometheus_client", "h11")
        print([name for name in names if name in sys.modules])
    """)
    assert ended.out == "[]\n"


def test_in_this_process(capfd: pytest.CaptureFixture[str]) -> None:
    """The tree is written where there is no handler, and where there is one it is called."""

    async def strikes(task: Task) -> None:
        signal.raise_signal(signal.SIGUSR1)
        await trio.lowlevel.checkpoint()
        task.done()

    def program() -> Job[None]:
        j = Job[None](name="server")
        j.add_task(strikes)
        return j

    assert job.run(program()) == 0
    assert "job 'server' recurrent running" in capfd.readouterr().err
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        assert job.run(program()) == 0
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (heard, "├─" in capfd.readouterr().err) == ([signal.SIGUSR1], False)
    j = program()
    j.add_task(signal_listener(signal.SIGUSR1))
    assert job.run(j) == 0
    assert "└─" not in capfd.readouterr().err


async def test_a_task_that_goes_on_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that looks at the wrong moment sees nothing, and no error."""

    def fail(*_: object) -> None:
        raise RuntimeError("it has gone on")

    monkeypatch.setattr("job.instrumentation._where._innermost", fail)
    j = Job[None]()
    j.add_task(forever)
    async with j:
        await trio.testing.wait_all_tasks_blocked()
        assert snapshot(j).tasks[0].where is None

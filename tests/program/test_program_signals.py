"""The signals of a program, in a process of its own: when they are held, what they do, and what they are afterwards."""

import os
import time

import pytest

from tests.programs import run_program

SAVE = """
async def save(task):
    for _ in range({}):
        strike(signal.{})
        await trio.sleep(0.05)
    print("saved", flush=True)

def last(j):
    return None, lambda task: task.done(), save
"""


# -- held to the end


@pytest.mark.parametrize("times", [1, 3])
def test_listener_under_plain_trio(times: int) -> None:
    """A signal in a finalizer that comes after the listener's does not kill the process, under a plain `trio.run` either."""
    ended = run_program(
        SAVE.format(times, "SIGTERM")
        + """
j = job.Job()
j.add_oneshot_task(last)
j.add_task(tasks.signal_listener(signal.SIGTERM))
j.add_task(tasks.once(lambda task: strike(signal.SIGTERM)))
print(trio.run(j.run).value)
"""
    )
    assert (ended.code, ended.out) == (0, "saved\ndone\n")


@pytest.mark.parametrize("wrapper", ["", "tasks.restart("])
def test_reload_under_plain_trio(wrapper: str) -> None:
    """Nor does one to reload a task that is gone, whatever is around it."""
    after = ", wait=0)" if wrapper else ""
    ended = run_program(
        SAVE.format(1, "SIGHUP")
        + f"""
j = job.Job()
j.add_task(last)
j.add_task({wrapper}tasks.reload_on_signal(tasks.once(lambda task: None), signal.SIGHUP){after})
print(trio.run(j.run).value)
"""
    )
    assert (ended.code, ended.out) == (0, "saved\ndone\n")


def test_signal_before_the_first_init() -> None:
    """A listener's signal is obeyed from the start of its job: the oneshot that dials for ever is stopped."""
    ended = run_program(
        """
        async def dial(task):
            strike(signal.SIGTERM)
            await trio.sleep_forever()
        j = job.Job()
        j.add_oneshot_task(dial)
        j.add_task(tasks.signal_listener(signal.SIGTERM))
        print(trio.run(j.run).value, j.verdict.code)
        """
    )
    assert (ended.code, ended.out) == (0, "done signal-cut@dial:run\n")


def test_reload_before_the_first_init() -> None:
    """A signal to reload that comes before there is anything to reload does nothing."""
    ended = run_program(
        """
        async def dial(task):
            strike(signal.SIGUSR1)
            await trio.sleep(0.05)
            task.done()
        j = job.Job()
        j.add_oneshot_task(dial)
        loading = lambda j: (lambda task: print("init"), lambda task: task.done(), None)
        j.add_task(tasks.reload_on_signal(loading, signal.SIGUSR1))
        print(trio.run(j.run).value)
        """
    )
    assert (ended.code, ended.out) == (0, "init\ndone\n")


def test_task_added_later() -> None:
    """Of a listener that is added to a running job the signals are held from then on."""
    ended = run_program(
        SAVE.format(1, "SIGTERM")
        + """
async def add(task):
    task.job.add_task(tasks.signal_listener(signal.SIGTERM))
    strike(signal.SIGTERM)
    await trio.sleep_forever()
j = job.Job()
j.add_task(last)
j.add_task(add)
print(trio.run(j.run).value)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    )
    assert (ended.code, ended.out) == (0, "saved\ndone\nTrue\n")


# -- the three signals


STUCK = """
import job as _job
def stuck(task):
    print("stuck", flush=True)
    while True:
        time.sleep(0.05)
        strike(signal.{})

async def run(task):
    strike(signal.{})
    await trio.sleep_forever()

j = job.Job(name="the \\x1b[2J writer")
j.add_task(lambda j: (None, run, stuck), name="save")
sys.exit(job.run(j))
"""


@pytest.mark.parametrize(
    ("first", "later", "code"), [("SIGINT", "SIGINT", 130), ("SIGINT", "SIGTERM", 143), ("SIGTERM", "SIGHUP", 129)]
)
def test_third_signal_in_a_finalizer(first: str, later: str, code: int) -> None:
    """They are counted from the first, also in the finalizers; the third ends the process, with the code of the second."""
    ended = run_program(STUCK.format(later, first))
    assert (ended.code, ended.out) == (code, "stuck\n")


def test_last_words() -> None:
    """One line says which signal it was and where the program is, and then come the job and its tasks; all else before them."""
    lines = run_program(STUCK.format("SIGINT", "SIGINT")).err.splitlines()
    assert '"program.stopping"' in lines[0]
    assert lines[1].startswith("job: SIGINT, the third signal, ends the process, in strike at <string>:")
    assert lines[2].startswith(r"job 'the \x1b[2J writer' finalizing, 0.")
    assert lines[3:] == ["└─ task 1 'save' cancelled, 0 steps"]


def test_third_signal_beside_a_reader_that_has_stopped() -> None:
    """It ends the process at once."""
    unread, full = os.pipe()
    began = time.monotonic()
    ended = run_program(
        """
        def run(task):
            for _ in range(1000):
                task.log.warning("hello", text="x" * 1000)
            for _ in range(3):
                strike(signal.SIGTERM)
            time.sleep(60)
        j = job.Job()
        j.add_task(lambda j: (None, run, None))
        sys.exit(job.run(j))
        """,
        stderr=full,
    )
    os.close(unread)
    os.close(full)
    assert ended.code == 143
    assert time.monotonic() - began < 15


def test_third_signal_while_stderr_is_held() -> None:
    """Nor does a print of the program's own that hangs hold it up."""
    unread, full = os.pipe()
    ended = run_program(
        """
        def run(task):
            threading.Timer(0.2, lambda: [(strike(signal.SIGTERM), time.sleep(0.05)) for _ in range(3)]).start()
            print("x" * 1_000_000, file=sys.stderr)
        j = job.Job()
        j.add_task(lambda j: (None, run, None))
        sys.exit(job.run(j))
        """,
        stderr=full,
    )
    os.close(unread)
    os.close(full)
    assert ended.code == 143


def test_third_signal_with_a_logger_of_the_programs() -> None:
    """The last words are on stderr where the log is not."""
    ended = run_program(
        """
        job.register_default_logger({0: lambda event, fields: None})
        def run(task):
            for _ in range(3):
                strike(signal.SIGTERM)
            time.sleep(60)
        j = job.Job(name="mine")
        j.add_task(lambda j: (None, run, None))
        sys.exit(job.run(j))
        """
    )
    assert ended.code == 143
    assert "the third signal" in ended.err
    assert "job 'mine'" in ended.err


def test_thousands_of_jobs_that_hang() -> None:
    """Their tree is a page, and takes no recursion."""
    ended = run_program(
        """
        async def child(task):
            for number in range(1000):
                task.job.value.start_soon(hang, number)
            await nest(600)
        async def hang(number):
            async with job.Job(name=f"wide {number}"):
                await trio.sleep_forever()
        async def nest(depth):
            if depth == 0:
                for _ in range(3):
                    strike(signal.SIGTERM)
                time.sleep(60)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(deeper, depth)
                await trio.sleep_forever()
        async def deeper(depth):
            await trio.sleep(0)
            async with job.Job(name=f"deep {depth}"):
                await nest(depth - 1)
        async def main(task):
            async with trio.open_nursery() as nursery:
                task.job.value = nursery
                await child(task)
        j = job.Job(name="all")
        j.add_task(main)
        sys.exit(job.run(j))
        """
    )
    assert ended.code == 143
    assert 20 <= len(ended.err.splitlines()) <= 110


def test_signals_before_the_loop_looks() -> None:
    """Two that come in one step are two."""
    ended = run_program(
        """
        async def run(task):
            strike(signal.SIGINT)
            strike(signal.SIGTERM)
            await trio.sleep_forever()
        j = job.Job(grace=60)
        j.add_task(run)
        sys.exit(job.run(j))
        """
    )
    assert ended.code == 143


def test_signal_while_trio_starts() -> None:
    """One that comes before the job has begun is obeyed when it does: no init is entered."""
    ended = run_program(
        """
        class Early(trio.abc.Instrument):
            def before_run(self):
                strike(signal.SIGTERM)
        real = trio.run
        trio.run = lambda *args: real(*args, instruments=[Early()])
        j = job.Job()
        j.add_task(lambda j: (lambda task: print("init"), lambda task: task.done(), None))
        sys.exit(job.run(j))
        """
    )
    assert (ended.code, ended.out) == (0, "")
    assert ended.record("program.stopping")["signal"] == "SIGTERM"


# -- what is said


def test_program_stopping() -> None:
    """At the signal one line says what stops, how long it may take, and for how many."""
    ended = run_program(
        """
        async def child(task):
            async with job.Job(name="connection"):
                strike(signal.SIGTERM)
                await trio.sleep_forever()
        j = job.Job(grace=0.1, name="server")
        j.add_task(child)
        sys.exit(job.run(j))
        """
    )
    said = ended.record("program.stopping")
    assert (said["level"], said["job"], said["signal"], said["grace"], said["children"]) == (
        "info",
        "server",
        "SIGTERM",
        0.1,
        1,
    )


# -- SIGHUP


HANGUP = """
async def run(task):
    strike(signal.SIGHUP)
    await trio.sleep(0.1)
    print("up", flush=True)
    await trio.sleep_forever()
j = job.Job(grace={})
j.add_task(run)
"""


def test_hangup_that_no_task_listens_to() -> None:
    """It drains, like SIGTERM."""
    ended = run_program(HANGUP.format(0) + "print(job.run(j), j.verdict.code)")
    assert (ended.code, ended.out) == (0, "0 signal-cut@run:run\n")


def test_hangup_that_a_task_listens_to() -> None:
    """It is that task's alone, and counts as none of the three."""
    ended = run_program(
        HANGUP.format(0)
        + """
async def reload(task):
    print("loaded", flush=True)
    await trio.sleep(1)
    task.job.finish()
j.add_task(tasks.reload_on_signal(reload, signal.SIGHUP))
print(job.run(j), j.verdict.code)
"""
    )
    assert ended.out.splitlines()[:3] == ["loaded", "loaded", "up"]
    assert ended.out.splitlines()[-1].startswith("0 finished")


def test_hangup_that_the_program_handles() -> None:
    """A handler of the program's own goes on getting it."""
    ended = run_program(
        "signal.signal(signal.SIGHUP, lambda *_: print('mine', flush=True))"
        + HANGUP.format(0)
        + """
async def end(task):
    await trio.sleep(0.3)
    task.finish_job()
j.add_task(end)
print(job.run(j))
"""
    )
    assert ended.out == "mine\nup\n0\n"


# -- what was there before


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_ignored_signal_stays_ignored(name: str) -> None:
    """A process that was told to live through a signal does, and so does one whose task listens to it."""
    ended = run_program(
        f"""
        signal.signal(signal.{name}, signal.SIG_IGN)
        async def run(task):
            strike(signal.{name})
            await trio.sleep(0.2)
            print("whole")
            task.done()
        def program():
            j = job.Job()
            j.add_task(tasks.signal_listener(signal.{name}))
            j.add_task(run, policy=job.StopPolicy.STOP_GROUP)
            return j
        print(job.run(program()), trio.run(program().run).value)
        print(signal.getsignal(signal.{name}).name)
        """
    )
    assert (ended.code, ended.out) == (0, "whole\nwhole\n0 done\nSIG_IGN\n")


C_HANDLER = """
import ctypes
handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: None)
libc = ctypes.CDLL(None)
libc.signal(int(signal.{0}), handler)
del sys.modules["_signal"]
import _signal  # reads anew what the process has installed
assert signal.getsignal(signal.{0}) is None
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_handler_of_c_code_stays(name: str) -> None:
    """Where C code handles a signal it goes on doing so, beside a listener, too."""
    ended = run_program(
        C_HANDLER.format(name)
        + f"""
async def run(task):
    libc.kill(os.getpid(), int(signal.{name}))
    await trio.sleep(0.1)
    task.done(print("worked", flush=True))
def program():
    j = job.Job()
    j.add_task(tasks.signal_listener(signal.{name}))
    j.add_task(run, policy=job.StopPolicy.STOP_GROUP)
    return j
print(trio.run(program().run).value)
sys.exit(job.run(program()))
"""
    )
    assert (ended.code, ended.out) == (0, "worked\ndone\nworked\n")


def test_handlers_are_put_back() -> None:
    """After the run each signal does what it did before, whatever that was."""
    ended = run_program(
        """
        def mine(*_): pass
        signal.signal(signal.SIGTERM, mine)
        names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.getsignal(name) for name in names]
        async def run(task):
            print([signal.getsignal(name) == old for name, old in zip(names, before)])
            task.done()
        for fault in (False, True):
            j = job.Job()
            j.add_task(tasks.once(sys.exit) if fault else run)
            try:
                job.run(j)
            except SystemExit:
                pass
            print([signal.getsignal(name) == old for name, old in zip(names, before)])
        """
    )
    yes, no = "[True, True, True]\n", "[False, False, False]\n"
    assert ended.out == no + yes + yes


def test_handler_that_came_meanwhile() -> None:
    """One that another installed for good in the meantime is not taken away; a late signal does what it did before."""
    ended = run_program(
        """
        def mine(*_): print("mine", flush=True)
        held = []
        async def run(task):
            held.append(signal.getsignal(signal.SIGTERM))
            signal.signal(signal.SIGTERM, mine)
            task.done()
        j = job.Job()
        j.add_task(run)
        job.run(j)
        strike(signal.SIGTERM)
        signal.signal(signal.SIGTERM, held[0])  # as a block does that gives back what it found
        strike(signal.SIGTERM)
        print("not reached")
        """
    )
    assert (ended.code, ended.out) == (-15, "mine\n")


def test_forked_process() -> None:
    """A process forked from a program obeys its signals as before it was a program: it ends."""
    ended = run_program(
        """
        async def run(task):
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(1)
            os.kill(child, signal.SIGTERM)
            _, status = os.waitpid(child, 0)
            task.done(print(os.waitstatus_to_exitcode(status), flush=True))
        j = job.Job()
        j.add_task(run)
        print(job.run(j))
        """
    )
    assert ended.out == "-15\n0\n"


def test_program_in_a_forked_process() -> None:
    """A program of its own may run in a process that a thread of a program has forked."""
    ended = run_program(
        """
        def work():
            child = os.fork()
            if child == 0:
                j = job.Job(name="child")
                async def stop(task):
                    strike(signal.SIGTERM)
                    await trio.sleep_forever()
                j.add_task(stop)
                code = job.run(j)
                print(j.verdict.code, flush=True)
                os._exit(code)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        async def run(task):
            task.done(print(await trio.to_thread.run_sync(work), flush=True))
        j = job.Job()
        j.add_task(run)
        print(job.run(j))
        """
    )
    assert ended.out == "signal-cut@stop:run\n0\n0\n"

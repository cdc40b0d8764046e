"""The lock of a run folder goes with the process that holds it, however that ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from brainmri.files import WriterLock

HOLDER = """
import multiprocessing, sys, time
from pathlib import Path
from brainmri.files import WriterLock

lock = WriterLock(Path(sys.argv[1]))
lock.take()
helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3,), daemon=True)  # a DataLoader's
helper.start()
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.integration
def test_a_killed_holder_lets_go_and_a_living_one_is_named(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(ValueError, match=rf"another run \(process {holder.pid} on .*, since 20.*\) is writing"):
                WriterLock(run).take()
            WriterLock(run.with_name("two")).take()
        finally:
            holder.kill()
    lock = WriterLock(run)
    lock.take()  # once the helper of the killed process has ended too
    lock.release()
    lock.release()
    assert not run.exists()

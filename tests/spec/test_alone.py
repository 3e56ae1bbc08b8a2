"""`restic_spec` is of use without the engine, for programs that only want the format."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec.snapshot import Snapshot
from tests.restore.kit import PASSWORD, cheap_repo

READER = """
import importlib, pkgutil, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("restic_format", "restic_tools", "restic_conformance"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Nothing())
import restic_spec
assert restic_spec.__file__.startswith(sys.argv[2]), restic_spec.__file__
names = [module.name for module in pkgutil.walk_packages(restic_spec.__path__, "restic_spec.") if "__main__" not in module.name]
for name in names:
    importlib.import_module(name)
print(len(names))

from restic_spec.config import decode_config
from restic_spec.crypto import open_sealed
from restic_spec.ids import verify_id
from restic_spec.keyfile import decode_keyfile, unwrap
from restic_spec.snapshot import decode_snapshot
from restic_spec.tree import decode_tree, encode_tree
from restic_spec.unpacked import decode_unpacked
from pathlib import Path

repository = Path(sys.argv[3])
(key,) = (repository / "keys").iterdir()
raw = key.read_bytes()
verify_id(raw, bytes.fromhex(key.name), "key")
master = unwrap(decode_keyfile(raw), sys.argv[1].encode())
config = decode_config(open_sealed(master, (repository / "config").read_bytes()))
(snapshot,) = (repository / "snapshots").iterdir()
print(config.version, *decode_snapshot(decode_unpacked(config.version, open_sealed(master, snapshot.read_bytes()))).paths)
"""


def test_it_reads_a_repository_where_nothing_else_is_installed(tmp_path: Path, project_root: Path) -> None:
    shutil.copytree(project_root / "spec" / "restic_spec", tmp_path / "only" / "restic_spec")
    repository = Repository.open(LocalStorage(str(cheap_repo(tmp_path / "repository"))), "pw")
    repository.save_snapshot(Snapshot(time="2024-01-02T03:04:05Z", tree="0" * 64, paths=["/x"]))
    code = [sys.executable, "-c", READER, PASSWORD, str(tmp_path / "only"), str(tmp_path / "repository")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        code, cwd=tmp_path, env={**environment, "PYTHONPATH": str(tmp_path / "only")}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    modules, read = done.stdout.splitlines()
    assert int(modules) == len([path for path in (project_root / "spec" / "restic_spec").glob("*.py") if path.stem[:2] != "__"])
    assert read == "2 /x"

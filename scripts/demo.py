"""The whole way of data through the program, on a real directory tree, with everything compared at the end.

    make demo        or        .venv/bin/python scripts/demo.py [folder]

Makes the folder afresh (build/demo unless told) and leaves it behind to be looked at: `source`, `repository` and the
restored trees. Ends with exit code 1 and the differences if a single byte or attribute is not as it was.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "conformance"), str(ROOT / "spec")]

from restic_conformance import compare, trees  # noqa: E402  (the demo runs from a source tree)

COMMAND = Path(sys.executable).with_name("restic-format")
PEER = ROOT / ".peers" / "restic-0.19" / "restic"
SHOWN_LINES = 14
MIB = 1 << 20


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def stop(text: str) -> None:
    raise SystemExit(f"\ndemo: {text}\n")


class Demo:
    """One run: the folder, the environment of the commands, the time each took."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("RESTIC_")}
        self.env |= {
            "RESTIC_REPOSITORY": str(folder / "repository"),
            "RESTIC_PASSWORD": "only a demonstration",
            "RESTIC_CACHE_DIR": str(folder / "cache"),
        }
        self.times: dict[str, float] = {}

    def run(self, *arguments: str, program: Path = COMMAND, show: bool = True) -> str:
        """Run the command, show what it prints, and stop the demonstration if it fails."""
        print(f"\n$ {program.name} {' '.join(arguments)}", flush=True)
        begin = time.perf_counter()
        done = subprocess.run([program, *arguments], env=self.env, capture_output=True, text=True, errors="replace")
        took = time.perf_counter() - begin
        label = f"{program.name} {arguments[0]}"
        self.times[label] = self.times.get(label, 0.0) + took
        lines = (done.stdout + done.stderr).splitlines()
        if show or done.returncode:
            kept = lines if len(lines) <= SHOWN_LINES or done.returncode else lines[: SHOWN_LINES - 2]
            print("\n".join(f"  {line}" for line in kept))
            if len(kept) < len(lines):
                print(f"  … {len(lines) - len(kept)} more lines")
        if done.returncode:
            stop(f"`{program.name} {' '.join(arguments)}` ended with exit code {done.returncode}.")
        return done.stdout

    def restored(self, snapshot: str, name: str, expected: compare.Tree) -> None:
        """Restore a snapshot and compare every byte and attribute with the facts noted before it was made."""
        target = self.folder / name
        self.run("restore", snapshot, "--target", str(target))
        found = compare.scan(target.joinpath(*self.source.parts[1:]))
        wanted = compare.restorable(expected)
        # restic links regular files again, but makes two symbolic links or FIFOs of one with two names; so do we.
        wrong = [
            difference
            for difference in compare.differences(wanted, found)
            if difference.attribute != "hardlinks" or wanted[difference.path].type == "file"
        ]
        for difference in wrong[:20]:
            print(f"  {difference}")
        if wrong:
            stop(f"{len(wrong)} differences between the source and what was restored from {snapshot}.")
        content = sum(facts.size for facts in found.values())
        print(f"  compared: {len(found)} entries, {content / MIB:.1f} MiB, every byte and attribute is as it was")
        print("  (as in restic, sockets are not made again, and links or FIFOs with two names become two)")

    def mounted(self, expected: compare.Tree) -> None:
        """Mount the repository, and compare the latest snapshot as it is seen there with the facts."""
        place, log = self.folder / "mounted", self.folder / "mount.log"
        place.mkdir()
        print(f"\n$ {COMMAND.name} mount {place} &", flush=True)
        with log.open("w") as output:
            process = subprocess.Popen([COMMAND, "mount", str(place)], env=self.env, stdout=output, stderr=output)
        try:
            while "Ctrl-c" not in log.read_text() and process.poll() is None:
                time.sleep(0.05)
            print("\n".join(f"  {line}" for line in log.read_text().splitlines()))
            if process.poll() is not None:
                print("  (this machine does not let us mount)")
                return
            print(f"$ ls {place}\n  {'  '.join(sorted(os.listdir(place)))}")
            found = compare.scan(place.joinpath("snapshots", "latest", *self.source.parts[1:]))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
        # Nodes do not say that a FIFO has several names.
        wanted = compare.restorable(expected)
        wrong = [
            difference
            for difference in compare.differences(wanted, found)
            if difference.attribute != "hardlinks" or wanted[difference.path].type != "fifo"
        ]
        for difference in wrong[:20]:
            print(f"  {difference}")
        if wrong:
            stop(f"{len(wrong)} differences between the source and what the mount shows.")
        print(f"  compared: {len(found)} entries, every byte and attribute is as it was")


def empty_folder(folder: Path) -> None:
    """A fresh folder; the one of an earlier run holds folders that nobody may write to."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "demo").exists():
            stop(f"{folder} exists and was not made by a demonstration; name another folder.")
        pending = [os.fsencode(folder)]
        while pending:
            path = pending.pop()
            os.chmod(path, 0o700)
            pending += [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
        shutil.rmtree(os.fsencode(folder))
    folder.mkdir(parents=True)
    (folder / "demo").write_text("Made by scripts/demo.py; its next run removes this folder.\n")


def make_source(source: Path) -> None:
    """Real files (Python's own library) and one folder for each kind of oddity that a file system knows."""
    source.mkdir()
    library = Path(sysconfig.get_paths()["stdlib"])
    skip = shutil.ignore_patterns("site-packages", "dist-packages", "test", "tests", "config-*", "*.pyc")
    shutil.copytree(library, source / "python-library", symlinks=True, ignore=skip)
    for name, kind in {**trees.TREES, "big": trees.big}.items():
        for omitted in trees.build(kind, os.fsencode(source / name)):
            print(f"  {name}: this machine does not allow: {omitted}")


def change_source(source: Path) -> None:
    """A day's work: something appended, changed inside, added, renamed and removed."""
    with open(source / "big" / "noise.bin", "r+b") as file:
        file.seek(MIB)
        file.write(b"changed in the middle")
    with open(source / "big" / "text.txt", "ab") as file:
        file.write(b"one more line\n")
    (source / "python-library" / "this.py").rename(source / "python-library" / "that.py")
    (source / "python-library" / "antigravity.py").unlink(missing_ok=True)
    (source / "added <today> & \N{SNOWMAN}").write_text("new")


def make_table(source: Path) -> None:
    """A table for `look_into_table`, where pyarrow is installed."""
    try:
        from pyarrow import parquet, table
    except ImportError:
        return
    numbers = range(200_000)
    columns = {"number": list(numbers), "square": [number * number for number in numbers]}
    parquet.write_table(table(columns), source / "table.parquet", row_group_size=20_000)


def look_into_table(demo: Demo) -> None:
    """Read a part of a Parquet file where it is: in a snapshot."""
    path = demo.source / "table.parquet"
    if not path.exists():
        print("  (after `make demo`, which installs fsspec and pyarrow)")
        return
    import fsspec
    from pyarrow import parquet

    address = f"restic://latest{path}"
    options = {"repo": demo.env["RESTIC_REPOSITORY"], "password": demo.env["RESTIC_PASSWORD"]}
    print(f"\n>>> fsspec.open({address!r}, repo=…, password=…)")
    with fsspec.open(address, **options) as file:
        opened = parquet.ParquetFile(file)
        part = opened.read_row_group(opened.num_row_groups - 1)
        print(f"  {opened.metadata.num_rows} rows; the last group of {opened.num_row_groups}: {part.num_rows} rows")
        if not part.equals(parquet.ParquetFile(path).read_row_group(opened.num_row_groups - 1)):
            stop("the table in the snapshot is not the one that was backed up.")
    print("  the same as in the file that was backed up")


def look_into_archive(demo: Demo) -> None:
    """Dump a folder of the latest snapshot as an archive, and compare each file in it with the source."""
    archive, folder = demo.folder / "library.tar.gz", demo.source / "python-library"
    demo.run("dump", "latest", str(folder), "--target", str(archive))
    files = 0
    with tarfile.open(archive) as opened:
        for member in opened:
            content = opened.extractfile(member)
            if member.isreg() and content is not None:
                files += 1
                if content.read() != Path("/", member.name).read_bytes():
                    stop(f"{member.name} is not the same in the archive as in the source.")
    expected = sum(path.is_file() and not path.is_symlink() for path in folder.rglob("*"))
    if files != expected:
        stop(f"there are {files} files in the archive, and {expected} in the source.")
    print(f"  compared: {files} files in an archive of {archive.stat().st_size / MIB:.1f} MiB, every byte is as it was")


def describe(facts: compare.Tree) -> None:
    kinds = Counter(entry.type for entry in facts.values())
    content = sum(entry.size for entry in facts.values())
    print(f"  {content / MIB:.1f} MiB in {len(facts)} entries: {', '.join(f'{n} {kind}' for kind, n in kinds.most_common())}")
    attributes = sum(len(entry.xattrs) for entry in facts.values())
    linked = sum(bool(entry.hardlinks) for entry in facts.values())
    print(f"  with {attributes} extended attributes and ACLs, and {linked} hard-linked names")


def main() -> None:
    begin = time.perf_counter()
    demo = Demo(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "demo").resolve())
    if not COMMAND.exists():
        stop(f"{COMMAND} is missing; run: make demo")

    say("1. A directory tree with many kinds of files")
    empty_folder(demo.folder)
    make_source(demo.source)
    make_table(demo.source)
    first = compare.scan(demo.source)
    describe(first)

    say("2. A fresh repository, and a backup")
    demo.run("version")
    demo.run("init")
    demo.run("backup", str(demo.source), "--tag", "first")

    say("3. Some files change; the second backup stores only what is new")
    change_source(demo.source)
    second = compare.scan(demo.source)
    demo.run("backup", str(demo.source), "--tag", "second", "--verify")

    say("4. What is in the repository")
    demo.run("snapshots")
    listed = json.loads(demo.run("snapshots", "--json", show=False))
    demo.run("ls", "latest", str(demo.source / "metadata"))
    demo.run("find", "--long", "noise.*")
    demo.run("diff", "latest~1", "latest")
    print("  (and since then nothing has changed here:)")
    demo.run("diff", "latest", str(demo.source), "--metadata", "--read-data")
    demo.run("stats", "--mode", "raw-data")
    demo.run("du")

    say("5. Is it sound? Every pack is read, every blob opened and hashed")
    demo.run("check", "--read-data")
    if PEER.exists():
        demo.run("check", "--read-data", program=PEER)
        print("  (that was the real restic 0.19, on the same repository)")
    else:
        print("  (after `make peers`, the real restic checks it too)")

    say("6. Restore both snapshots and compare them with what was backed up")
    demo.restored(listed[0]["id"], "restored-first", first)
    demo.restored("latest", "restored-second", second)

    say("7. A folder is dumped as an archive, without a restore")
    look_into_archive(demo)

    say("8. A Parquet file in the snapshot is opened through fsspec, without a restore")
    look_into_table(demo)

    say("9. The repository is mounted: every snapshot is a folder to look into")
    if os.path.exists("/dev/fuse"):
        demo.mounted(second)
    else:
        print("  (not here: this machine has no /dev/fuse)")

    took = " · ".join(f"{label} {seconds:.1f} s" for label, seconds in demo.times.items())
    say(f"Done in {time.perf_counter() - begin:.0f} s: all is as it was. ({took})")
    print(f"To look around: {demo.folder}")


if __name__ == "__main__":
    main()

"""What goes wrong with servers: one clear line for each, the right exit code, and no lock left where it can be removed."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from restic_format.storage.retrying import Patience
from tests.fire.kit import Ended
from tests.servers.base import Place, Server, free_port, running
from tests.servers.certificates import Certificates
from tests.servers.faultyproxy import FaultyProxy, Happened
from tests.servers.kit import make_repository
from tests.servers.rest_server import RestServer, TlsRestServer
from tests.servers.sftp import Sshd, sftp_place
from tests.servers.trouble import QUICK, Ours, restic, tree_of, write_files

IMPATIENT = Patience(first=0.01, longest=0.02, wanted=0.02, total=0.05)


NOT_STARTED = "Fatal: unable to open repository at sftp:.*: unable to start the sftp session, error: "


def fails(ended: Ended, line: str, code: int = 1) -> None:
    """It has ended with *code*, and its last line is *line*; before that may only stand what it tried again."""
    assert ended.code == code, ended
    *before, last = ended.err.strip().splitlines()
    assert re.fullmatch(line, last), ended
    assert [told for told in before if not re.search(r"retrying after|failed: |^subprocess ", told)] == []


def locks(place: Place) -> list[str]:
    assert place.folder is not None
    return os.listdir(place.folder / "locks")


def test_a_wrong_password_of_the_server(tls_rest_server: Server, tmp_path: Path) -> None:
    place = tls_rest_server.place()
    make_repository(place)
    for changed in ({"RESTIC_REST_PASSWORD": "secret-and-wrong"}, {"RESTIC_REST_USERNAME": "", "RESTIC_REST_PASSWORD": ""}):
        wrong = place._replace(environment={**place.environment, **changed})
        ended = Ours(wrong, tmp_path)("snapshots")
        fails(ended, "Fatal: load config: 401 Unauthorized")
        assert "secret-and-wrong" not in ended.err
        assert restic(wrong, "snapshots", work=tmp_path).returncode == 1


@pytest.mark.parametrize("words", [("init",), ("snapshots",)])
def test_wrong_credentials_for_s3(rclone_s3: Server, words: tuple[str, ...], tmp_path: Path) -> None:
    place = rclone_s3.place()
    wrong = place._replace(environment={**place.environment, "AWS_SECRET_ACCESS_KEY": "secret-and-wrong"})
    ended = Ours(wrong, tmp_path)(*words)
    fails(ended, r"Fatal: .*403 Forbidden: SignatureDoesNotMatch: .*")
    assert "secret-and-wrong" not in ended.err
    assert restic(wrong, *words, work=tmp_path).returncode == 1


def test_no_credentials_for_s3(rclone_s3: Server, tmp_path: Path) -> None:
    none = rclone_s3.place()._replace(environment={"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"})
    fails(Ours(none, tmp_path)("snapshots"), r"Fatal: .*no credentials found.*")


def test_no_bucket(rclone_s3: Server, tmp_path: Path) -> None:
    place = rclone_s3.place()
    none = place._replace(location=place.location.replace("/bucket/", "/no-such-bucket/"))
    ended, theirs = Ours(none, tmp_path)("snapshots"), restic(none, "snapshots", work=tmp_path)
    assert ended.code == theirs.returncode == 10
    assert ended.err.splitlines()[0].startswith("Fatal: repository does not exist: unable to open config file: ")
    assert ended.err.splitlines()[1:] == theirs.stderr.splitlines()[-2:]


def test_nobody_listens(tmp_path: Path) -> None:
    port = free_port()
    ended = Ours(Place(f"rest:http://127.0.0.1:{port}/x/"), tmp_path, IMPATIENT)("snapshots")
    fails(ended, f"Fatal: http://127.0.0.1:{port}: connection refused")


@pytest.mark.parametrize(
    ("which", "told"),
    [
        ("expired", "certificate has expired"),
        ("wrong_name", "IP address mismatch, certificate is not valid for '127.0.0.1'."),
        ("server", "unable to get local issuer certificate"),
    ],
)
def test_a_certificate_that_is_not_to_be_trusted(which: str, told: str, certificates: Certificates, tmp_path: Path) -> None:
    with running(TlsRestServer, certificates, getattr(certificates, which)) as server:
        place = server.place()
        if which == "server":
            place = place._replace(flags=("--cacert", str(certificates.other_ca)))
        # Nothing is tried again: there is no time for that here.
        ended = Ours(place, tmp_path, Patience(first=1000.0))("snapshots")
        fails(ended, f"Fatal: {re.escape(server.url[:-1])}: tls: failed to verify certificate: {re.escape(told)}")


@pytest.mark.parametrize("hosts", ["other_hosts", "none"])
def test_an_unknown_host_key(hosts: str, sshd: Server, tmp_path: Path) -> None:
    assert isinstance(sshd, Sshd)
    ended = Ours(sshd.place(hosts=hosts), tmp_path, Patience(first=1000.0))("snapshots")
    fails(ended, NOT_STARTED + r".*Host key verification failed\.")


def test_a_key_that_the_server_does_not_know(sshd: Server, tmp_path: Path) -> None:
    assert isinstance(sshd, Sshd)
    ended = Ours(sshd.place(key="stranger"), tmp_path, Patience(first=1000.0))("snapshots")
    fails(ended, NOT_STARTED + r".*Permission denied \(publickey\)\.")


def test_a_full_server(small_rest_server: Server, tmp_path: Path) -> None:
    place = small_rest_server.place()
    make_repository(place)
    write_files(tmp_path / "source", 1, files=60)
    ended = Ours(place, tmp_path)("backup", "source")
    fails(ended, r"Fatal: unable to save snapshot: save (data|index)/[0-9a-f]{64}: 507 Insufficient Storage")
    assert locks(place) == [] and os.listdir(place.folder / "snapshots") == []


def test_an_append_only_server_removes_nothing(append_only_rest_server: Server, tmp_path: Path) -> None:
    place = append_only_rest_server.place()
    make_repository(place)
    ours = Ours(place, tmp_path)
    for number in range(2):
        write_files(tmp_path / "source", number)
        assert ours("backup", "source").code == 0
    snapshots = sorted(os.listdir(place.folder / "snapshots"))
    ended = ours("forget", "--keep-last", "1")
    assert ended.code == restic(place, "forget", "--keep-last", "1", work=tmp_path).returncode == 3
    first, last = ended.err.splitlines()
    assert re.fullmatch(r"unable to remove snapshot/[0-9a-f]{64} from the repository: remove .*: 403 Forbidden", first)
    assert last == "failed to remove one or more snapshots"
    # Nobody needs the first one's blobs any more; they cannot be removed either, and nothing is lost.
    os.unlink(place.folder / "snapshots" / snapshots[0])
    fails(ours("prune", "--max-unused", "0"), r"Fatal: remove index/[0-9a-f]{64}: 403 Forbidden")
    assert locks(place) == []
    assert "no errors were found" in restic(place, "check", "--read-data", work=tmp_path).stdout


def test_a_folder_that_can_only_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    make_repository(sftp_place(folder))
    write_files(tmp_path / "source", 1)
    assert Ours(sftp_place(folder), tmp_path)("backup", "source").code == 0
    ours = Ours(sftp_place(folder, "-R"), tmp_path)
    for words in (("backup", "source"), ("snapshots",)):
        fails(ours(*words), r"Fatal: .*/locks.*: permission denied")
    assert ours("restore", "latest", "--no-lock", "--target", "out").code == 0
    assert tree_of(tmp_path / "out" / "source") == tree_of(tmp_path / "source")


@pytest.mark.parametrize("seconds", [0.3, None])
def test_a_server_that_is_gone_in_the_middle(seconds: float | None, tmp_path: Path) -> None:
    with running(RestServer) as server:
        place = server.place()
        make_repository(place)
        write_files(tmp_path / "source", 1, files=30)

        over = threading.Event()

        def come_back() -> None:
            over.wait(seconds)
            server.start()
            over.wait()  # the server ends with the thread that has started it

        def leave(request: Happened) -> None:
            if request.number == 12:
                server.stop()
                if seconds is not None:
                    threading.Thread(target=come_back, daemon=True).start()

        with FaultyProxy(server.port, rate=0, before=leave) as proxy:
            ended = Ours(proxy.place(place), tmp_path, QUICK if seconds else IMPATIENT)("backup", "source")
        if seconds is None:
            fails(ended, r"Fatal: (unable to save snapshot: )?http://127\.0\.0\.1:\d+: .*")
            server.start()
            ours = Ours(place, tmp_path)
            assert len(locks(place)) == 1 and ours("unlock", "--remove-all").code == 0
            assert ours("backup", "source").code == 0
        else:
            assert ended.code == 0, ended
        assert locks(place) == []
        assert "no errors were found" in restic(place, "check", "--read-data", work=tmp_path).stdout
        over.set()


def test_a_server_that_hangs_for_a_while(tmp_path: Path) -> None:
    with running(RestServer) as server:
        place = server.place()
        make_repository(place)
        write_files(tmp_path / "source", 1, files=30)

        def hang(request: Happened) -> None:
            if request.number == 12:
                server.pause()
                threading.Timer(1.2, server.go_on).start()

        with FaultyProxy(server.port, rate=0, before=hang) as proxy:
            ended = Ours(proxy.place(place), tmp_path)("--stuck-request-timeout", "400ms", "backup", "source")
        assert ended.code == 0 and "request timeout: no progress for 400ms" in ended.err, ended
        assert locks(place) == []
        assert "no errors were found" in restic(place, "check", "--read-data", work=tmp_path).stdout

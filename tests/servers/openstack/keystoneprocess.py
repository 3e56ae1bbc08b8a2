"""OpenStack's identity service: ``python keystoneprocess.py FOLDER PORT``, by the Python that `make peers` brings with it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CONF = """\
[DEFAULT]
log_file = {folder}/log
[database]
connection = sqlite:///{folder}/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = {folder}/fernet/
[credential]
key_repository = {folder}/credentials/
[cache]
enabled = false
"""


def main(folder: Path, port: int) -> None:
    """Serve from *folder*, which is made ready where it is empty."""
    url = f"http://127.0.0.1:{port}/v3"
    os.environ["OS_KEYSTONE_CONFIG_DIR"] = str(folder)
    if not (folder / "keystone.conf").exists():
        for name in ("fernet", "credentials"):
            (folder / name).mkdir(parents=True, mode=0o700)
        (folder / "keystone.conf").write_text(CONF.format(folder=folder))
    manage(folder, "db_sync")
    user = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    manage(folder, "fernet_setup", *user)
    manage(folder, "credential_setup", *user)
    urls = [word for kind in ("public", "internal", "admin") for word in (f"--bootstrap-{kind}-url", url)]
    manage(folder, "bootstrap", "--bootstrap-password", "admin", "--bootstrap-region-id", "here", *urls)
    sys.argv = ["keystone"]
    from keystone.server.wsgi import initialize_public_application  # type: ignore[import-not-found]
    from werkzeug.serving import WSGIRequestHandler, make_server  # type: ignore[import-not-found]

    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    make_server("127.0.0.1", port, initialize_public_application(), threaded=True).serve_forever()


def manage(folder: Path, *words: str) -> None:
    """Run a command of ``keystone-manage``, which keeps its settings for as long as its process runs."""
    child = os.fork()
    if not child:
        sys.argv = ["keystone-manage", "--config-file", str(folder / "keystone.conf"), *words]
        from keystone.cmd.manage import main as run  # type: ignore[import-not-found]

        run()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, words


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

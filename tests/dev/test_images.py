from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

from dev.images import base
from dev.images.archive import names_and_digests, write_archive
from dev.images.debian import find_mirror
from dev.images.machine import ca_bundle, pip_conf, read_options

STANZAS = """\
# a comment
Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm

Types: deb
URIs: file:/media/cdrom http://mirror.example/debian
Suites: bookworm bookworm-updates
"""
LINES = """\
# deb http://off.example/debian bookworm main
deb-src http://sources.example/debian bookworm main
deb [signed-by=/usr/share/keyrings/k.gpg arch=amd64] https://mirror.example/debian bookworm main
"""


def test_the_mirror_is_the_one_that_apt_uses() -> None:
    assert find_mirror([(True, STANZAS)], "bookworm") == "http://mirror.example/debian"
    assert find_mirror([(False, LINES)], "bookworm") == "https://mirror.example/debian"


def test_a_machine_of_another_suite_has_no_say() -> None:
    assert find_mirror([(True, STANZAS), (False, LINES)], "trixie") is None


def test_an_archive_is_the_same_each_time_and_its_digests_hold(tmp_path: Path) -> None:
    for name in ("one.tar", "two.tar"):
        write_archive(tmp_path / name, "localhost/a:1", {"a": b"program"}, entrypoint="/a")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        held = {entry.name: file.read() for entry in tar if (file := tar.extractfile(entry))}
    blobs = {path: content for path, content in held.items() if path.startswith("blobs/")}
    assert len(blobs) == 3
    assert all(path.endswith(hashlib.sha256(content).hexdigest()) for path, content in blobs.items())
    (manifest,) = json.loads(held["index.json"])["manifests"]
    assert manifest["annotations"]["io.containerd.image.name"] == "localhost/a:1"


def test_what_an_archive_holds_can_be_told_without_unpacking_it(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar", "localhost/a:1", {"a": b"program"}, entrypoint="/a")
    ((name, digest),) = names_and_digests(tmp_path / "a.tar")
    assert name == "localhost/a:1"
    assert digest.startswith("sha256:")
    (tmp_path / "other.tar").write_text("no archive")
    assert names_and_digests(tmp_path / "other.tar") == set()
    assert names_and_digests(tmp_path / "missing.tar") == set()


def test_the_environment_outweighs_pips_files() -> None:
    listed = "global.cert='/file'\nglobal.timeout='5'\n:env:.cert='/env'\n"
    assert read_options(listed) == {"cert": "/env", "timeout": "5"}


def test_a_build_borrows_only_what_reaches_the_index() -> None:
    options = {"timeout": "5", "find-links": "/somewhere", "cert": "/on/this/machine"}
    text = pip_conf(options, has_bundle=True)
    assert text.splitlines() == ["[global]", "timeout = 5", "cert = /etc/ssl/certs/ca-certificates.crt"]
    assert pip_conf({"find-links": "/somewhere"}, has_bundle=False) == ""


def test_a_bundle_is_lent_only_if_it_is_there(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.crt"
    assert ca_bundle({"cert": str(bundle)}, {}) is None
    bundle.touch()
    assert ca_bundle({}, {"SSL_CERT_FILE": str(bundle)}) == bundle
    assert ca_bundle({}, {}) is None


def test_what_nothing_reads_is_removed(tmp_path: Path) -> None:
    for path in (
        "usr/share/doc/a/copyright",
        "var/lib/apt/lists/list",
        "usr/bin/python3",
        "usr/lib/arch/gconv/X",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    base.strip(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if not path.is_dir()}
    assert left == {"usr/bin/python3", "usr/bin/python"}
    assert (tmp_path / "usr/bin/python").readlink() == Path("python3")


def test_the_base_images_name_follows_its_inputs() -> None:
    assert base.name().startswith("localhost/globaltx/base:")
    assert base.name() == base.name()

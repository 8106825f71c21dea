from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from dev.cluster.certificates import authority, issue, write_signing_pair

if TYPE_CHECKING:
    from pathlib import Path


def test_the_authority_vouches_for_what_it_issues() -> None:
    ca = authority("ca")
    issue(ca, "user").certificate.verify_directly_issued_by(ca.certificate)


def test_user_and_groups_are_where_kubernetes_looks_for_them() -> None:
    subject = issue(authority("ca"), "me", groups=("system:masters",)).certificate.subject
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["me"]
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == [
        "system:masters"
    ]


def test_a_server_has_its_names_and_addresses() -> None:
    served = issue(authority("ca"), "server", hosts=("localhost", "127.0.0.1")).certificate
    names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    issue(authority("ca"), "user").write(tmp_path, "user")
    write_signing_pair(tmp_path, "tokens")
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("user.key", "tokens.key")} == {0o600}
    ssl.create_default_context().load_cert_chain(tmp_path / "user.crt", tmp_path / "user.key")

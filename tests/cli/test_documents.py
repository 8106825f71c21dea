import io
from pathlib import Path

import pytest

from globaltx_cli import documents
from globaltx_cli.errors import CliError


def _file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "manifests.yaml"
    path.write_text(text)
    return str(path)


def test_reads_every_document_and_the_items_of_a_list(tmp_path: Path) -> None:
    text = "kind: A\n---\n---\nkind: List\nitems: [{kind: B}, {kind: C}]\n"
    assert [each["kind"] for each in documents.read(_file(tmp_path, text))] == ["A", "B", "C"]


def test_reads_json_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"kind": "Pod"}'))
    assert documents.read("-") == [{"kind": "Pod"}]


def test_what_is_read_is_written_the_same(tmp_path: Path) -> None:
    text = "---\nkind: Pod\ntime: 2024-01-01T00:00:00Z\nflag: 'true'\nnull: 'on'\nport: 80\nlist:\n- ü\n"
    (manifest,) = documents.read(_file(tmp_path, text))
    again = documents.read(_file(tmp_path, documents.write([manifest])))
    assert again == [manifest]
    assert manifest["time"] == "2024-01-01T00:00:00Z"


def test_a_value_that_is_shared_is_written_out_each_time() -> None:
    shared = {"a": 1}
    assert "&" not in documents.write([{"kind": "X", "one": shared, "two": shared}])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("just text", "no Kubernetes manifest"),
        ("kind: 5", "no Kubernetes manifest"),
        ("- kind: A", "no Kubernetes manifest"),
        ("a: [", "cannot be read"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(CliError, match=complaint):
        documents.read(_file(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.yaml")
    with pytest.raises(CliError, match=r"missing\.yaml cannot be read"):
        documents.read(missing)

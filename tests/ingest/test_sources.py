"""A database's address and a query as a file: no secret is written to disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundtune.errors import InputError
from groundtune.ingest.sources import write_query
from groundtune.workspace import Workspace


@pytest.mark.parametrize(
    "address",
    ["postgresql://u:hunter2@h/d", "postgresql://h/d?user=u&password=hunter2", "mysql://h/d?passwd=hunter2", "x://h/d?PWD=hunter2",
     "x://h/d?access_token=hunter2", "x://h/d?client_secret=hunter2", "x://h/d?api_key=hunter2", "x://h/d?sslpassword=hunter2",
     "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BUID%3Du%3BPWD%3Dhunter2", "mssql+pyodbc:///?odbc_connect=Pwd={hunter2};UID=u",
     "postgresql://u:x${NAME}hunter2@h/d", "x://h/d?password=${A}hunter2"],
)  # fmt: skip
def test_an_address_with_a_secret_is_not_written(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError, match="holds a password") as caught:
        write_query(Workspace(tmp_path), address, "SELECT 1")
    assert "hunter2" not in caught.value.render()
    assert not list(tmp_path.rglob("*.sql"))


@pytest.mark.parametrize(
    "address",
    ["postgresql://u:${PW}@h/d", "postgresql://h/d?password=${PW}&sslmode=require&sslkey=/etc/k.pem", "${SHOP}", "x://h/d?charset=utf8",
     "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3D${PW}%3BUID%3Du", "x://h/d?password="],
)  # fmt: skip
def test_an_address_without_one_is_written_as_it_is(tmp_path: Path, address: str) -> None:
    assert write_query(Workspace(tmp_path), address, "SELECT 1").read_text().startswith(f"-- groundtune: {address}\n")

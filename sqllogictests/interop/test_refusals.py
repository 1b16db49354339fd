"""What Polynya cannot read yet is refused, by an error that names the table, the file and the feature; never ignored."""

import re
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import (
    DataFile, DataFileContent, FileFormat, ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestWriterV2,
)
from pyiceberg.schema import Schema
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _FastAppendFiles
from pyiceberg.typedef import Record
from pyiceberg.types import LongType, NestedField, StringType


class DeleteManifestWriter(ManifestWriterV2):
    """PyIceberg writes no delete manifests; the format of theirs differs in two places."""

    def content(self):
        return ManifestContent.DELETES

    @property
    def _meta(self):
        return {**super()._meta, "content": "deletes"}


class AppendDeletes(_FastAppendFiles):
    """A snapshot that adds delete files."""

    delete_files = ()

    def _manifests(self):
        metadata = self._transaction.table_metadata
        with DeleteManifestWriter(metadata.spec(), metadata.schema(), self.new_manifest_output(), self._snapshot_id, self._compression) as writer:
            for file in self.delete_files:
                writer.add(ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=self._snapshot_id, data_file=file))
        return [writer.to_manifest_file(), *super()._manifests()]


def make_table(foreign, name):
    table = foreign.create_table(f"interop.{name}", Schema(NestedField(1, "id", LongType(), required=False),
                                                           NestedField(2, "s", StringType(), required=False)))
    table.append(pa.table({"id": pa.array(range(10), pa.int64()), "s": [f"s{i}" for i in range(10)]}))
    return table


def add_file(table, rows, content, equality_ids=None, file_format=FileFormat.PARQUET):
    path = f"{table.location()}/data/{uuid.uuid4()}-deletes.parquet"
    output = table.io.new_output(path)
    with output.create() as stream:
        pq.write_table(rows, stream)
    file = DataFile.from_args(
        content=content, file_path=path, file_format=file_format, partition=Record(), record_count=rows.num_rows,
        file_size_in_bytes=len(table.io.new_input(path)), equality_ids=equality_ids)
    file.spec_id = 0
    return file


def commit_deletes(table, file):
    with table.transaction() as transaction:
        producer = AppendDeletes(operation=Operation.APPEND, transaction=transaction, io=table.io)
        producer.delete_files = (file,)
        producer.commit()


def field(name, kind, field_id):
    return pa.field(name, kind, metadata={"PARQUET:field_id": str(field_id)})


def refused(polynya, sql, *parts):
    with pytest.raises(Exception) as caught:
        polynya.rows(sql)
    message = str(caught.value)
    for part in parts:
        assert re.search(part, message, re.I), f"{part} is not in: {message}"


def test_position_deletes(foreign, polynya):
    table = make_table(foreign, "position_deletes")
    (data,) = table.inspect.files()["file_path"].to_pylist()
    rows = pa.table([pa.array([data]), pa.array([3], pa.int64())],
                    schema=pa.schema([field("file_path", pa.string(), 2147483546), field("pos", pa.int64(), 2147483545)]))
    commit_deletes(table, add_file(table, rows, DataFileContent.POSITION_DELETES))
    assert len(table.scan().to_arrow()) == 9
    refused(polynya, "SELECT * FROM interop.position_deletes", "position_deletes", r"deletes\.parquet", "position delete")
    refused(polynya, "SELECT count(*) FROM interop.position_deletes", "position_deletes", "delete")


def test_equality_deletes(foreign, polynya):
    table = make_table(foreign, "equality_deletes")
    rows = pa.table([pa.array([3], pa.int64())], schema=pa.schema([field("id", pa.int64(), 1)]))
    commit_deletes(table, add_file(table, rows, DataFileContent.EQUALITY_DELETES, equality_ids=[1]))
    refused(polynya, "SELECT * FROM interop.equality_deletes", "equality_deletes", r"deletes\.parquet", "equality delete")


@pytest.mark.parametrize("kind", [FileFormat.ORC, FileFormat.AVRO])
def test_data_files_of_other_formats(foreign, polynya, kind):
    table = make_table(foreign, f"format_{kind.value.lower()}")
    rows = pa.table({"id": pa.array([100], pa.int64()), "s": ["x"]})
    file = add_file(table, rows, DataFileContent.DATA, file_format=kind)
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
        append.append_data_file(file)
    refused(polynya, f"SELECT * FROM interop.format_{kind.value.lower()}", f"format_{kind.value}", r"deletes\.parquet", kind.value)


def test_the_rest_of_the_server_is_unharmed(foreign, polynya):
    make_table(foreign, "healthy")
    assert polynya.rows("SELECT count(*) FROM interop.healthy") == [(10,)]

#!/usr/bin/env bash
# mlcroissant 1.1.1 (pandas 3.1.1, numpy 2.4.6): patient numbers in a CSV column whose Croissant type is text. In the
# Croissant format (1.0, "dataType" of a Field) the field says what its values are; sc:Text means that "0012", "012" and
# "12" are three different values. A reader expects the digits as they stand in the file. mlcroissant lets pandas guess
# the type of the column first and turns the resulting numbers into text afterwards: the leading zeros are gone and the
# three patients become one, b"12". The metadata are valid, and nothing warns. One id with a letter anywhere in the
# column keeps all zeros, so that the answer for one row depends on the other rows.
# Output seen on 2026-11-28: file 0012, 012, 12 -> records 12, 12, 12; with a fourth id A7: 0012, 012, 12, A7.
# Lost for MRI: patients merge, so that splits by patient put the wrong pictures together and counts of patients are too
# low; ids no longer match file names ("0012.nii.gz").
# Do instead: publish ids that pandas cannot read as numbers ("sub-0012"), or read the CSV yourself with every column as
# text.
# Exit: 0 behaves as described, 1 changed, 2 packages could not be installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check mlcroissant==1.1.1 pandas==3.1.1 numpy==2.4.6 || exit 2
venv/bin/python - <<'PY'
import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import mlcroissant as mlc


def read(ids):
    """Publish the ids as a CSV with Croissant metadata; the issues that mlcroissant finds, and the ids that it reads."""
    text = "".join(f"{value},glioma\n" for value in ("patient", *ids)).replace("patient,glioma", "patient,label")
    Path("table.csv").write_text(text)
    fields = [
        mlc.Field(
            id=f"cases/{name}",
            name=name,
            description=name,
            data_types=mlc.DataType.TEXT,
            source=mlc.Source(file_object="table.csv", extract=mlc.Extract(column=name)),
        )
        for name in ("patient", "label")
    ]
    metadata = mlc.Metadata(
        name="cases",
        description="Patients and labels.",
        license="https://creativecommons.org/publicdomain/zero/1.0/",
        url="https://example.org/cases",
        version="1.0.0",
        date_published="2026-11-28",
        cite_as="None.",
        creators=[mlc.Organization(name="Example")],
        distribution=[
            mlc.FileObject(
                id="table.csv",
                name="table.csv",
                content_url="table.csv",
                encoding_formats=["text/csv"],
                sha256=hashlib.sha256(text.encode()).hexdigest(),
            )
        ],
        record_sets=[mlc.RecordSet(id="cases", name="cases", fields=fields)],
    )
    Path("croissant.json").write_text(json.dumps(metadata.to_json()))
    dataset = mlc.Dataset("croissant.json")
    got = [record["cases/patient"].decode() for record in dataset.records("cases")]
    return dataset.metadata.ctx.issues.report(), got


for name in ("mlcroissant", "pandas", "numpy"):
    print(name, version(name))
digits, mixed = ["0012", "012", "12"], ["0012", "012", "12", "A7"]
issues, got = read(digits)
print("issues that mlcroissant reports:", issues or "none")
print("ids in the file, expected:", digits, "- patients:", len(set(digits)))
print("ids in the records:       ", got, "- patients:", len(set(got)))
_, with_letter = read(mixed)
print("with one id more, A7:     ", with_letter)
same = not issues and got == ["12", "12", "12"] and with_letter == mixed
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY

"""Whose images these are, and of which study, in a form that names nobody."""

from __future__ import annotations

import hashlib
from pathlib import Path

from neuralreg.io.files import container_of
from neuralreg.io.formats.dicom import is_dicom
from neuralreg.io.formats.dicom_header import read_header
from neuralreg.io.formats.dicom_series import series_files
from neuralreg.io.formats.ome_zarr import is_ome_zarr

_UIDS = {
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "frame_of_reference_uid": "FrameOfReferenceUID",
}
# A patient's identifier is often a number of few digits, which a plain hash would give away to
# whoever tries all of them; scrypt makes each try cost some 50 ms and 16 MB. RFC 7914.
_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}
_SALT = b"neuralreg: one person has one hash in all records"


def dicom_identity(path: Path, *, plain_uids: bool = False) -> dict[str, str]:
    """Hashes of the patient and of the UIDs of a DICOM folder, series or file.

    Args:
        path: of an image that can be read.
        plain_uids: adds the UIDs themselves, to send a result back to an archive; never the
            patient's identifier.

    Returns:
        "study_uid_sha256" and its like, SHA-256 of the UID's characters; "patient_scrypt", of the
        identifier and who issued it. Nothing for what a header lacks, and for other formats.

    Raises:
        UnreadableFile: the folder does not hold the series.
    """
    folder = container_of(path).is_dir()
    if is_ome_zarr(path) or not (folder or is_dicom(path)):
        return {}
    first = Path(series_files(path)[0]) if folder else path
    header = read_header(first, [*_UIDS.values(), "PatientID", "IssuerOfPatientID"])
    uids = {name: str(header.get(tag, "")).strip() for name, tag in _UIDS.items()}
    uids = {name: uid for name, uid in uids.items() if uid}
    identity = {f"{n}_sha256": hashlib.sha256(uid.encode()).hexdigest() for n, uid in uids.items()}
    if patient := str(header.get("PatientID", "") or "").strip():
        text = f"{header.get('IssuerOfPatientID', '') or ''}\n{patient}".encode()
        identity["patient_scrypt"] = hashlib.scrypt(text, salt=_SALT, **_SCRYPT).hex()
    return identity | (uids if plain_uids else {})

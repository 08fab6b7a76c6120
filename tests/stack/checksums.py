"""Makes the emulator check and report checksums as S3 does.

By itself it knows only composite checksums of multipart uploads, and no smallest part size, does not say what it has
verified of a PutObject, and takes 0.8 s for the CRC of 8 MiB, during which nothing else is answered. The names with an underscore are its private ones: its version is pinned, and
`tests/it/stack.rs` fails if a newer one no longer has them.
"""

import base64

from awscrt.checksums import combine_crc64nvme, crc32c, crc64nvme
from ministack.services import s3

MIN_PART = 5 * 1024 * 1024


class PartChecksum(str):
    """A checksum that remembers of how many bytes: enough to compute the whole from the parts."""

    size = 0


def install():
    """Replaces the emulator's functions by those of this module."""
    parts, composite = s3._resolve_part_checksums, s3._composite_checksum
    put, create, complete = s3._put_object, s3._create_multipart_upload, s3._complete_multipart_upload

    def resolve_part_checksums(body, headers, upload):
        checksums, error = parts(body, headers, upload)
        checksums = {algorithm: PartChecksum(value) for algorithm, value in checksums.items()}
        for checksum in checksums.values():
            checksum.size = len(body)
        return checksums, error

    def composite_checksum(algorithm, checksums):
        if algorithm != "CRC64NVME" or not all(checksums):
            return composite(algorithm, checksums)
        whole = 0
        for part in checksums:
            whole = combine_crc64nvme(whole, int.from_bytes(base64.b64decode(part), "big"), part.size)
        return base64.b64encode(whole.to_bytes(8, "big")).decode()

    def put_object(bucket, key, body, headers):
        status, sent, answer = put(bucket, key, body, headers)
        if status == 200:
            for algorithm, checksum in s3._buckets[bucket]["objects"][key]["checksums"].items():
                sent = {**sent, f"x-amz-checksum-{algorithm.lower()}": checksum, "x-amz-checksum-type": "FULL_OBJECT"}
        return status, sent, answer

    def create_multipart_upload(bucket, key, headers):
        if headers.get("x-amz-checksum-algorithm") == "CRC64NVME" and asks_for_composite(headers):
            return s3._error("InvalidRequest", "CRC64NVME has no composite checksums.", 400)
        return full_object(create(bucket, key, headers))

    def complete_multipart_upload(bucket, key, body, query, headers=None):
        upload = s3._multipart_uploads.get(s3._qp(query, "uploadId"), {"parts": {}})
        whole = upload.get("checksum_algorithm") == "CRC64NVME"
        if whole and asks_for_composite(headers or {}):
            return s3._error("InvalidRequest", "The upload was created using the FULL_OBJECT checksum mode.", 400)
        sizes = [part["size"] for _, part in sorted(upload["parts"].items())]
        if any(size < MIN_PART for size in sizes[:-1]):
            return s3._error("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", 400)
        response = full_object(complete(bucket, key, body, query, headers))
        if whole and response[0] == 200:
            s3._buckets[bucket]["objects"][key]["checksum_type"] = "FULL_OBJECT"
        return response

    s3._crc64nvme, s3._crc32c = crc64nvme, crc32c
    s3._resolve_part_checksums, s3._composite_checksum = resolve_part_checksums, composite_checksum
    s3._put_object = put_object
    s3._create_multipart_upload, s3._complete_multipart_upload = create_multipart_upload, complete_multipart_upload


def asks_for_composite(headers):
    """Whether the request names a type that CRC64NVME does not have."""
    return headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT"


def full_object(response):
    """The response with the only type that CRC64NVME has."""
    status, headers, body = response
    if headers.get("x-amz-checksum-algorithm") == "CRC64NVME":
        headers = {**headers, "x-amz-checksum-type": "FULL_OBJECT"}
    if b"<ChecksumCRC64NVME>" in body:
        body = body.replace(b"<ChecksumType>COMPOSITE<", b"<ChecksumType>FULL_OBJECT<")
    return status, headers, body

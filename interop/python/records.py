"""The records that every client of this folder's neighbours writes and expects: number N is the same in every language.

It goes to partition N mod 3, so that offset O of partition P holds number 3 O + P: a reader knows what must be there.
Absent and empty keys and values differ, header names repeat and are not ASCII, some of their values are empty, some records are large. What
one client cannot write is left out for all: a header without a value (kafka-python), a record with neither key nor value
(aiokafka).
"""

PARTITIONS = 3


def record(number):
    """Key, value, headers and timestamp in milliseconds of record NUMBER."""
    if number % 7 == 3:
        key = None
    elif number % 7 == 5:
        key = b""
    else:
        key = b"key-%d" % number
    if number % 11 == 4 and key is not None:
        value = None
    elif number % 11 == 9:
        value = b""
    else:
        length = 50000 if number % 500 == 499 else number * 37 % 701 + 1
        step = number % 17 + 1
        value = bytes((number * 131 + index * step) & 255 for index in range(length))
    headers = [("ключ" if index == 2 else "h", b"%d-%d" % (number, index)) for index in range(number % 4)]
    if number % 12 == 6:
        headers[1] = ("h", b"")
    return key, value, headers, 1700000000000 + number * 137


def check(topic, count, got):
    """GOT yields (partition, offset, key, value, headers, timestamp): exactly the COUNT records, in order in each partition."""
    following = [0] * PARTITIONS
    for partition, offset, key, value, headers, timestamp in got:
        want = record(offset * PARTITIONS + partition)
        read = (key, value, [tuple(header) for header in headers or []], timestamp)
        if offset != following[partition] or read != want:
            raise AssertionError(f"{topic}-{partition} at {following[partition]}: offset {offset} holds "
                                 f"{str(read)[:300]}, not {str(want)[:300]}")
        following[partition] += 1
    if sum(following) != count:
        raise AssertionError(f"{topic}: read {following} records, {count} were written")

"""Lists rows about archiving: kills before, inside of and after every write, two archivers at once, bad downloads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.airflow.faults import actions
from tests.airflow.faults.model import End, Fields, Row

N = 3
ARCHIVED, FAILED = {"archive": "success"}, {"archive": "failed"}
# The endless body is of zeros: what has come when the limit is reached is no result.
NO_IMAGE, NO_VIDEO = r"did not answer with a JPEG, PNG or WebP image", r"did not answer with an MP4 video"
WHOLE = End(1, N, ARCHIVED)


def on_airflow_3() -> Iterator[Row]:
    """All rows about archiving; the generation is paid for beforehand."""
    writes = (*(f"image {number} of {N}" for number in range(1, N + 1)), "the manifest")
    yield from (Row(dag="archive", n=N, **fields) for fields in (*_killed(writes), *_together(), *_downloads()))


def of_a_video(route: str) -> Iterator[Row]:
    """The same for a route that makes one video; a picture that is a bomb has no counterpart."""
    for fields in (*_killed(("the poster", "the video", "the manifest")), *_together(), *_downloads()):
        if fields["name"] == "PNG bomb":
            continue
        faults = [{**fault, "match": {"index": 0}} for fault in fields.get("faults", ())]
        end = replace(fields["end"], images=min(fields["end"].images, 1))
        name = fields["name"].replace("an image", "a video").replace("image", "video")
        options: Fields = {}
        if "options" in fields:
            end = replace(end, says=(NO_VIDEO,))
            options = {"archive": {"max_video_bytes": 2_000_000}}
        more: Fields = {
            "name": name,
            "end": end,
            "faults": faults,
            "options": options,
            "short": name == "video cut off",
        }
        yield Row(dag="archive", n=1, route=route, **{**fields, **more})


def _killed(writes: Sequence[str]) -> Iterator[Fields]:
    for write, what in enumerate(writes, 1):
        for point, when, words in (
            ("write", "before", "before"),
            ("publish", "before", "inside of"),
            ("write", "after", "after"),
        ):
            kill = {"task": "archive", "point": point, "when": when, "nth": write}
            yield {
                "name": f"killed {words} writing {what}",
                "end": WHOLE,
                "kills": (kill,),
                "short": (point, write) == ("publish", 2),
            }


def _together() -> Iterator[Fields]:
    yield {
        "name": "two archivers at once",
        "end": End(1, N, {"archive": "success", "archive 2": "success"}),
        "faults": ({"on": "image", "action": "hold", "match": {"index": 1}, "times": 2},),
        "action": actions.archive_twice_at_once,
        "short": True,
    }


def _downloads() -> Iterator[Fields]:
    image: Fields = {"on": "image", "match": {"index": 1}, "times": 1}
    faults: dict[str, Fields] = {
        "URL expired": {"action": "expire_urls"},
        "image cut off": {"action": "truncate"},
        "connection dropped at an image": {"action": "drop"},
        "HTML instead of an image": {"action": "not_an_image"},
        "503 instead of an image": {"action": "error", "status": 503},
    }
    for name, fault in faults.items():
        yield {"name": name, "end": WHOLE, "faults": ({**image, **fault},), "short": name == "image cut off"}
    endless: Fields = {"on": "image", "match": {"index": 1}, "action": "endless"}
    limit: Fields = {"options": {"archive": {"max_image_bytes": 2_000_000}}}
    yield {
        "name": "endless body",
        "end": End(1, 0, FAILED, says=(NO_IMAGE,)),
        "faults": (endless,),
        **limit,
    }
    yield {
        "name": "endless body, cleared when it is well",
        "end": End(1, N, ARCHIVED, says=(NO_IMAGE,)),
        "faults": (endless,),
        "action": actions.clear_after_the_end,
        **limit,
    }
    yield {
        "name": "PNG bomb",
        "end": End(1, N - 1, FAILED, says=(r"kept as .*unverified/1\.png", r"has 30000x30000 pixels, over the limit")),
        "faults": ({**endless, "action": "bomb"},),
        "short": True,
    }

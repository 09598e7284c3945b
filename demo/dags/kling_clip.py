"""
### Kling: an archived picture becomes a clip

The demonstration's second half: `picture` is what the archive task of another DAG returned, or one of its images. The
picture is read from the archive and becomes the first frame of a clip of five seconds, which is archived beside it.
"""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_kling import kling_generate

with DAG(
    dag_id="kling_clip",
    description="Make a clip of five seconds out of an archived picture.",
    doc_md=__doc__,
    schedule=None,
    params={
        "picture": Param(
            {},
            type="object",
            title="Picture",
            description="What an archive task returned (its XCom), or one entry of its images.",
        )
    },
    tags=["kling", "videos"],
) as dag:
    kling_generate(
        "clip",
        route="image-to-video",
        image=dag.param("picture"),
        prompt="The camera moves slowly around the table",
        duration="5",
        poke_interval=5,  # the emulator needs seconds where Kling needs minutes
        destination=os.environ.get("KLING_ARCHIVE", "file:///tmp/kling-archive"),
    )

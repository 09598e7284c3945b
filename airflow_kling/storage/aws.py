"""Makes an S3 client of an Airflow connection, as Airflow's ``S3Hook`` makes it, for a third of the CPU.

Airflow's own :class:`AwsConnectionWrapper` reads the connection. Where that names keys, or leaves them to botocore's
default chain, botocore makes the client by itself. Everything else is left to the hook's session: roles, federation,
profiles, a session factory of one's own.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, conf

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

log = logging.getLogger(__name__)


def read_connection(conn_id: str | None) -> AwsConnectionWrapper:
    """Look an Airflow connection up.

    :param conn_id: None for boto3's own ways, which also serve where there is no such connection, as with ``S3Hook``.
    """
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    connection = None
    if conn_id:
        try:
            connection = BaseHook.get_connection(conn_id)
        except AirflowNotFoundException:
            log.warning("There is no AWS connection %r; boto3's own ways to credentials are taken.", conn_id)
    return AwsConnectionWrapper(conn=connection)


def s3_client(connection: AwsConnectionWrapper, config: Mapping[str, Any] | None = None) -> Any:
    """Make the client of a connection.

    :param config: of botocore, such as ``{"connect_timeout": 3}``; comes before the connection's own.
    """
    from botocore.config import Config  # type: ignore[import-untyped]

    create = _botocore_session(connection).create_client if is_plain(connection) else _hook_session(connection).client
    own: Any = connection.botocore_config or Config()
    return create(
        "s3",
        endpoint_url=connection.get_service_endpoint_url("s3"),
        config=own.merge(Config(**config)) if config else own,
        verify=connection.verify,
    )


def is_plain(connection: AwsConnectionWrapper) -> bool:
    """Whether botocore alone does with a connection what the hook would do."""
    keys = (connection.aws_access_key_id, connection.aws_secret_access_key)
    whole = all(keys) or not any((*keys, connection.aws_session_token))
    special = connection.role_arn or connection.profile_name or conf.get("aws", "session_factory", fallback=None)
    return whole and not special


def _botocore_session(connection: AwsConnectionWrapper) -> Any:
    import botocore.session  # type: ignore[import-untyped]

    session = botocore.session.get_session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    if connection.aws_access_key_id:
        session.set_credentials(
            connection.aws_access_key_id, connection.aws_secret_access_key, connection.aws_session_token
        )
    if connection.region_name:
        session.set_config_variable("region", connection.region_name)
    return session


class _AnyService(list[str]):
    """Has every service. One that botocore has no data of still fails, when its version is looked for."""

    def __contains__(self, service_name: object) -> bool:
        return True


@functools.cache
def _loader(data_path: str | None) -> Any:
    """Botocore's loader, which keeps what it has read: 40 ms of CPU and 15 MB, for S3.

    By itself it would read 400 directories twice to find that S3 is among the services.
    """
    from botocore.loaders import create_loader  # type: ignore[import-untyped]

    loader = create_loader(data_path)
    loader.list_available_services = lambda type_name: _AnyService()
    return loader


def preload() -> None:
    """Import what a client needs, and read botocore's descriptions of S3."""
    for name in ("airflow.providers.amazon.aws.utils.connection_wrapper", "botocore.client", "botocore.handlers"):
        importlib.import_module(name)
    import botocore.session

    loader = _loader(botocore.session.get_session().get_config_variable("data_path"))
    for kind in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("s3", kind)
    for kind in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(kind)


def _hook_session(connection: AwsConnectionWrapper) -> Any:
    from airflow.providers.amazon.aws.hooks.base_aws import SessionFactory

    return SessionFactory(conn=connection, config=connection.botocore_config).create_session()

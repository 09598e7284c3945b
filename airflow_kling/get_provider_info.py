"""Tells Airflow what this provider has; imports nothing, since Airflow reads it at every start."""


def get_provider_info() -> dict[str, object]:
    """Return the provider's metadata, in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-kling",
        "name": "Kling",
        "description": "`Kling <https://klingai.com/>`__ images and videos: submit once, wait deferred, archive all.",
        "versions": ["0.1.0"],
        "integrations": [
            {
                "integration-name": "Kling",
                "external-doc-url": "https://klingai.com/",
                "tags": ["service", "ai"],
            }
        ],
        "operators": [
            {
                "integration-name": "Kling",
                "python-modules": [
                    "airflow_kling.operators.generate",
                    "airflow_kling.operators.image_expansion",
                    "airflow_kling.operators.image_generation",
                    "airflow_kling.operators.image_to_video",
                    "airflow_kling.operators.multi_image_to_image",
                    "airflow_kling.operators.omni_image",
                    "airflow_kling.operators.omni_video",
                    "airflow_kling.operators.text_to_video",
                    "airflow_kling.operators.virtual_try_on",
                    "airflow_kling.operators.archive",
                    "airflow_kling.operators.review",
                    "airflow_kling.operators.publish",
                ],
            }
        ],
        "sensors": [{"integration-name": "Kling", "python-modules": ["airflow_kling.sensors.task"]}],
        "hooks": [{"integration-name": "Kling", "python-modules": ["airflow_kling.hooks.kling"]}],
        "triggers": [{"integration-name": "Kling", "python-modules": ["airflow_kling.triggers.task"]}],
        "extra-links": [
            "airflow_kling.reporting.links.KlingGalleryLink",
            "airflow_kling.reporting.links.S3ConsoleLink",
        ],
        "connection-types": [CONNECTION_TYPE],
        "plugins": [
            {"name": "kling_gallery", "plugin-class": "airflow_kling.plugins.gallery.plugin.KlingGalleryPlugin"},
            {"name": "kling_callbacks", "plugin-class": "airflow_kling.plugins.callbacks.plugin.KlingCallbacksPlugin"},
            {"name": "kling_preload", "plugin-class": "airflow_kling.preload.KlingPreloadPlugin"},
        ],
        "config": {
            "kling": {
                "description": "Triggerer; gallery and callbacks, Airflow 3.1 and later; what forms may name.",
                "options": OPTIONS,
            }
        },
    }


# Airflow 3.3 draws the connection form from this; up to 3.1 it calls KlingHook's classmethods. A test keeps them equal.
CONNECTION_TYPE = {
    "connection-type": "kling",
    "hook-class-name": "airflow_kling.hooks.kling.KlingHook",
    "hook-name": "Kling",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "login", "port", "extra"],
        "relabeling": {"host": "Base URL", "password": "API key"},
        "placeholders": {"host": "https://api.cometapi.com"},
    },
    "conn-fields": {
        "gateway": {
            "label": "Gateway",
            "description": "Whose spelling of the API: cometapi, cometapi-v2 or official.",
            "schema": {"type": "string", "default": "cometapi", "enum": ["cometapi", "cometapi-v2", "official"]},
        },
        "access_key": {
            "label": "Access key",
            "description": "Official gateway only, in place of an API key.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "secret_key": {
            "label": "Secret key",
            "description": "Official gateway only; signs a token for each half hour.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "timeout": {
            "label": "Timeout (seconds)",
            "description": "How long one HTTP request may take.",
            "schema": {"type": ["integer", "null"]},
        },
        "max_requests_per_second": {
            "label": "Max requests per second",
            "description": "What all waiting tasks of one triggerer together may ask.",
            "schema": {"type": ["integer", "null"]},
        },
        "models": {
            "label": "Models",
            "description": "Model names in place of the known ones, the default first: kling-v2-1, kling-v2.",
            "schema": {"type": ["string", "null"]},
        },
        "prices": {
            "label": "Prices",
            "description": 'Units by route and model, in place of the list: {"image-generation": {"kling-v3": 8}}.',
            "schema": {"type": ["string", "null"]},
        },
        "max_units": {
            "label": "Max units",
            "description": "Units that one generation may cost at most by its estimate, of images or of videos alike.",
            "schema": {"type": ["string", "null"]},
        },
        "refuses_duplicates": {
            "label": "Refuses duplicates",
            "description": "no where the account takes a second task with the same external_task_id; yes by default.",
            "schema": {"type": ["string", "null"]},
        },
        "namespace": {
            "label": "Namespace",
            "description": "Tells this Airflow from others that use the account; its base URL by default.",
            "schema": {"type": ["string", "null"]},
        },
        "record_store": {
            "label": "Record store",
            "description": "Object storage URL for submission records, before Airflow 3.3: s3://conn@bucket/prefix.",
            "schema": {"type": ["string", "null"]},
        },
        "callback_base_url": {
            "label": "Callback base URL",
            "description": "Where Kling reaches the callback receiver; without it no callbacks are asked for.",
            "schema": {"type": ["string", "null"]},
        },
        "callback_secret": {
            "label": "Callback secret",
            "description": "Signs the callback URLs; receiver and connection need the same.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "webhook_secret": {
            "label": "Webhook secret",
            "description": "Of Kling's own signature, whsec_...; with it the receiver takes signed callbacks only.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "proxy": {
            "label": "Proxy",
            "description": "http://host:port for the API and downloads, or the word environment.",
            "schema": {"type": ["string", "null"]},
        },
        "trusted_networks": {
            "label": "Trusted networks",
            "description": "Networks that image URLs may resolve to beside the public ones: 198.18.0.0/15.",
            "schema": {"type": ["string", "null"]},
        },
        "allow_http": {
            "label": "Allow http",
            "description": "Allow a base URL with http on a public host, where anybody in between can read the key.",
            "schema": {"type": ["boolean", "null"], "default": False},
        },
        "allow_private_hosts": {
            "label": "Allow private hosts",
            "description": "Allow image URLs on private addresses: for the local emulator, never in production.",
            "schema": {"type": ["boolean", "null"], "default": False},
        },
    },
}

OPTIONS = {
    "callback_conn_ids": {
        "description": "Connections whose callbacks the API server takes, at /kling-callbacks/<connection id>, without "
        "a login. None by default.",
        "version_added": "0.1.0",
        "type": "string",
        "example": "kling_default, kling_team",
        "default": "",
    },
    "freeze_garbage_collection": {
        "description": "Take the modules that a triggerer has loaded out of Python's garbage collections when the "
        "first Kling task waits. Else a collection stops its event loop for over 100 ms when thousands wait.",
        "version_added": "0.1.0",
        "type": "boolean",
        "example": None,
        "default": "True",
    },
    "gallery_max_video_mb": {
        "description": "MiB of the largest video that the gallery plays; at most a fourth of gallery_video_cache_mb.",
        "version_added": "0.1.0",
        "type": "integer",
        "example": None,
        "default": "512",
    },
    "gallery_video_cache_mb": {
        "description": "How many MiB the videos may take that were played; those go first that were not played for the "
        "longest time.",
        "version_added": "0.1.0",
        "type": "integer",
        "example": None,
        "default": "2048",
    },
    "gallery_cache_directory": {
        "description": "Where the API server keeps thumbnails and played videos; by default a directory of its user "
        "below the system's temporary one. Must belong to that user alone.",
        "version_added": "0.1.0",
        "type": "string",
        "example": "/var/cache/airflow-kling",
        "default": "",
    },
    "gallery_cache_mb": {
        "description": "How many MiB the thumbnails may take; those go first that were not asked for the longest time.",
        "version_added": "0.1.0",
        "type": "integer",
        "example": None,
        "default": "512",
    },
    "allowed_references": {
        "description": "Where reference images may come from: URL prefixes between commas. s3://conn_id@bucket/ allows "
        "that connection alone. Blank allows everything; images that are given as bytes or base64 always are.",
        "version_added": "0.1.0",
        "type": "string",
        "example": "https://cdn.example.com/products/, s3://our-references/",
        "default": "",
    },
    "allowed_destinations": {
        "description": "Where archives and published images may go: URL prefixes between commas. Blank allows "
        "everything.",
        "version_added": "0.1.0",
        "type": "string",
        "example": "s3://our-archive/kling/",
        "default": "",
    },
    "gallery_file_roots": {
        "description": "Folders of the API server below which the gallery may read pictures and references with "
        "file:// addresses: absolute paths between commas. Without one it shows no files of the server.",
        "version_added": "0.1.0",
        "type": "string",
        "example": "/srv/kling",
        "default": "",
    },
}

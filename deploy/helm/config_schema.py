"""The part `config` of the chart's values.schema.json is the settings' own schema.

python deploy/helm/config_schema.py      # writes it; tests/helm holds it to the settings
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stream_app.codecs import CODECS
from stream_app.core.settings import Settings
from stream_app.engine import backends

FILE = Path(__file__).parent / "winnow" / "values.schema.json"
LEFT_OUT = {"title", "default", "description"}  # docs/operations.md has them


def with_config(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of the values, its part `config` and what that refers to made anew."""
    config = _plain(Settings.model_json_schema())
    sections = config.pop("$defs")
    _for_pods(sections)
    own = {name: each for name, each in schema["$defs"].items() if not name.endswith("Settings")}
    properties = schema["properties"] | {"config": config}
    return schema | {"properties": properties, "$defs": own | sections}


def _for_pods(sections: dict[str, Any]) -> None:
    kafka, route = sections["KafkaSettings"], sections["RouteSettings"]
    kafka["required"] = ["bootstrap_servers"]  # the default is a broker beside the process
    for secret in ("sasl_password", "ssl_key_password"):  # a ConfigMap is no place for one
        del kafka["properties"][secret]
    sections["MetricsSettings"]["properties"]["port"]["minimum"] = 1  # probes must know it
    route["properties"]["format"] = {"enum": list(CODECS)}
    sections["EngineSettings"]["properties"]["backend"] = {"enum": backends()}


def _plain(schema: Any, names: bool = False) -> Any:
    """Without what only people read. `names`: its keys are those of settings."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _plain(value, key in {"properties", "$defs"} and not names)
        for key, value in schema.items()
        if names or key not in LEFT_OUT
    }


if __name__ == "__main__":
    found = json.loads(FILE.read_text(encoding="utf-8"))
    FILE.write_text(json.dumps(with_config(found), indent=2) + "\n", encoding="utf-8")

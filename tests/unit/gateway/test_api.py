"""The API describes itself, from the code that answers."""

from typing import Any

from services.gateway.api import create_api

NOBODY: Any = None
"""The description asks nobody."""


def test_the_description_names_every_route_with_its_bodies_and_its_bearer_token() -> None:
    app = create_api(
        service="gateway",
        access=NOBODY,
        submissions=NOBODY,
        tokens=NOBODY,
        starting=NOBODY,
        media=NOBODY,
        resends=NOBODY,
        inbox=NOBODY,
        reports=NOBODY,
        live=NOBODY,
        pool=NOBODY,
        service_root=b"",
        clock=NOBODY,
    )
    described = app.openapi()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == {
        "GET /v1/sealing-key",
        "GET /v1/users/{user}/medium",
        "POST /v1/signings",
        "GET /v1/signings/{request_id}",
        "GET /v1/signings/{request_id}/events",
        "POST /v1/signings/{request_id}/authorisations",
        "POST /v1/signings/{request_id}/cancellation",
        "POST /v1/devices/{device_id}/not-me",
        "POST /v1/signings/{request_id}/token-signatures",
        "POST /v1/signings/{request_id}/otp-resends",
        "GET /v1/devices/{device_id}/messages",
        "GET /v1/devices/{device_id}/notices",
    }
    for operation in operations.values():
        assert operation["security"] == [{"HTTPBearer": []}]
        refused = operation["responses"]["422"]["content"]
        assert "Problem" in str(refused)
        assert "HTTPValidationError" not in str(refused)
    start = operations["POST /v1/signings"]
    assert {parameter["name"] for parameter in start["parameters"]} == {"idempotency-key"}
    assert start["requestBody"]["required"]
    assert set(start["responses"]) >= {"202", "400", "401", "403", "409", "413", "503"}
    events = operations["GET /v1/signings/{request_id}/events"]
    assert {parameter["name"] for parameter in events["parameters"]} == {"request_id", "last-event-id"}
    assert events["responses"]["200"]["content"].keys() == {"text/event-stream"}
    submit = operations["POST /v1/signings/{request_id}/authorisations"]
    assert {parameter["name"] for parameter in submit["parameters"]} == {"request_id", "idempotency-key"}
    assert set(submit["responses"]) >= {"202", "401", "404", "409", "413", "503"}
    cancel = operations["POST /v1/signings/{request_id}/cancellation"]
    assert {parameter["name"] for parameter in cancel["parameters"]} == {"request_id", "idempotency-key"}
    assert set(cancel["responses"]) >= {"202", "401", "404", "409", "503"}
    assert set(described["components"]["schemas"]["Authorisation"]["properties"]) == {"sealing_key_id", "sealed"}

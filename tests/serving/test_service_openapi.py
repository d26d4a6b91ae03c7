"""The service holds to its own OpenAPI, whatever is asked of it."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from recbole_mm.serving import Recommender
from recbole_mm.serving.parts import run_parts
from recbole_mm.testing.planted import built, write_features, write_planted

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")
app_module = pytest.importorskip("recbole_mm.serving.service.app")
KEY = "a key that nobody guesses"
FILES = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}}
CHECKED = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    shop = write_planted(tmp_path_factory.mktemp("openapi") / "shop", n_users=24, n_items=48)
    write_features(shop)
    config, net, train_data, *_ = built(shop, "VBPR", **FILES)
    recommender = Recommender(run_parts(config, net, train_data.dataset, train_data.dataset))
    return schemathesis.openapi.from_asgi("/openapi.json", app_module.create_app(recommender, KEY))


SOME = settings(
    max_examples=4, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
NOTHING_TO_GET_WRONG = ("/health", "/metrics")


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_every_answer_is_documented_and_none_is_500(api, mode):
    operations, asked = [result.ok() for result in api.get_all_operations()], set()
    for operation in operations:
        if mode == "NEGATIVE" and operation.path in NOTHING_TO_GET_WRONG:
            continue

        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
        @SOME
        def ask(case):
            response = case.call(headers={"X-API-Key": KEY})
            assert response.status_code < 500, response.text
            case.validate_response(response, checks=CHECKED)
            asked.add((case.method, case.path))

        ask()
    assert len(asked) >= len(operations) - len(NOTHING_TO_GET_WRONG) >= 12

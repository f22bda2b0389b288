"""What the chart makes is what Kubernetes, KEDA and the Prometheus operator take."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bench.autoscaler import DOWN_EVERY_SECONDS
from tests.helm.conftest import ROOT, VALUES, Document, Helm, pods

KUBERNETES = ("1.29", "1.37")  # the oldest that Chart.yaml allows, and the newest with schemas
MODELS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}
# of the parameters of KEDA's Kafka trigger, which are any strings to the API server
TRIGGER = {"bootstrapServers", "consumerGroup", "topic", "lagThreshold", "offsetResetPolicy"}
TRIGGER |= {"allowIdleConsumers", "sasl", "tls"}
CREDENTIALS = {"username", "password", "ca", "cert", "key", "keyPassword"}
FREE = {"metadata", "matchLabels", "labels", "annotations", "limits", "requests"}  # any key
REFUSALS = (AssertionError, ValueError, kubernetes_validate.ValidationError)
Kinds = Callable[[str], list[Document]]


def check(document: Document) -> None:
    """Raises an exception for an object that its API would refuse."""
    if document["apiVersion"] not in MODELS:
        for version in KUBERNETES:
            kubernetes_validate.validate(document, version, strict=True)
        return
    model = getattr(import_module(MODELS[document["apiVersion"]]), document["kind"])
    known = model.model_validate(document).model_dump(
        mode="json", by_alias=True, exclude_unset=True
    )
    assert known == document, "a key that the model does not have"


def misspelt(document: Any) -> Iterator[tuple[str, Document]]:
    """The same with one letter more in one of its keys: one after the other, at any depth."""

    def keys(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        for key in range(len(value)) if isinstance(value, list) else value:
            if isinstance(key, str):
                yield (*path, key)
            if isinstance(value[key], (dict, list)) and key not in FREE:
                yield from keys(value[key], (*path, key))

    for *path, key in keys(document["spec"], ("spec",)):
        inner = wrong = copy.deepcopy(document)
        for step in path:
            inner = inner[step]
        inner[f"{key}s"] = inner.pop(key)
        yield ".".join(map(str, (*path, key))), wrong


def test_the_apis_take_all_of_it(documents: Sequence[Document]):
    for document in documents:
        check(document)


@pytest.mark.parametrize("kind", ["ScaledObject", "TriggerAuthentication", "PodMonitor", "CronJob"])
def test_a_misspelt_key_would_be_noticed(kind: str, everything: Kinds):
    for where, wrong in misspelt(everything(kind)[0]):
        try:
            check(wrong)
        except REFUSALS:
            continue
        pytest.fail(f"{where} passes")


class TestPods:
    def test_each_is_restricted_and_knows_no_service_by_variables(
        self, documents: Sequence[Document]
    ):
        for name, pod in pods(documents).items():
            [container] = pod["containers"]
            assert pod["enableServiceLinks"] is False, name
            assert pod["automountServiceAccountToken"] is False, name
            assert pod["securityContext"]["runAsNonRoot"], name
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name

    def test_what_they_mount_is_there(self, documents: Sequence[Document]):
        named = {(each["kind"], each["metadata"]["name"]) for each in documents}
        for name, pod in pods(documents).items():
            volumes = {each["name"]: each for each in pod["volumes"]}
            mounts = {each["name"] for each in pod["containers"][0]["volumeMounts"]}
            assert mounts == volumes.keys(), name
            for volume in volumes.values():
                if claim := volume.get("persistentVolumeClaim"):
                    assert ("PersistentVolumeClaim", claim["claimName"]) in named
                if configuration := volume.get("configMap"):
                    assert ("ConfigMap", configuration["name"]) in named

    def test_none_sees_the_secret_of_another(self, everything: Kinds):
        pod = pods(everything("Deployment"))["labels-worker"]
        mounted = {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
        assert mounted == {"ca.of.kafka", "client"}  # [kafka]'s, not the token of the dashboard

    def test_a_selector_finds_its_own_pods_only(self, documents: Sequence[Document]):
        deployments = [each for each in documents if each["kind"] == "Deployment"]
        for one in deployments:
            wanted = one["spec"]["selector"]["matchLabels"].items()
            found = [d for d in deployments if wanted <= template_labels(d).items()]
            assert found == [one]


class TestScaling:
    def test_every_route_is_a_trigger_of_strings_that_keda_knows(self, everything: Kinds):
        [scaled] = everything("ScaledObject")
        assert [trigger["name"] for trigger in scaled["spec"]["triggers"]] == ["mail_in", "news"]
        for trigger in scaled["spec"]["triggers"]:
            assert trigger["metadata"].keys() <= TRIGGER
            assert all(isinstance(value, str) for value in trigger["metadata"].values())

    def test_there_are_never_more_workers_than_partitions(self, everything: Kinds):
        [scaled] = everything("ScaledObject")
        assert scaled["spec"]["maxReplicaCount"] == 6
        assert "replicas" not in worker(everything)["spec"]  # an upgrade would undo the scaling

    def test_workers_go_as_the_simulation_has_them_go(self, everything: Kinds):
        [scaled] = everything("ScaledObject")
        behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        policy = {"type": "Pods", "value": 1, "periodSeconds": DOWN_EVERY_SECONDS}
        assert behavior["scaleDown"]["policies"] == [policy]
        assert behavior.keys() == {"scaleDown"}

    def test_keda_gets_the_secrets_of_the_workers(self, everything: Kinds):
        [authentication] = everything("TriggerAuthentication")
        targets = {
            each["parameter"]: (each["name"], each["key"])
            for each in authentication["spec"]["secretTargetRef"]
        }
        assert targets.keys() <= CREDENTIALS
        assert targets["ca"] == ("ca.of.kafka", "ca.crt")
        assert targets["keyPassword"] == ("client", "password")

    def test_a_user_is_read_from_the_workers_environment(self, helm: Helm):
        documents = helm.documents(VALUES["strimzi"])
        [authentication] = [d for d in documents if d["kind"] == "TriggerAuthentication"]
        [scaled] = [d for d in documents if d["kind"] == "ScaledObject"]
        [variable] = authentication["spec"]["env"]
        container = pods(documents)["labels-worker"]["containers"][0]
        assert variable["containerName"] == container["name"]
        assert {"name": variable["name"], "value": "winnow"} in container["env"]
        [trigger] = scaled["spec"]["triggers"]
        assert (trigger["metadata"]["sasl"], trigger["metadata"]["tls"]) == (
            "scram_sha512",
            "enable",
        )

    def test_a_route_apart_is_scaled_by_its_own_group(self, helm: Helm):
        scaled = [d for d in helm.documents(VALUES["autoscaled"]) if d["kind"] == "ScaledObject"]
        for each in scaled:
            [trigger] = each["spec"]["triggers"]
            assert each["spec"]["scaleTargetRef"]["name"] == f"labels-worker-{trigger['name']}"
            assert trigger["metadata"]["consumerGroup"] == f"winnow-{trigger['name']}"
        assert len(scaled) == 3


class TestMonitoring:
    def test_the_alerts_are_those_of_deploy_prometheus(self, everything: Kinds):
        [rule] = everything("PrometheusRule")
        file = ROOT / "deploy" / "prometheus" / "alerts.yml"
        assert rule["spec"] == yaml.safe_load(file.read_text(encoding="utf-8"))

    def test_the_jobs_are_those_that_alerts_name(self, everything: Kinds):
        [monitor] = everything("PodMonitor")
        [endpoint] = monitor["spec"]["podMetricsEndpoints"]
        jobs = {job(endpoint["relabelings"], component) for component in scraped(everything)}
        file = ROOT / "deploy" / "prometheus" / "alerts.yml"
        named = set(re.findall(r'job="([^"]+)"', file.read_text(encoding="utf-8")))
        assert {"winnow", "winnow-filter"} <= named <= jobs

    def test_workers_of_a_route_are_the_same_job(self, everything: Kinds):
        [monitor] = everything("PodMonitor")
        [endpoint] = monitor["spec"]["podMetricsEndpoints"]
        assert job(endpoint["relabelings"], "worker-mail") == "winnow"


def worker(everything: Kinds) -> Document:
    [found] = [d for d in everything("Deployment") if d["metadata"]["name"] == "labels-worker"]
    return found


def template_labels(deployment: Document) -> dict[str, str]:
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


def scraped(everything: Kinds) -> list[str]:
    """The component of each pod that a PodMonitor finds."""
    return [template_labels(d)["app.kubernetes.io/component"] for d in everything("Deployment")]


def job(relabelings: list[dict[str, Any]], component: str) -> str:
    """The label `job` of a pod, as Prometheus makes it."""
    name = ""
    for rule in relabelings:
        assert rule["targetLabel"] == "job"
        if found := re.fullmatch(rule.get("regex", "(.*)"), component):
            name = rule["replacement"].replace("$1", found[1] or "")
    return name

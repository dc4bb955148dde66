"""The official Python client on MXJobs, by its own calls. Argument: a kubeconfig."""

import sys

from kubernetes import client, config, watch

GROUP = dict(group="kubeflow.org", version="v1", namespace="default", plural="mxjobs")
NAME = "python"
LIMIT = 60
# A job is over when its scheduler is, so that one waits for the workers, as a real one does.
SCRIPT = """
if [ "$DMLC_ROLE" = worker ]; then
  : > python-done-$DMLC_WORKER_ID
else
  until [ -e python-done-0 ] && [ -e python-done-1 ]; do sleep 0.05; done
fi
echo from $DMLC_ROLE
"""


def job():
    def replica(count):
        container = {
            "name": "mxnet",
            "image": "none",
            "command": ["/bin/sh", "-c", SCRIPT],
        }
        return {
            "replicas": count,
            "restartPolicy": "Never",
            "template": {"spec": {"containers": [container]}},
        }

    roles = {"Scheduler": replica(1), "Server": replica(1), "Worker": replica(2)}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "MXJob",
        "metadata": {"name": NAME, "labels": {"team": "digits"}},
        "spec": {"suspend": True, "cleanPodPolicy": "None", "mxReplicaSpecs": roles},
    }


def refused(status, reason, call):
    try:
        call()
    except client.ApiException as error:
        assert error.status == status, error
        assert f'"reason":"{reason}"' in error.body.replace(": ", ":"), error.body
    else:
        raise AssertionError(f"not refused with {status}")


def is_true(job, condition):
    found = job.get("status", {}).get("conditions") or []
    return any(c["type"] == condition and c["status"] == "True" for c in found)


config.load_kube_config(sys.argv[1])
jobs, core = client.CustomObjectsApi(), client.CoreV1Api()

created = jobs.create_namespaced_custom_object(**GROUP, body=job())
refused(409, "AlreadyExists", lambda: jobs.create_namespaced_custom_object(**GROUP, body=job()))
assert jobs.get_namespaced_custom_object(**GROUP, name=NAME)["metadata"]["uid"] == created["metadata"]["uid"]
refused(404, "NotFound", lambda: jobs.get_namespaced_custom_object(**GROUP, name="absent"))
listed = jobs.list_namespaced_custom_object(**GROUP, label_selector="team=digits", limit=1)
assert [item["metadata"]["name"] for item in listed["items"]] == [NAME], listed
everywhere = jobs.list_cluster_custom_object(group="kubeflow.org", version="v1", plural="mxjobs")
assert len(everywhere["items"]) == 1

patch = {"spec": {"ttlSecondsAfterFinished": 600}, "metadata": {"annotations": {"note": "x"}}}
patched = jobs.patch_namespaced_custom_object(**GROUP, name=NAME, body=patch)
assert patched["spec"]["ttlSecondsAfterFinished"] == 600
# Any other patch than a merge patch is asked for by its media type.
patched = jobs.patch_namespaced_custom_object(
    **GROUP,
    name=NAME,
    body=[{"op": "replace", "path": "/metadata/labels/team", "value": "letters"}],
    _content_type="application/json-patch+json",
)
assert patched["metadata"]["labels"] == {"team": "letters"}

stale = jobs.get_namespaced_custom_object(**GROUP, name=NAME)
stale["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"]
refused(409, "Conflict", lambda: jobs.replace_namespaced_custom_object(**GROUP, name=NAME, body=stale))
while True:
    body = jobs.get_namespaced_custom_object(**GROUP, name=NAME)
    body["spec"]["suspend"] = False
    try:
        replaced = jobs.replace_namespaced_custom_object(**GROUP, name=NAME, body=body)
        break
    except client.ApiException as error:
        # The controller has written its status in between.
        assert error.status == 409, error

start = replaced["metadata"]["resourceVersion"]
stream = watch.Watch().stream(
    jobs.list_namespaced_custom_object, **GROUP, resource_version=start, timeout_seconds=LIMIT
)
for event in stream:
    assert event["type"] in ("ADDED", "MODIFIED"), event
    if is_true(event["object"], "Succeeded"):
        break
else:
    raise AssertionError("the job did not succeed while it was watched")
assert is_true(jobs.get_namespaced_custom_object_status(**GROUP, name=NAME), "Succeeded")

selector = f"training.kubeflow.org/job-name={NAME},training.kubeflow.org/replica-type=worker"
pods = core.list_namespaced_pod("default", label_selector=selector).items
assert [pod.metadata.name for pod in pods] == ["python-worker-0", "python-worker-1"], pods
assert {pod.status.phase for pod in pods} == {"Succeeded"}
assert pods[0].status.container_statuses[0].state.terminated.exit_code == 0
log = core.read_namespaced_pod_log("python-worker-0", "default", container="mxnet")
assert log == "from worker\n", log
followed = list(watch.Watch().stream(core.read_namespaced_pod_log, name="python-worker-1", namespace="default"))
assert followed == ["from worker"], followed
services = core.list_namespaced_service("default", label_selector=selector).items
assert [service.spec.cluster_ip for service in services] == ["None", "None"]
events = core.list_namespaced_event("default", field_selector=f"involvedObject.name={NAME}").items
assert any(event.reason == "SuccessfulCreatePod" for event in events), events
assert client.VersionApi().get_code().major == "1"
review = client.V1SelfSubjectAccessReview(
    spec=client.V1SelfSubjectAccessReviewSpec(
        resource_attributes=client.V1ResourceAttributes(
            group="kubeflow.org", resource="mxjobs", verb="create", namespace="default"
        )
    )
)
assert client.AuthorizationV1Api().create_self_subject_access_review(review).status.allowed

listed = jobs.list_namespaced_custom_object(**GROUP)
jobs.delete_namespaced_custom_object(**GROUP, name=NAME, propagation_policy="Foreground")
stream = watch.Watch().stream(
    jobs.list_namespaced_custom_object,
    **GROUP,
    resource_version=listed["metadata"]["resourceVersion"],
    timeout_seconds=LIMIT,
)
assert any(event["type"] == "DELETED" for event in stream), "the end was not seen"
refused(404, "NotFound", lambda: jobs.delete_namespaced_custom_object(**GROUP, name=NAME))
assert core.list_namespaced_pod("default", label_selector=selector).items == []
print("done")

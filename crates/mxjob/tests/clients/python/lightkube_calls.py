"""lightkube on MXJobs and their pods, by its own calls. Argument: a kubeconfig."""

import sys

from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.core_v1 import Pod
from lightkube.types import CascadeType, PatchType

NAME = "lightkube"
# The worker waits for a file that `exec` makes. A job is over when its scheduler is, so that one waits for the worker.
SCRIPT = """
echo from $DMLC_ROLE
if [ "$DMLC_ROLE" = worker ]; then
  until [ -e lightkube-go ]; do sleep 0.05; done
  : > lightkube-done
else
  until [ -e lightkube-done ]; do sleep 0.05; done
fi
"""


def replica():
    container = {"name": "mxnet", "image": "none", "command": ["/bin/sh", "-c", SCRIPT]}
    return {
        "replicas": 1,
        "restartPolicy": "Never",
        "template": {"spec": {"containers": [container]}},
    }


def refused(status, call):
    try:
        call()
    except ApiError as error:
        assert error.status.code == status, error
    else:
        raise AssertionError(f"not refused with {status}")


def is_true(job, condition):
    found = (job.status or {}).get("conditions") or []
    return any(c["type"] == condition and c["status"] == "True" for c in found)


client = Client(config=KubeConfig.from_file(sys.argv[1]), namespace="default", field_manager="lightkube")
MXJob = create_namespaced_resource("kubeflow.org", "v1", "MXJob", "mxjobs")
roles = {role: replica() for role in ("Scheduler", "Server", "Worker")}
job = MXJob(
    apiVersion="kubeflow.org/v1",
    kind="MXJob",
    metadata={"name": NAME, "labels": {"team": "digits"}},
    spec={"suspend": True, "cleanPodPolicy": "None", "mxReplicaSpecs": roles},
)
created = client.create(job)
refused(409, lambda: client.create(job))
assert client.get(MXJob, NAME).metadata.uid == created.metadata.uid
refused(404, lambda: client.get(MXJob, "absent"))
assert [it.metadata.name for it in client.list(MXJob, labels={"team": "digits"}, chunk_size=1)] == [NAME]
assert list(client.list(MXJob, labels={"team": "none"})) == []

patch = {"spec": {"ttlSecondsAfterFinished": 600}}
assert client.patch(MXJob, NAME, patch, patch_type=PatchType.MERGE)["spec"]["ttlSecondsAfterFinished"] == 600
patch = [{"op": "replace", "path": "/metadata/labels/team", "value": "letters"}]
assert client.patch(MXJob, NAME, patch, patch_type=PatchType.JSON).metadata.labels == {"team": "letters"}
label = MXJob(
    apiVersion="kubeflow.org/v1", kind="MXJob", metadata={"name": NAME, "labels": {"size": "small"}}
)
assert client.apply(label).metadata.labels == {"team": "letters", "size": "small"}

refused(409, lambda: client.replace(created))
while True:
    body = client.get(MXJob, NAME)
    body["spec"]["suspend"] = False
    try:
        replaced = client.replace(body)
        break
    except ApiError as error:
        # The controller has written its status in between.
        assert error.status.code == 409, error

selector = {"training.kubeflow.org/job-name": NAME, "training.kubeflow.org/replica-type": "worker"}
for event, pod in client.watch(Pod, labels=selector):
    if pod.status and pod.status.phase == "Running":
        break
assert pod.metadata.name == "lightkube-worker-0"
result = client.exec(pod.metadata.name, command=["sh", "-c", "echo out; echo err >&2; exit 3"], stdout=True, stderr=True)
assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3), result
followed = client.log(pod.metadata.name, follow=True)
assert next(followed) == "from worker\n"
assert client.exec(pod.metadata.name, command=["touch", "lightkube-go"], stdout=True).exit_code == 0
assert list(followed) == []

for event, seen in client.watch(MXJob, resource_version=replaced.metadata.resourceVersion):
    assert event in ("ADDED", "MODIFIED"), event
    if is_true(seen, "Succeeded"):
        break
assert client.get(Pod, pod.metadata.name).status.phase == "Succeeded"

version = seen.metadata.resourceVersion
client.delete(MXJob, NAME, cascade=CascadeType.FOREGROUND)
for event, _ in client.watch(MXJob, resource_version=version):
    if event == "DELETED":
        break
refused(404, lambda: client.delete(MXJob, NAME))
assert list(client.list(Pod, labels=selector)) == []
print("done")

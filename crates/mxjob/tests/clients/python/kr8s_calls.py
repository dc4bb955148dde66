"""kr8s on MXJobs and their pods, by its own calls. Argument: a kubeconfig."""

import asyncio
import sys

import kr8s
import kr8s.asyncio.objects
from kr8s.objects import Pod, new_class

NAME = "kr8s"
LIMIT = 60
# The worker waits for a file that `exec` makes. A job is over when its scheduler is, so that one waits for the worker.
SCRIPT = """
echo from $DMLC_ROLE
if [ "$DMLC_ROLE" = worker ]; then
  until [ -e kr8s-go ]; do sleep 0.05; done
  echo end of $DMLC_ROLE
  : > kr8s-done
else
  until [ -e kr8s-done ]; do sleep 0.05; done
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
    except kr8s.ServerError as error:
        assert error.response.status_code == status, error
    else:
        raise AssertionError(f"not refused with {status}")


def body():
    roles = {role: replica() for role in ("Scheduler", "Server", "Worker")}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "MXJob",
        "metadata": {"name": NAME, "namespace": "default", "labels": {"team": "digits"}},
        "spec": {"suspend": True, "cleanPodPolicy": "None", "mxReplicaSpecs": roles},
    }


async def resume(stale):
    """kr8s has no call for a replace: its users send the request through the asynchronous API object."""
    api = await kr8s.asyncio.api(kubeconfig=sys.argv[1])
    kind = kr8s.asyncio.objects.new_class("MXJob", version="kubeflow.org/v1", namespaced=True)

    async def replace(body):
        path = dict(version=body["apiVersion"], namespace="default", url=f"mxjobs/{NAME}")
        async with api.call_api("PUT", json=body, **path) as response:
            return response.json()

    try:
        await replace(stale)
        raise AssertionError("an old version was replaced")
    except kr8s.ServerError as error:
        assert error.response.status_code == 409, error
    while True:
        job = await kind.get(NAME, namespace="default", api=api)
        job.spec.suspend = False
        try:
            return await replace(job.raw.to_dict())
        except kr8s.ServerError as error:
            # The controller has written its status in between.
            assert error.response.status_code == 409, error


api = kr8s.api(kubeconfig=sys.argv[1])
MXJob = new_class("MXJob", version="kubeflow.org/v1", namespaced=True)
assert ("mxjobs", "MXJob") in {(it["name"], it["kind"]) for it in api.api_resources()}
assert "kubeflow.org/v1" in list(api.api_versions())

job = MXJob(body(), api=api)
assert not job.exists()
job.create()
assert job.exists() and job.metadata.uid
refused(409, MXJob(body(), api=api).create)
assert MXJob.get(NAME, namespace="default", api=api).metadata.uid == job.metadata.uid
try:
    MXJob.get("absent", namespace="default", api=api, timeout=1)
except kr8s.NotFoundError:
    pass
else:
    raise AssertionError("a job that does not exist was found")
# By the plural, whose kind the client looks up in discovery, and by a short name.
for kind in ("mxjobs.kubeflow.org", "mxj", MXJob):
    listed = list(api.get(kind, namespace="default", label_selector={"team": "digits"}))
    assert [item.name for item in listed] == [NAME], (kind, listed)
assert list(api.get(MXJob, namespace="default", label_selector="team=none")) == []
assert [item.name for item in api.get(MXJob, namespace=kr8s.ALL)] == [NAME]

job.patch({"spec": {"ttlSecondsAfterFinished": 600}})
assert job.spec.ttlSecondsAfterFinished == 600
job.patch([{"op": "replace", "path": "/metadata/labels/team", "value": "letters"}], type="json")
assert job.labels == {"team": "letters"}
job.label(team="digits", size="small")
job.annotate(note="x")
assert job.labels == {"team": "digits", "size": "small"} and job.annotations["note"] == "x"

stale = {**job.raw.to_dict(), "metadata": {**job.metadata.to_dict(), "resourceVersion": "1"}}
assert asyncio.run(resume(stale))["spec"]["suspend"] is False

selector = {"training.kubeflow.org/job-name": NAME, "training.kubeflow.org/replica-type": "worker"}
pod = Pod.get(label_selector=selector, namespace="default", api=api, timeout=LIMIT)
assert pod.name == "kr8s-worker-0"
pod.wait("condition=Ready", timeout=LIMIT)
# kr8s ends the stream at its first pause, so that one waits for what the worker has written by then.
followed = pod.logs(follow=True, timeout=LIMIT)
assert next(followed) == "from worker"
assert pod.exec(["sh", "-c", "echo out; echo err >&2"]).stdout == b"out\n"
failed = pod.exec(["sh", "-c", "exit 3"], check=False)
assert failed.returncode == 3, failed
assert pod.exec(["touch", "kr8s-go"]).returncode == 0
assert list(followed) == ["end of worker"]

for event, seen in api.watch(MXJob, namespace="default"):
    assert event in ("ADDED", "MODIFIED"), event
    states = {one.type: one.status for one in seen.status.get("conditions", [])}
    if states.get("Succeeded") == "True":
        break
job.wait("condition=Succeeded", timeout=LIMIT)
pod.refresh()
assert pod.status.phase == "Succeeded"
assert list(pod.logs()) == ["from worker", "end of worker"]
assert list(pod.logs(tail_lines=1)) == ["end of worker"]

job.delete(propagation_policy="Foreground")
job.wait("delete", timeout=LIMIT)
assert not job.exists()
try:
    job.delete()
except kr8s.NotFoundError:
    pass
else:
    raise AssertionError("a deleted job was deleted again")
assert list(api.get("pods", namespace="default", label_selector=selector)) == []
print("done")

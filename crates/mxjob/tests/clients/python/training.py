"""The training SDK of Kubeflow on MXJobs, by its own calls. Argument: a kubeconfig.

It knows only a kind that is given to the client itself: `wait_for_job_conditions` forgets the argument.
"""

import contextlib
import io
import logging
import sys

from kubeflow.training import (
    KubeflowOrgV1MXJob,
    KubeflowOrgV1MXJobSpec,
    KubeflowOrgV1ReplicaSpec,
    KubeflowOrgV1RunPolicy,
    TrainingClient,
)
from kubernetes import client

NAME = "sdk"
# A job is over when its scheduler is, so that one waits for the workers, as a real one does.
SCRIPT = """
if [ "$DMLC_ROLE" = worker ]; then
  : > sdk-done-$DMLC_WORKER_ID
else
  until [ -e sdk-done-0 ] && [ -e sdk-done-1 ]; do sleep 0.05; done
fi
echo from $DMLC_ROLE
"""


def replica(count):
    container = client.V1Container(
        name="mxnet", image="none", command=["/bin/sh", "-c", SCRIPT]
    )
    template = client.V1PodTemplateSpec(spec=client.V1PodSpec(containers=[container]))
    return KubeflowOrgV1ReplicaSpec(replicas=count, restart_policy="Never", template=template)


def job():
    return KubeflowOrgV1MXJob(
        api_version="kubeflow.org/v1",
        kind="MXJob",
        metadata=client.V1ObjectMeta(name=NAME, namespace="default"),
        spec=KubeflowOrgV1MXJobSpec(
            job_mode="MXTrain",
            run_policy=KubeflowOrgV1RunPolicy(clean_pod_policy="None"),
            mx_replica_specs={"Scheduler": replica(1), "Server": replica(1), "Worker": replica(2)},
        ),
    )


sdk = TrainingClient(config_file=sys.argv[1], job_kind="MXJob")
sdk.create_job(job())
sdk.wait_for_job_conditions(
    NAME, expected_conditions={"Created"}, wait_timeout=60, polling_interval=0.1
)
assert sdk.is_job_created(NAME)
done = sdk.wait_for_job_conditions(
    NAME, expected_conditions={"Succeeded"}, wait_timeout=60, polling_interval=0.1
)
assert done.status.replica_statuses["Worker"].succeeded == 2, done.status
assert done.status.completion_time is not None
assert sdk.is_job_succeeded(NAME) and not sdk.is_job_failed(NAME) and not sdk.is_job_running(NAME)
assert {condition.type for condition in sdk.get_job_conditions(NAME)} >= {"Created", "Succeeded"}
assert [item.metadata.name for item in sdk.list_jobs()] == [NAME]

# The whole object goes back as a merge patch, which may change what is replaceable.
changed = sdk.get_job(NAME)
changed.metadata.labels = {"team": "digits"}
sdk.update_job(changed, NAME)
assert sdk.get_job(NAME).metadata.labels == {"team": "digits"}

workers = ["sdk-worker-0", "sdk-worker-1"]
everything = ["sdk-scheduler-0", "sdk-server-0", *workers]
assert sorted(sdk.get_job_pod_names(NAME)) == everything
assert sorted(sdk.get_job_pod_names(NAME, replica_type="worker")) == workers
assert sdk.get_job_pod_names(NAME, replica_type="worker", replica_index=1) == workers[1:]
logs, _ = sdk.get_job_logs(NAME, is_master=False, replica_type="worker")
assert logs == {name: "from worker\n" for name in workers}, logs
logs, events = sdk.get_job_logs(NAME, is_master=False, verbose=True)
assert sorted(logs) == everything, logs
assert events, "verbose logs have events"
# Only jobs with a master have a pod that is called one: the default finds none, and says so by an empty answer.
logs, _ = sdk.get_job_logs(NAME)
assert logs == {}, logs
logging.disable()
sdk.get_job_logs(NAME, is_master=False, replica_type="worker", replica_index=0, follow=True)
logging.disable(logging.NOTSET)

sdk.delete_job(NAME)
try:
    sdk.get_job(NAME)
except RuntimeError as error:
    assert error.__cause__ is None or error.__cause__.status == 404, error
else:
    raise AssertionError("the job is still there")
print("done")

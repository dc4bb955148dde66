//! Fields that people look up, and what they are.

/// A struct and its fields, each with a sentence.
type Struct = (&'static str, &'static [(&'static str, &'static str)]);

/// The table.
pub(super) const FIELDS: &[Struct] = &[
    (
        "ObjectMeta",
        &[
            (
                "annotations",
                "Notes of people and tools, as text under keys. Nothing is selected by them.",
            ),
            ("creationTimestamp", "When the object was created. The server sets it."),
            (
                "deletionGracePeriodSeconds",
                "How long the object has to end by itself. The server sets it.",
            ),
            (
                "deletionTimestamp",
                "When the object is to be gone. The server sets it when a deletion begins.",
            ),
            ("finalizers", "Who still has something to do before the object may go."),
            (
                "generateName",
                "The beginning of a name that the server completes, where no name is given.",
            ),
            ("generation", "Counts the changes of what is wanted. The server sets it."),
            ("labels", "Keys and values by which objects are selected."),
            (
                "managedFields",
                "Who has set which fields. The server keeps it for server-side apply.",
            ),
            ("name", "The name, of its kind the only one in the namespace. It cannot be changed."),
            ("namespace", "The namespace. Empty means `default` to most clients."),
            (
                "ownerReferences",
                "The objects that this one belongs to. When all of them are gone, it goes too.",
            ),
            (
                "resourceVersion",
                "The version of the object. An update that brings an old one is refused.",
            ),
            ("selfLink", "The path of the object, where its kind has one."),
            (
                "uid",
                "Tells the object from others of the same name before and after it. The server sets it.",
            ),
        ],
    ),
    (
        "OwnerReference",
        &[
            (
                "blockOwnerDeletion",
                "Whether the owner waits for this object when it is deleted in the foreground.",
            ),
            ("controller", "Whether the owner is the one that manages this object."),
        ],
    ),
    (
        "PodSpec",
        &[
            (
                "activeDeadlineSeconds",
                "How long the pod may be active before it is stopped and counted as failed.",
            ),
            (
                "affinity",
                "Rules on where the pod runs: near to, or far from, certain nodes or pods.",
            ),
            (
                "automountServiceAccountToken",
                "Whether the containers find a token of the service account.",
            ),
            ("containers", "The containers, which run side by side."),
            ("dnsPolicy", "How names are resolved in the pod."),
            (
                "enableServiceLinks",
                "Whether the containers get environment variables for services.",
            ),
            ("hostAliases", "More lines for the hosts file of the containers."),
            (
                "hostNetwork",
                "Whether the pod uses the network of its node instead of one of its own.",
            ),
            ("hostname", "The host name in the pod. Default: the pod's name."),
            ("imagePullSecrets", "Secrets with which the images can be pulled."),
            ("initContainers", "Containers that run one after the other before the others start."),
            ("nodeName", "The node that the pod runs on. Who schedules sets it."),
            ("nodeSelector", "Labels that a node must have to run the pod."),
            ("priorityClassName", "The name of the pod's priority class."),
            (
                "restartPolicy",
                "When containers that have ended are started again: Always, OnFailure or Never.",
            ),
            ("schedulerName", "Who chooses a node for the pod."),
            ("securityContext", "Users, groups and rights of all containers."),
            ("serviceAccountName", "The service account that the pod acts as."),
            ("subdomain", "The service in whose domain the pod has a name."),
            (
                "terminationGracePeriodSeconds",
                "How long the containers have to end by themselves when the pod is deleted.",
            ),
            ("tolerations", "Taints of nodes that the pod accepts."),
            ("volumes", "Volumes that the containers can mount."),
        ],
    ),
    (
        "Container",
        &[
            ("args", "The arguments of the command. `$(NAME)` stands for an environment variable."),
            ("command", "The command. Default: the image's entry point."),
            ("env", "Environment variables."),
            ("envFrom", "Where more environment variables come from."),
            ("image", "The image that the container is made from."),
            ("imagePullPolicy", "When the image is pulled: Always, IfNotPresent or Never."),
            ("lifecycle", "What to do after the start and before the stop."),
            ("livenessProbe", "The check that says whether the container must be restarted."),
            ("name", "The name of the container, the only one in the pod."),
            ("ports", "Ports that the container listens on."),
            ("readinessProbe", "The check that says whether the container can serve."),
            ("resources", "What the container needs, and how much it may use."),
            ("securityContext", "The user, group and rights of the container."),
            (
                "startupProbe",
                "The check that says whether the container has started; others wait for it.",
            ),
            (
                "terminationMessagePath",
                "The file whose content becomes the message of the container's end.",
            ),
            ("terminationMessagePolicy", "Whether the log stands in for a missing message."),
            ("volumeMounts", "Where the container sees the volumes of the pod."),
            ("workingDir", "The folder that the command starts in."),
        ],
    ),
    (
        "EnvVar",
        &[
            ("name", "The name of the variable."),
            ("value", "Its value. `$(NAME)` stands for a variable named earlier."),
            ("valueFrom", "Where its value comes from, instead."),
        ],
    ),
    (
        "EnvVarSource",
        &[
            ("configMapKeyRef", "A key of a config map."),
            ("fieldRef", "A field of the pod, such as `metadata.name` or `status.podIP`."),
            ("resourceFieldRef", "A limit or request of a container."),
            ("secretKeyRef", "A key of a secret."),
        ],
    ),
    (
        "ContainerPort",
        &[
            ("containerPort", "The number of the port."),
            ("hostPort", "The number of the port on the node, where it is opened there too."),
            ("name", "The name of the port, by which services can find it."),
            ("protocol", "TCP, UDP or SCTP. Default TCP."),
        ],
    ),
    (
        "ResourceRequirements",
        &[
            ("limits", "The most that the container may use, by resource."),
            ("requests", "What the container needs at least, by resource. Default: the limits."),
        ],
    ),
    (
        "VolumeMount",
        &[
            ("mountPath", "The path in the container."),
            ("name", "The name of the volume."),
            ("readOnly", "Whether the container may only read."),
            ("subPath", "The path in the volume that is mounted. Default: all of it."),
        ],
    ),
    (
        "Volume",
        &[
            ("configMap", "The keys of a config map as files."),
            ("downwardAPI", "Fields of the pod as files."),
            ("emptyDir", "An empty folder that lives as long as the pod."),
            ("hostPath", "A path of the node."),
            ("name", "The name of the volume, the only one in the pod."),
            ("persistentVolumeClaim", "Storage that outlives the pod."),
            ("projected", "Several sources in one folder."),
            ("secret", "The keys of a secret as files."),
        ],
    ),
    (
        "Toleration",
        &[
            ("effect", "The effect that is tolerated. Empty: all of them."),
            ("key", "The key of the taint. Empty: all of them, with operator Exists."),
            ("operator", "Equal or Exists. Default Equal."),
            ("tolerationSeconds", "How long a NoExecute taint is tolerated."),
            ("value", "The value of the taint."),
        ],
    ),
    (
        "PodStatus",
        &[
            ("conditions", "What has become true of the pod."),
            ("containerStatuses", "The state of each container."),
            ("hostIP", "The address of the node."),
            ("initContainerStatuses", "The state of each container that runs before the others."),
            ("message", "Why the pod is in this phase, for people."),
            ("phase", "Pending, Running, Succeeded, Failed or Unknown."),
            ("podIP", "The address of the pod."),
            ("reason", "Why the pod is in this phase, in a word."),
            ("startTime", "When the node took the pod."),
        ],
    ),
    (
        "ContainerStatus",
        &[
            ("lastState", "How the container ended before its last restart."),
            ("ready", "Whether the container can serve."),
            ("restartCount", "How often the container has been restarted."),
            ("started", "Whether the container has started."),
            ("state", "Whether the container waits, runs or has ended."),
        ],
    ),
    (
        "ContainerStateTerminated",
        &[
            ("exitCode", "What the container ended with; 0 is success."),
            ("finishedAt", "When it ended."),
            ("message", "What it said at its end."),
            ("reason", "Why it ended, in a word."),
            ("signal", "The signal that ended it."),
            ("startedAt", "When it started."),
        ],
    ),
    (
        "ServiceSpec",
        &[
            (
                "clusterIP",
                "The address of the service; `None` for a service that only gives names to pods.",
            ),
            ("ports", "The ports of the service."),
            ("publishNotReadyAddresses", "Whether pods that are not ready have names too."),
            ("selector", "The labels of the pods behind the service."),
            ("type", "How the service can be reached. Default ClusterIP."),
        ],
    ),
    (
        "ServicePort",
        &[
            ("name", "The name of the port."),
            ("port", "The number of the port."),
            ("protocol", "TCP, UDP or SCTP. Default TCP."),
            ("targetPort", "The number or the name of the pods' port. Default: the same number."),
        ],
    ),
    (
        "ConfigMap",
        &[
            ("binaryData", "Bytes in base64, under keys."),
            ("data", "Text under keys."),
            ("immutable", "Whether the data can never be changed again."),
        ],
    ),
    (
        "Secret",
        &[
            ("data", "Bytes in base64, under keys."),
            ("immutable", "Whether the data can never be changed again."),
            ("stringData", "Text under keys, which is moved to `data` when the secret is written."),
            ("type", "What the secret is for. Default Opaque."),
        ],
    ),
    (
        "ResourceQuotaSpec",
        &[
            ("hard", "The most of each resource that the namespace may use."),
            ("scopes", "Which objects are counted."),
        ],
    ),
    (
        "LeaseSpec",
        &[
            ("acquireTime", "Since when the holder has it."),
            ("holderIdentity", "Who has it."),
            ("leaseDurationSeconds", "How long others wait after the last renewal."),
            ("leaseTransitions", "How often the holder has changed."),
            ("renewTime", "When the holder renewed it last."),
        ],
    ),
    (
        "DeploymentSpec",
        &[
            ("replicas", "How many pods there are to be. Default 1."),
            ("selector", "Which pods are the deployment's own."),
            ("strategy", "How old pods give way to new ones."),
            ("template", "What the pods are to be."),
        ],
    ),
    (
        "PodDisruptionBudgetSpec",
        &[
            ("maxUnavailable", "The most pods that may be missing."),
            ("minAvailable", "The least pods that must be there."),
            ("selector", "Which pods are meant."),
        ],
    ),
    (
        "ValidatingWebhookConfiguration",
        &[("webhooks", "The web services, each with the requests that it is shown.")],
    ),
    (
        "ValidatingWebhook",
        &[
            ("clientConfig", "Where the web service is, and whose certificates it shows."),
            (
                "failurePolicy",
                "What an unreachable web service means: Fail or Ignore. Default Fail.",
            ),
            (
                "matchConditions",
                "Conditions in CEL, all of which must hold for a request to be shown.",
            ),
            (
                "matchPolicy",
                "Whether other versions of the same resource match, too. Default Equivalent.",
            ),
            ("name", "The name of the web service: a domain name of at least three parts."),
            ("namespaceSelector", "The labels of the namespaces whose objects are shown."),
            ("objectSelector", "The labels of the objects that are shown."),
            ("rules", "Which operations on which resources are shown."),
            ("sideEffects", "Whether a call changes anything: None or NoneOnDryRun."),
            ("timeoutSeconds", "How long an answer may take, from 1 to 30. Default 10."),
        ],
    ),
    (
        "PolicyRule",
        &[
            ("apiGroups", "The groups of the resources; \"\" is the core group."),
            ("nonResourceURLs", "Paths that are no resources."),
            ("resourceNames", "The names of the objects. Empty: all of them."),
            ("resources", "The resources, with subresources as `pods/log`."),
            ("verbs", "What may be done."),
        ],
    ),
];

//! The rows of the table. They state what `crates/node` does.
//!
//! A field that is made honoured gets its leaves named: a row of a whole struct would also say
//! "honoured" of the fields that Kubernetes adds to it later.

use super::row::{
    Literal::{Flag, Number, Sibling, Word},
    Row, harmless, honoured, refused, warned,
};

/// All rows. No row covers the place of another.
pub(super) fn all() -> impl Iterator<Item = &'static Row> {
    [LIFE, PLACEMENT, IDENTITY, NETWORK, CONTAINERS, CONTAINER_LIFE, VOLUMES, DRIVERS]
        .into_iter()
        .flatten()
}

/// The life of a pod.
const LIFE: &[Row] = &[
    honoured("{activeDeadlineSeconds,restartPolicy,terminationGracePeriodSeconds}", ""),
    warned("readinessGates", "the pod is ready when its containers are"),
    harmless(
        "shareProcessNamespace",
        "containers always see the processes of the machine, and so each other's",
    ),
    harmless("evictionResponders", "evictions are decided without them"),
    harmless("imagePullSecrets", "no image is pulled"),
    refused(
        "ephemeralContainers",
        "this node starts none; run a command in the pod with `kubectl exec`",
    ),
];

/// Where and when a pod starts. There is one node.
const PLACEMENT: &[Row] = &[
    honoured("{nodeName,nodeSelector,schedulingGates.name}", ""),
    honoured("tolerations.{key,value,effect}", ""),
    refused("tolerations.operator", "this node compares no numbers in taints")
        .only(&[Word("Lt"), Word("Gt")]),
    harmless("tolerations.tolerationSeconds", "the only node evicts no pod"),
    honoured(
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.\
         {matchExpressions,matchFields}.{key,operator,values}",
        "",
    ),
    harmless(
        "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution",
        "there is one node",
    ),
    warned(
        "affinity.{podAffinity,podAntiAffinity}.requiredDuringSchedulingIgnoredDuringExecution",
        "the pod starts on the only node, whichever pods run there",
    ),
    harmless(
        "affinity.{podAffinity,podAntiAffinity}.preferredDuringSchedulingIgnoredDuringExecution",
        "there is one node",
    ),
    harmless("topologySpreadConstraints", "there is one node, so there is nothing to spread over"),
    warned("schedulerName", "the node leaves the pod to that scheduler, and none runs here")
        .except(&[Word("default-scheduler")]),
    warned("schedulingGroup", "the pods of the group do not wait for each other"),
    harmless(
        "{preemptionPolicy,priority,priorityClassName}",
        "pods that wait for resources start in the order in which they arrived, and preempt none; \
         quotas do count by priority class",
    ),
    refused("resourceClaims", "this node has no devices that can be claimed"),
    refused(
        "runtimeClassName",
        "the only runtime runs containers as processes of the machine; remove it",
    ),
    harmless("overhead", "it is counted with the requests of the pod"),
    refused("os.name", "this node runs Linux").except(&[Word("linux")]),
];

/// Users, rights and isolation.
const IDENTITY: &[Row] = &[
    honoured("securityContext.{runAsUser,runAsGroup,runAsNonRoot,fsGroup,supplementalGroups}", ""),
    honoured("securityContext.{fsGroupChangePolicy,supplementalGroupsPolicy}", ""),
    refused(
        "{securityContext,containers.securityContext}.seccompProfile.type",
        "this node has only the profiles RuntimeDefault and Unconfined",
    )
    .only(&[Word("Localhost")]),
    warned(
        "{securityContext,containers.securityContext}.appArmorProfile.type",
        "no profile is loaded",
    )
    .except(&[Word("Unconfined")]),
    harmless(
        "{securityContext,containers.securityContext}.{appArmorProfile,seccompProfile}.localhostProfile",
        "the type of the profile decides",
    ),
    warned(
        "{securityContext,containers.securityContext}.seLinuxOptions",
        "containers keep the label of the node agent",
    ),
    harmless("{securityContext,containers.securityContext}.windowsOptions", "this node runs Linux"),
    harmless("securityContext.seLinuxChangePolicy", "no volume is relabelled"),
    warned("securityContext.sysctls", "the kernel's settings are those of the machine"),
    honoured("containers.securityContext.{runAsUser,runAsGroup,runAsNonRoot}", ""),
    honoured("containers.securityContext.{allowPrivilegeEscalation,privileged}", ""),
    honoured("containers.securityContext.capabilities.{add,drop}", ""),
    honoured("containers.securityContext.readOnlyRootFilesystem", ""),
    warned("containers.securityContext.procMount", "containers see the /proc of the machine")
        .except(&[Word("Default")]),
    honoured("{automountServiceAccountToken,serviceAccount,serviceAccountName}", ""),
    harmless("{hostPID,hostIPC}", "containers always share these with the machine"),
    refused("hostUsers", "this node has no user namespaces; set securityContext.runAsUser instead")
        .except(&[Flag(true)]),
];

/// Addresses and names.
const NETWORK: &[Row] = &[
    honoured("hostNetwork", ""),
    honoured("hostAliases.{ip,hostnames}", ""),
    honoured("{hostname,hostnameOverride,subdomain,setHostnameAsFQDN}", ""),
    honoured("dnsConfig.{nameservers,searches}", ""),
    honoured("dnsConfig.options.{name,value}", ""),
    honoured("dnsPolicy", ""),
    honoured("enableServiceLinks", ""),
    honoured("containers.ports.{name,containerPort,protocol}", ""),
    warned(
        "containers.ports.{hostIP,hostPort}",
        "no port of the machine is forwarded; use hostNetwork and listen on the port",
    )
    .except(&[Number(0), Sibling("containerPort")]),
];

/// What a container runs, with what.
const CONTAINERS: &[Row] = &[
    honoured("containers.{name,command,args,workingDir}", ""),
    harmless(
        "containers.{image,imagePullPolicy}",
        "no image is pulled: the command is a program of the machine; an event says so for \
         containers that have no command",
    ),
    honoured("containers.env.{name,value}", ""),
    honoured("containers.env.valueFrom.{configMapKeyRef,secretKeyRef}.{name,key,optional}", ""),
    honoured("containers.env.valueFrom.fieldRef.{apiVersion,fieldPath}", ""),
    refused(
        "containers.env.valueFrom.fileKeyRef",
        "this node reads no variables from files; use a ConfigMap",
    ),
    honoured("containers.env.valueFrom.resourceFieldRef.{containerName,resource,divisor}", ""),
    honoured("containers.envFrom.prefix", ""),
    honoured("containers.envFrom.{configMapRef,secretRef}.{name,optional}", ""),
    honoured("{resources,containers.resources}.{requests,limits}", ""),
    refused(
        "{resources,containers.resources}.claims",
        "this node has no devices that can be claimed",
    ),
    harmless("containers.resizePolicy", "resources of running pods cannot be changed"),
    honoured("containers.volumeMounts.{name,mountPath,readOnly,subPath,subPathExpr}", ""),
    refused(
        "containers.volumeMounts.mountPropagation",
        "mounts that containers make are not visible elsewhere; use None or HostToContainer",
    )
    .except(&[Word("None"), Word("HostToContainer")]),
    refused(
        "containers.volumeMounts.recursiveReadOnly",
        "mounts below a volume stay writable; use IfPossible or Disabled",
    )
    .except(&[Word("Disabled"), Word("IfPossible")]),
    refused("containers.volumeMounts.bindMountOptions", "this node has no such options"),
    refused("containers.volumeDevices", "this node has no block volumes; use a hostPath volume"),
];

/// Probes, hooks, restarts and terminals of containers.
const CONTAINER_LIFE: &[Row] = &[
    honoured(
        "containers.{livenessProbe,readinessProbe,startupProbe}.{initialDelaySeconds,periodSeconds,timeoutSeconds,successThreshold,failureThreshold,terminationGracePeriodSeconds}",
        "",
    ),
    honoured("containers.{livenessProbe,readinessProbe,startupProbe}.exec.command", ""),
    honoured("containers.{livenessProbe,readinessProbe,startupProbe}.grpc.{port,service}", ""),
    honoured("containers.{livenessProbe,readinessProbe,startupProbe}.tcpSocket.{host,port}", ""),
    honoured(
        "containers.{livenessProbe,readinessProbe,startupProbe}.httpGet.{host,path,port,scheme}",
        "",
    ),
    honoured(
        "containers.{livenessProbe,readinessProbe,startupProbe}.httpGet.httpHeaders.{name,value}",
        "",
    ),
    refused(
        "containers.{livenessProbe,readinessProbe,startupProbe}.grpc.mode",
        "gRPC probes of this node use no TLS; use Plaintext",
    )
    .except(&[Word("Plaintext")]),
    refused(
        "containers.{livenessProbe,readinessProbe,startupProbe}.httpGet.protocol",
        "HTTP probes of this node use HTTP/1.1; remove it",
    )
    .except(&[Word("HTTP1")]),
    refused(
        "containers.lifecycle.{postStart,preStop}.httpGet.protocol",
        "HTTP requests of this node use HTTP/1.1; remove it",
    )
    .except(&[Word("HTTP1")]),
    honoured("containers.lifecycle.{postStart,preStop}.exec.command", ""),
    honoured("containers.lifecycle.{postStart,preStop}.sleep.seconds", ""),
    honoured("containers.lifecycle.{postStart,preStop}.httpGet.{host,path,port,scheme}", ""),
    honoured("containers.lifecycle.{postStart,preStop}.httpGet.httpHeaders.{name,value}", ""),
    refused(
        "containers.lifecycle.{postStart,preStop}.tcpSocket",
        "a hook of this kind always fails, as on a cluster; use exec or httpGet",
    ),
    warned("containers.lifecycle.stopSignal", "the first signal is SIGTERM"),
    honoured("initContainers.restartPolicy", ""),
    refused("containers.restartPolicy", "containers are restarted by the restartPolicy of the pod"),
    refused(
        "containers.restartPolicyRules",
        "containers are restarted by the restartPolicy of the pod",
    ),
    refused(
        "containers.{stdin,stdinOnce}",
        "containers of this node have no standard input; use `kubectl exec -i`",
    )
    .except(&[Flag(false)]),
    warned("containers.tty", "containers of this node have no terminal; use `kubectl exec -it`")
        .except(&[Flag(false)]),
    warned("containers.terminationMessagePath", "it has no effect yet")
        .except(&[Word("/dev/termination-log")]),
    warned("containers.terminationMessagePolicy", "it has no effect yet").except(&[Word("File")]),
];

/// The types of volumes that this node has.
const VOLUMES: &[Row] = &[
    honoured("volumes.name", ""),
    refused("volumes.emptyDir.medium", "this node has no volumes of huge pages; use Memory")
        .except(&[Word("Memory")]),
    honoured("volumes.emptyDir.sizeLimit", ""),
    refused("volumes.emptyDir.mode", "every user may write to the volume"),
    honoured("volumes.hostPath.{path,type}", ""),
    honoured("volumes.configMap.{name,optional,defaultMode}", ""),
    honoured("volumes.secret.{secretName,optional,defaultMode}", ""),
    honoured("volumes.{configMap,secret}.items.{key,path,mode}", ""),
    refused(
        "volumes.{configMap,secret}.defaultUser",
        "files belong to the user of the node agent; set defaultMode instead",
    ),
    refused(
        "volumes.{configMap,secret}.items.user",
        "files belong to the user of the node agent; set mode instead",
    ),
    honoured("volumes.downwardAPI.defaultMode", ""),
    honoured("volumes.downwardAPI.items.{path,mode}", ""),
    honoured("volumes.downwardAPI.items.fieldRef.{apiVersion,fieldPath}", ""),
    honoured("volumes.downwardAPI.items.resourceFieldRef.{containerName,resource,divisor}", ""),
    refused(
        "volumes.downwardAPI.{defaultUser,items.user}",
        "files belong to the user of the node agent; set mode instead",
    ),
    honoured("volumes.persistentVolumeClaim.{claimName,readOnly}", ""),
    honoured("volumes.ephemeral.volumeClaimTemplate.metadata.{annotations,labels}", ""),
    harmless(
        "volumes.ephemeral.volumeClaimTemplate.metadata.{creationTimestamp,\
         deletionGracePeriodSeconds,deletionTimestamp,finalizers,generateName,generation,\
         managedFields,name,namespace,ownerReferences,resourceVersion,selfLink,uid}",
        "the claim has only labels and annotations of the template",
    ),
    honoured(
        "volumes.ephemeral.volumeClaimTemplate.spec.{accessModes,storageClassName,volumeName}",
        "",
    ),
    honoured("volumes.ephemeral.volumeClaimTemplate.spec.resources.{limits,requests}", ""),
    honoured("volumes.ephemeral.volumeClaimTemplate.spec.selector.matchLabels", ""),
    honoured(
        "volumes.ephemeral.volumeClaimTemplate.spec.selector.matchExpressions.{key,operator,values}",
        "",
    ),
    refused(
        "volumes.ephemeral.volumeClaimTemplate.spec.{dataSource,dataSourceRef}",
        "nothing would fill the volume; fill it from an init container",
    ),
    harmless(
        "volumes.ephemeral.volumeClaimTemplate.spec.volumeAttributesClassName",
        "volumes are folders without such attributes",
    ),
    refused(
        "volumes.ephemeral.volumeClaimTemplate.spec.volumeMode",
        "this node has no block volumes; use Filesystem",
    )
    .except(&[Word("Filesystem")]),
    honoured("volumes.projected.defaultMode", ""),
    refused(
        "volumes.projected.defaultUser",
        "files belong to the user of the node agent; set defaultMode instead",
    ),
    honoured("volumes.projected.sources.{configMap,secret}.{name,optional}", ""),
    honoured("volumes.projected.sources.{configMap,secret}.items.{key,path,mode}", ""),
    honoured("volumes.projected.sources.downwardAPI.items.{path,mode}", ""),
    honoured("volumes.projected.sources.downwardAPI.items.fieldRef.{apiVersion,fieldPath}", ""),
    honoured(
        "volumes.projected.sources.downwardAPI.items.resourceFieldRef.{containerName,resource,divisor}",
        "",
    ),
    honoured("volumes.projected.sources.serviceAccountToken.{audience,expirationSeconds,path}", ""),
    refused(
        "volumes.projected.sources.{configMap,secret,downwardAPI}.items.user",
        "files belong to the user of the node agent; set mode instead",
    ),
    refused(
        "volumes.projected.sources.serviceAccountToken.user",
        "files belong to the user of the node agent; set defaultMode instead",
    ),
    refused(
        "volumes.projected.sources.{clusterTrustBundle,podCertificate}",
        "there are no signers here; use a Secret or a ConfigMap",
    ),
];

/// The types of volumes that need drivers.
const DRIVERS: &[Row] = &[
    refused("volumes.image", "no image is pulled; use a hostPath volume"),
    refused(
        "volumes.nfs",
        "this node mounts no file systems; mount it on the machine, and use a hostPath volume",
    ),
    refused(
        "volumes.{awsElasticBlockStore,azureDisk,azureFile,cephfs,cinder,csi,fc,flexVolume,\
         flocker,gcePersistentDisk,gitRepo,glusterfs,iscsi,photonPersistentDisk,portworxVolume,\
         quobyte,rbd,scaleIO,storageos,vsphereVolume}",
        "this node has no volume drivers; mount it on the machine, and use a hostPath volume",
    ),
];

//! The user, the groups and the rights of containers.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use mxjob_node::runtime::IsolationMode;
use serde_json::{Value, json};

use crate::site::{Site, block_on, shell, terminated};

crate::tests!("security":
    users_groups_and_volumes_of_a_pod,
    capabilities_are_limited,
    no_program_gets_new_privileges,
    the_default_profile_forbids_dangerous_calls,
    a_container_that_must_not_run_as_root_waits,
    a_read_only_root_keeps_volumes_writable,
    a_command_has_the_rights_of_its_container,
    the_host_name_and_the_resolver_are_those_of_the_pod,
);

/// Whether this process can be other users; without that there is nothing to test.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a script in a pod with these security contexts. Returns its lines.
async fn output(site: &Site, name: &str, script: &str, of_pod: Value, own: Value) -> Vec<String> {
    let mut spec = shell(script);
    spec["securityContext"] = of_pod;
    spec["containers"][0]["securityContext"] = own;
    site.create(name, spec);
    let pod = site.until(name, |pod| terminated(pod)["exitCode"].is_number()).await;
    let log = site.log(name).await;
    assert_eq!(terminated(&pod)["exitCode"], 0, "{pod} {log}");
    log.lines().map(str::to_owned).collect()
}

fn users_groups_and_volumes_of_a_pod() {
    if !is_root() {
        return;
    }
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        site.create_config_map("c", json!({ "key": "value" }));
        let mut spec =
            shell("id -u; id -g; id -G; cat /etc/config/key; echo x > /scratch/file; echo");
        spec["securityContext"] = json!({
            "runAsUser": 4321, "runAsGroup": 4322, "fsGroup": 4323, "supplementalGroups": [4324],
        });
        spec["volumes"] = json!([
            { "name": "config", "configMap": { "name": "c", "defaultMode": 0o400 } },
            { "name": "scratch", "emptyDir": {} },
        ]);
        spec["containers"][0]["volumeMounts"] = json!([
            { "name": "config", "mountPath": "/etc/config" },
            { "name": "scratch", "mountPath": "/scratch" },
        ]);
        site.create("p", spec);
        let pod = site.phase("p", "Succeeded").await;
        let log = site.log("p").await;
        assert_eq!(log.lines().collect::<Vec<_>>(), ["4321", "4322", "4322 4323 4324", "value"]);
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let file = site.dir.path().join(format!("pods/{uid}/.volumes/scratch/file"));
        let file = fs::metadata(file).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (4321, 4323, 0o644));
    });
}

const STATUS: &str = "grep -E '^(CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs)' /proc/self/status";

fn capabilities_are_limited() {
    if !is_root() {
        return;
    }
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let root = "00000000a80425fb";
        let none = "0000000000000000";
        let get = async |name: &str, of_pod: Value, own: Value| {
            let lines = output(&site, name, STATUS, of_pod, own).await;
            lines.iter().map(|line| line.split('\t').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
        };
        let found = get("default", json!({}), json!({})).await;
        assert_eq!(found, [root, root, root, none, "0"]);
        let found = get("user", json!({ "runAsUser": 4321 }), json!({})).await;
        assert_eq!(found, [none, none, root, none, "0"]);
        let own = json!({ "capabilities": { "drop": ["ALL"], "add": ["KILL"] }, "allowPrivilegeEscalation": false });
        let kill = "0000000000000020";
        assert_eq!(get("drop", json!({}), own).await, [kill, kill, kill, none, "1"]);
        let all = fs::read_to_string("/proc/self/status").unwrap();
        let all = all.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
        let found = get("privileged", json!({}), json!({ "privileged": true })).await;
        assert_eq!(found, [all, all, all, none, "0"]);
    });
}

fn no_program_gets_new_privileges() {
    if !is_root() {
        return;
    }
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = dir.path().join("id");
        fs::copy("/usr/bin/id", &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
        let script = format!("{} -u", program.display());
        let of_pod = json!({ "runAsUser": 4321 });
        for (name, own, expect) in
            [("a", json!({}), "0"), ("b", json!({ "allowPrivilegeEscalation": false }), "4321")]
        {
            assert_eq!(output(&site, name, &script, of_pod.clone(), own).await, [expect]);
        }
    });
}

fn the_default_profile_forbids_dangerous_calls() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let script = "grep ^Seccomp: /proc/self/status; unshare -U true 2>&1 | grep -o 'not permitted'; (exec sh -c 'echo child'); mount -t tmpfs x /mnt 2>/dev/null || echo no mount";
        let own = json!({ "seccompProfile": { "type": "RuntimeDefault" }, "capabilities": { "add": ["SYS_TIME"] } });
        let lines = output(&site, "p", script, json!({}), own).await;
        assert_eq!(lines, ["Seccomp:\t2", "not permitted", "child", "no mount"]);
    });
}

fn a_container_that_must_not_run_as_root_waits() {
    if !is_root() {
        return;
    }
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = shell("id -u");
        spec["securityContext"] = json!({ "runAsNonRoot": true });
        site.create("p", spec);
        let waiting =
            |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
        let is_refused = |pod: &Value| waiting(pod)["reason"] == "CreateContainerConfigError";
        let pod = site.until("p", is_refused).await;
        let message = waiting(&pod)["message"].as_str().unwrap().to_owned();
        let expect = "container has runAsNonRoot and image will run as root (pod: \"p_default(";
        assert!(message.starts_with(expect), "{message}");
        let lines =
            output(&site, "q", "id -u", json!({ "runAsNonRoot": true, "runAsUser": 5 }), json!({}))
                .await;
        assert_eq!(lines, ["5"]);
    });
}

fn a_read_only_root_keeps_volumes_writable() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        let mut spec =
            shell("touch /v/file /dev/shm/file && ! touch /tmp/mxjob-$$ 2>/dev/null && echo ok");
        spec["volumes"] = json!([{ "name": "v", "emptyDir": {} }]);
        let container = &mut spec["containers"][0];
        container["volumeMounts"] = json!([{ "name": "v", "mountPath": "/v" }]);
        container["securityContext"] = json!({ "readOnlyRootFilesystem": true });
        site.create("p", spec);
        site.phase("p", "Succeeded").await;
        assert_eq!(site.log("p").await, "ok\n");
    });
}

fn a_command_has_the_rights_of_its_container() {
    if !is_root() {
        return;
    }
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = shell("exec sleep 1000");
        let own = json!({ "runAsUser": 4321, "capabilities": { "drop": ["ALL"] }, "allowPrivilegeEscalation": false });
        spec["containers"][0]["securityContext"] = own;
        site.create("p", spec);
        let pod = site.phase("p", "Running").await;
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let (text, ..) = crate::exec::run(&site, uid, &format!("id -u; {STATUS}")).await;
        let values: Vec<_> = text.lines().map(|line| line.rsplit('\t').next().unwrap()).collect();
        let none = "0000000000000000";
        assert_eq!(values, ["4321", none, none, none, none, "1"]);
    });
}

fn the_host_name_and_the_resolver_are_those_of_the_pod() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        let mut spec =
            shell("uname -n; echo $HOSTNAME; hostname -i; getent hosts db; cat /etc/resolv.conf");
        spec["hostname"] = "host".into();
        spec["subdomain"] = "sub".into();
        spec["setHostnameAsFQDN"] = true.into();
        spec["dnsPolicy"] = "None".into();
        spec["dnsConfig"] = json!({ "nameservers": ["10.9.9.9"] });
        spec["hostAliases"] = json!([{ "ip": "10.8.8.8", "hostnames": ["db"] }]);
        site.create("p", spec);
        let pod = site.phase("p", "Succeeded").await;
        let log = site.log("p").await;
        let lines: Vec<_> = log.lines().collect();
        let full = "host.sub.default.svc.cluster.local";
        let address = pod["status"]["podIP"].as_str().unwrap();
        assert_eq!(lines[..3], [full, full, address]);
        assert!(lines[3].starts_with("10.8.8.8") && lines[3].ends_with("db"), "{log}");
        assert_eq!(lines[4..], ["nameserver 10.9.9.9"]);
    });
}

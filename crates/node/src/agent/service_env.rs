//! The variables by which programs find services, as the kubelet writes them.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::{Context, command::Env};

/// The service of the API server.
const API_SERVER: &str = "kubernetes";

/// A service with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceLink {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) ports: Vec<ServicePort>,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServicePort {
    pub(super) name: String,
    pub(super) port: u16,
    /// In capitals, such as `TCP`.
    pub(super) protocol: String,
}

/// The variables of a pod: those of the API server, and of the services of its namespace unless the
/// pod does not want them.
pub(super) fn variables(context: &Context, pod: &Pod) -> Env {
    let wants_all = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let mut links = Vec::new();
    if wants_all {
        links = context.names.links(&pod.namespace().unwrap_or_default());
        links.retain(|link| link.name != API_SERVER);
    }
    links.extend(context.config.api_server.as_ref().map(|access| ServiceLink {
        name: API_SERVER.to_owned(),
        host: access.address.ip().to_string(),
        ports: vec![ServicePort {
            name: "https".to_owned(),
            port: access.address.port(),
            protocol: "TCP".to_owned(),
        }],
    }));
    let mut env = Env::new();
    for link in &links {
        add(&mut env, link);
    }
    env
}

fn add(env: &mut Env, link: &ServiceLink) {
    let Some(first) = link.ports.first() else { return };
    let name = variable_name(&link.name);
    let host = &link.host;
    env.push((format!("{name}_SERVICE_HOST"), host.clone()));
    env.push((format!("{name}_SERVICE_PORT"), first.port.to_string()));
    for port in link.ports.iter().filter(|port| !port.name.is_empty()) {
        let name = format!("{name}_SERVICE_PORT_{}", variable_name(&port.name));
        env.push((name, port.port.to_string()));
    }
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    for (index, port) in link.ports.iter().enumerate() {
        let protocol = port.protocol.to_lowercase();
        let url = format!("{protocol}://{bracketed}:{}", port.port);
        if index == 0 {
            env.push((format!("{name}_PORT"), url.clone()));
        }
        let mut prefix = format!("{name}_PORT_");
        // Writing to a string cannot fail.
        let _ = write!(prefix, "{}_{}", port.port, port.protocol);
        env.push((prefix.clone(), url));
        env.push((format!("{prefix}_PROTO"), protocol));
        env.push((format!("{prefix}_PORT"), port.port.to_string()));
        env.push((format!("{prefix}_ADDR"), host.clone()));
    }
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace(['-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_the_variables_of_the_kubelet() {
        let port = |name: &str, port, protocol: &str| ServicePort {
            name: name.to_owned(),
            port,
            protocol: protocol.to_owned(),
        };
        let link = |host: &str, ports| ServiceLink {
            name: "my-db".to_owned(),
            host: host.to_owned(),
            ports,
        };
        let lines = |link: &ServiceLink| {
            let mut env = Env::new();
            add(&mut env, link);
            env.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let two = vec![port("sql-1", 5432, "TCP"), port("stats", 9, "UDP")];
        assert_eq!(
            lines(&link("127.64.0.3", two)),
            [
                "MY_DB_SERVICE_HOST=127.64.0.3",
                "MY_DB_SERVICE_PORT=5432",
                "MY_DB_SERVICE_PORT_SQL_1=5432",
                "MY_DB_SERVICE_PORT_STATS=9",
                "MY_DB_PORT=tcp://127.64.0.3:5432",
                "MY_DB_PORT_5432_TCP=tcp://127.64.0.3:5432",
                "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_PORT_5432_TCP_PORT=5432",
                "MY_DB_PORT_5432_TCP_ADDR=127.64.0.3",
                "MY_DB_PORT_9_UDP=udp://127.64.0.3:9",
                "MY_DB_PORT_9_UDP_PROTO=udp",
                "MY_DB_PORT_9_UDP_PORT=9",
                "MY_DB_PORT_9_UDP_ADDR=127.64.0.3",
            ]
        );
        let six = lines(&link("::1", vec![port("", 443, "TCP")]));
        assert_eq!(
            six[..3],
            ["MY_DB_SERVICE_HOST=::1", "MY_DB_SERVICE_PORT=443", "MY_DB_PORT=tcp://[::1]:443"]
        );
        assert_eq!(lines(&link("127.64.0.3", Vec::new())), Vec::<String>::new());
    }
}

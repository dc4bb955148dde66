use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    args: OperatorArgs,
}

fn flags(flags: &str) -> Result<OperatorArgs, String> {
    let words = std::iter::once("operator").chain(flags.split_whitespace());
    Flags::try_parse_from(words).map(|flags| flags.args).map_err(|error| error.to_string())
}

/// The configuration that flags describe, in a pod or outside of the cluster.
fn parse_config(words: &str, pod_namespace: Option<&str>) -> Result<Config, String> {
    let cluster = Cluster {
        config: kube::Config::new(http::Uri::from_static("https://127.0.0.1:1")),
        pod_namespace: pod_namespace.map(str::to_owned),
    };
    config(flags(words)?, cluster).map_err(|failure| {
        assert!(matches!(failure.code, crate::exit::Code::Input), "{failure}");
        failure.message
    })
}

#[test]
fn defaults_fit_a_pod_of_the_cluster() {
    let config = parse_config("", Some("system")).unwrap();
    let election = config.election.unwrap();
    assert_eq!((election.namespace.as_str(), election.name.as_str()), ("system", "mxjob-operator"));
    assert_eq!(election.timing, Timing::default());
    assert_eq!((config.namespace, config.rate, config.gang), (None, None, Gang::Off));
    assert_eq!(config.own_namespace, "system");
    let other = parse_config("", Some("system")).unwrap().election.unwrap();
    assert_ne!(other.identity, election.identity, "identities are unique");
}

#[test]
fn operators_for_the_same_jobs_use_the_same_lease() {
    let lease = |words: &str, pod: Option<&str>| {
        let election = parse_config(words, pod).unwrap().election.unwrap();
        format!("{}/{}", election.namespace, election.name)
    };
    for (words, pod, expected) in [
        ("", None, "mxjob-system/mxjob-operator"),
        ("--namespace team", None, "team/mxjob-operator"),
        ("--namespace team", Some("system"), "system/mxjob-operator"),
        ("--leader-elect-namespace x --leader-elect-name y.z", Some("system"), "x/y.z"),
    ] {
        assert_eq!(lease(words, pod), expected, "{words}");
    }
    assert!(parse_config("--leader-elect=false", None).unwrap().election.is_none());
    assert!(parse_config("--leader-elect", None).unwrap().election.is_some());
}

#[test]
fn request_rate_is_unlimited_by_default() {
    let rate = |words: &str| {
        parse_config(words, None)
            .map(|config| config.rate.map(|rate| (rate.qps.get(), rate.burst.get())))
    };
    assert_eq!(rate("--kube-api-qps 0 --kube-api-burst 0"), Ok(None));
    assert_eq!(rate("--kube-api-qps 50"), Ok(Some((50, 50))));
    assert_eq!(rate("--kube-api-qps 50 --kube-api-burst 100"), Ok(Some((50, 100))));
    assert!(rate("--kube-api-burst 100").unwrap_err().contains("without --kube-api-qps"));
}

#[test]
fn gang_scheduler_is_selected_by_name() {
    let gang = |name: &str| parse_config(&format!("--gang-scheduler {name}"), None).map(|c| c.gang);
    assert_eq!(gang("none"), Ok(Gang::Off));
    assert_eq!(gang("volcano"), Ok(Gang::PodGroups(PodGroups::Volcano)));
    let scheduler = "scheduler-plugins-scheduler".to_owned();
    assert_eq!(
        gang(&scheduler),
        Ok(Gang::PodGroups(PodGroups::SchedulerPlugins { scheduler: scheduler.clone() }))
    );
    assert!(gang("No_Such").unwrap_err().contains("--gang-scheduler"));
}

#[test]
fn invalid_flags_are_rejected_before_any_request() {
    for (words, expected) in [
        ("--renew-deadline 15s", "the renew deadline must be shorter than the lease duration"),
        ("--retry-period 8", "the retry period must be at most half of the renew deadline"),
        ("--lease-duration 0", "the lease duration must be whole seconds, and at least one"),
        ("--lease-duration 2147483648s", "the lease duration must be at most 2147483647 seconds"),
        ("--workers 0", "expected a number from 1 to 1000"),
        ("--namespace Team", "--namespace"),
        ("--leader-elect-name a/b", "--leader-elect-name"),
        ("--kube-api-qps=-1", "--kube-api-qps"),
        ("--probe-listen 8081", "--probe-listen"),
        ("--webhook=perhaps", "--webhook"),
    ] {
        let message = parse_config(words, None).unwrap_err();
        assert!(message.contains(expected), "{words}: {message}");
    }
}

#[test]
fn webhook_flag_takes_an_optional_value() {
    let webhook = |words: &str| flags(words).unwrap().webhook;
    assert_eq!(webhook(""), None);
    assert_eq!(webhook("--webhook"), Some(true));
    assert_eq!(webhook("--webhook=false"), Some(false));
}

#[test]
fn operator_listens_on_all_addresses_by_default() {
    let args = flags("--probe-listen 127.0.0.1:0").unwrap();
    assert_eq!((args.metrics_listen, args.webhook_listen), (None, None));
    let bound = listen(args.probe_listen, PROBES_PORT).unwrap();
    assert_eq!(reached(&bound), bound.local_addr());
    let everywhere = listen(None, 0).unwrap();
    assert!(everywhere.local_addr().ip().is_unspecified());
    std::net::TcpStream::connect(reached(&everywhere)).unwrap();
}

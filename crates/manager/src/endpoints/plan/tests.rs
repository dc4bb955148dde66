use super::*;

fn objects(all: &[(&str, Value)]) -> Objects {
    all.iter().map(|(name, object)| ((*name).to_owned(), object.clone())).collect()
}

fn service(spec: &Value) -> Value {
    let mut service = json!({ "labels": { "l": "x" }, "uid": "u", "terminating": false, "spec": {
        "selector": { "app": "a" }, "type": "ClusterIP", "ports": [{ "port": 80, "targetPort": "http", "protocol": "TCP" }],
    }});
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

fn pod(ip: &str, ready: bool) -> Value {
    json!({
        "labels": { "app": "a", "own": ip }, "uid": ip, "ip": ip, "node": "n", "ready": ready,
        "terminating": false, "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
    })
}

fn plan(services: &Objects, pods: &Objects) -> Vec<Write> {
    let none = Objects::new();
    writes("ns", &View { services, pods, endpoints: &none, slices: &none })
}

/// `ready/not ready` addresses of the endpoints of the only service.
fn addresses(spec: &Value, pods: &[(&str, Value)]) -> (String, String) {
    let found = endpoints(
        "ns",
        "s",
        &service(spec),
        &Index::new(&objects(pods)).select(selector(&service(spec)).unwrap()),
    );
    let of = |group: &str| {
        let subsets = list(&found, "/subsets").iter();
        let all = subsets.flat_map(|subset| list(subset, &format!("/{group}")).to_vec());
        all.map(|address| text(&address, "/ip").to_owned()).collect::<Vec<_>>().join(",")
    };
    (of("addresses"), of("notReadyAddresses"))
}

#[test]
fn ready_pods_are_addresses_and_others_are_not() {
    let pods = [("p", pod("10.0.0.1", true)), ("q", pod("10.0.0.2", false))];
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(addresses(&json!({}), &pods), pair("10.0.0.1", "10.0.0.2"));
    let all = json!({ "publishNotReadyAddresses": true });
    assert_eq!(addresses(&all, &pods), pair("10.0.0.1,10.0.0.2", ""));
    let one = json!({ "selector": { "app": "a", "own": "10.0.0.2" } });
    assert_eq!(addresses(&one, &pods), pair("", "10.0.0.2"));
    let none = json!({ "selector": { "app": "a", "own": "other" } });
    assert_eq!(addresses(&none, &pods), pair("", ""));
    let missing = json!({ "ports": [{ "port": 80, "targetPort": "other", "protocol": "TCP" }] });
    assert_eq!(addresses(&missing, &pods), pair("", ""));
    let portless = json!({ "ports": [], "clusterIP": "None" });
    assert_eq!(addresses(&portless, &pods), pair("10.0.0.1", "10.0.0.2"));
}

#[test]
fn ports_by_name_are_those_of_the_pod() {
    let (services, pods) =
        (objects(&[("s", service(&json!({})))]), objects(&[("p", pod("10.0.0.1", true))]));
    let writes = plan(&services, &pods);
    let [Write::Create { object: endpoints, .. }, Write::Create { path, object: slice }] =
        writes.as_slice()
    else {
        panic!("{writes:?}")
    };
    assert_eq!(endpoints["subsets"][0]["ports"], json!([{ "port": 8080, "protocol": "TCP" }]));
    assert_eq!(endpoints["metadata"]["labels"]["l"], "x");
    assert_eq!(path, "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices");
    assert_eq!(slice["ports"], json!([{ "name": "", "port": 8080, "protocol": "TCP" }]));
    assert_eq!(slice["metadata"]["name"], "s-0");
    assert_eq!(slice["metadata"]["labels"][SERVICE_LABEL], "s");
    assert_eq!(slice["endpoints"][0]["conditions"]["ready"], true);
}

/// The objects as they are stored after the writes.
fn stored(writes: &[Write]) -> (Objects, Objects) {
    let (mut endpoints, mut slices) = (Objects::new(), Objects::new());
    for write in writes {
        let (Write::Create { object, .. } | Write::Replace { object, .. }) = write else {
            continue;
        };
        let name = text(object, "/metadata/name").to_owned();
        let mut reduced = object.clone();
        reduced["labels"] = object["metadata"]["labels"].clone();
        if object["kind"] == "Endpoints" {
            endpoints.insert(name, reduced);
        } else {
            slices.insert(name, reduced);
        }
    }
    (endpoints, slices)
}

#[test]
fn nothing_is_written_where_all_is_well_and_what_has_no_service_is_deleted() {
    let services = objects(&[("s", service(&json!({})))]);
    let pods =
        (0..250).map(|index| (format!("p{index:03}"), pod(&format!("10.0.0.{index}"), true)));
    let pods: Objects = pods.collect();
    let (endpoints, slices) = stored(&plan(&services, &pods));
    assert_eq!(slices.keys().collect::<Vec<_>>(), ["s-0", "s-1", "s-2"]);
    let view = View { services: &services, pods: &pods, endpoints: &endpoints, slices: &slices };
    assert_eq!(writes("ns", &view), []);
    let none = Objects::new();
    let view = View { services: &services, pods: &none, endpoints: &endpoints, slices: &slices };
    let deleted =
        writes("ns", &view).into_iter().filter(|write| matches!(write, Write::Delete { .. }));
    assert_eq!(deleted.count(), 3);
    let view = View { services: &none, pods: &pods, endpoints: &endpoints, slices: &slices };
    let deletes = writes("ns", &view);
    assert_eq!(deletes.len(), 4);
    assert!(
        deletes.contains(&Write::Delete { path: "/api/v1/namespaces/ns/endpoints/s".to_owned() })
    );
}

#[test]
fn endpoints_that_a_user_made_stay() {
    let services = objects(&[("s", service(&json!({ "selector": null })))]);
    let own = objects(&[("s", json!({ "labels": null, "subsets": [] }))]);
    let none = Objects::new();
    let view = View { services: &services, pods: &none, endpoints: &own, slices: &none };
    assert_eq!(writes("ns", &view), []);
    let view = View { services: &none, pods: &none, endpoints: &own, slices: &none };
    assert_eq!(writes("ns", &view), []);
}

#[test]
fn endpoints_have_at_most_a_thousand_addresses_and_say_so() {
    let services = service(&json!({}));
    let pods: Objects = (0..1_200)
        .map(|i| (format!("p{i}"), pod(&format!("10.0.{}.{}", i / 250, i % 250), true)))
        .collect();
    let selected = Index::new(&pods).select(selector(&services).unwrap());
    let found = endpoints("ns", "s", &services, &selected);
    assert_eq!(list(&found, "/subsets/0/addresses").len(), MAX_ADDRESSES);
    assert_eq!(found["metadata"]["annotations"][OVER_CAPACITY], "truncated");
    assert_eq!(slices_of("ns", "s", &services, &selected).len(), 12);
}

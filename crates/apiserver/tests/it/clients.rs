//! Client certificates over real TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use mxjob_access::authn::Authenticator;
use mxjob_access::tls;
use mxjob_access::tokens::Tokens;
use mxjob_apiserver::environment::System;
use mxjob_apiserver::health::Readiness;
use mxjob_apiserver::{ApiServer, Config};
use mxjob_serve as serve;
use mxjob_store::Store;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

struct Fixture {
    dir: tempfile::TempDir,
    address: SocketAddr,
    ca_pem: String,
}

async fn start() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let pki = tls::open(dir.path(), &["127.0.0.1".to_owned()], Timestamp::now()).unwrap();
    let store = Store::open(&dir.path().join("store"), mxjob_store::Options::default()).unwrap();
    let mut tokens = Tokens::default();
    tokens.insert("limited", mxjob_access::identity::Identity::new("limited", "", []));
    let api = ApiServer::new(Config {
        store,
        environment: Arc::new(System),
        authenticator: Authenticator::new(tokens).with_clients(pki.clients.clone()),
        readiness: Readiness::new(),
    });
    api.bootstrap().await.unwrap();
    let bound = serve::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = bound.local_addr();
    tokio::spawn(serve::serve(
        serve::Limits::default(),
        bound,
        Some(pki.config),
        api,
        std::future::pending(),
        Duration::ZERO,
    ));
    Fixture { dir, address, ca_pem: pki.ca_pem }
}

/// Whose certificate it is, who signed it, for what and until when.
#[derive(Clone, Copy)]
struct Certificate<'a> {
    name: &'a str,
    group: &'a str,
    authority: &'a Path,
    usage: fn() -> ExtendedKeyUsagePurpose,
    until: i32,
}

impl Certificate<'_> {
    fn make(self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let pki = self.authority.join("pki");
        let read = |name: &str| std::fs::read_to_string(pki.join(name)).unwrap();
        let signer = KeyPair::from_pem(&read("ca.key")).unwrap();
        let mut ca = CertificateParams::default();
        ca.distinguished_name = DistinguishedName::new();
        ca.distinguished_name.push(DnType::CommonName, "mxjob-ca");
        let issuer = Issuer::new(ca, signer);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, self.group);
        params.distinguished_name.push(DnType::CommonName, self.name);
        params.extended_key_usages = vec![(self.usage)()];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(self.until, 1, 1);
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (vec![certificate.der().clone()], key)
    }
}

impl Fixture {
    /// Who the server says that the client is, or the code of its refusal.
    async fn who(&self, certificate: Option<Certificate<'_>>, token: Option<&str>) -> (u16, Value) {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
        let config = match certificate.map(Certificate::make) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("host", "127.0.0.1")
            .header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response =
            sender.send_request(request.body(Full::new(Bytes::from("{}"))).unwrap()).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        (
            code,
            if code == 201 { answer["status"]["userInfo"].clone() } else { answer["kind"].clone() },
        )
    }
}

#[tokio::test]
async fn a_certificate_of_our_authority_names_its_bearer() {
    let fixture = start().await;
    let ann = Certificate {
        name: "ann",
        group: "dev",
        authority: fixture.dir.path(),
        usage: || ExtendedKeyUsagePurpose::ClientAuth,
        until: 2099,
    };
    let (code, user) = fixture.who(Some(ann), None).await;
    assert_eq!((code, &user["username"]), (201, &Value::from("ann")));
    assert_eq!(user["groups"], serde_json::json!(["dev", "system:authenticated"]));
    // A certificate counts before a token.
    assert_eq!(fixture.who(Some(ann), Some("limited")).await.1["username"], "ann");
    let masters = Certificate { group: "system:masters", ..ann };
    assert_eq!(fixture.who(Some(masters), None).await.0, 201);
}

#[tokio::test]
async fn a_bad_certificate_is_a_401_in_words_and_a_token_still_counts() {
    let fixture = start().await;
    let other = tempfile::tempdir().unwrap();
    tls::open(other.path(), &[], Timestamp::now()).unwrap();
    let good = Certificate {
        name: "ann",
        group: "dev",
        authority: fixture.dir.path(),
        usage: || ExtendedKeyUsagePurpose::ClientAuth,
        until: 2099,
    };
    for bad in [
        Certificate { authority: other.path(), ..good },
        Certificate { until: 2021, ..good },
        Certificate { usage: || ExtendedKeyUsagePurpose::ServerAuth, ..good },
        Certificate { name: "", ..good },
    ] {
        assert_eq!(fixture.who(Some(bad), None).await, (401, "Status".into()));
        assert_eq!(fixture.who(Some(bad), Some("limited")).await.1["username"], "limited");
    }
    assert_eq!(fixture.who(None, None).await, (401, "Status".into()));
    assert_eq!(fixture.who(None, Some("limited")).await.1["username"], "limited");
}
